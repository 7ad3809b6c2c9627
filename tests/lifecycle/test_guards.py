"""What is said of who ends a box is what its provider does: a Job ends where others pause."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from devbox import lifecycle, spec
from devbox.errors import (
    DevboxError,
    HostKeyRefused,
    KeyRefused,
    NoAnswer,
    ProviderError,
    SshError,
    Unanswered,
)
from devbox.lifecycle import Finding, Stop
from devbox.model import Box, BoxState, Price
from devbox.providers.base import Provider
from devbox.providers.hf.job import HfJob
from devbox.providers.local.provider import Local
from devbox.remote.connection import Connection
from devbox.spec import BoxSpec, HfSettings, Volume
from devbox.telemetry import rearm
from devbox.workspace import Workspace


@pytest.fixture
def ws(home: Path) -> Workspace:
    (home / "devbox.toml").write_text("[boxes.b]\n")
    return Workspace.open(home)


def made(wanted: BoxSpec, state: BoxState = BoxState.RUNNING) -> Box:
    return Box(
        id="x", name="b", provider=wanted.provider, token="t-1", state=state, hardware="cpu",
        price=Price(0), created=0, updated=0, seen=0, handle="me/1", spec=spec.encode_box(wanted),
    )  # fmt: skip


def by(ws: Workspace, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws, "provider_of", lambda box: provider)
    monkeypatch.setattr(ws, "provider", lambda name: provider)


def test_a_job_ends_and_keeps_its_volumes_only() -> None:
    job = HfJob(HfSettings())
    assert job.pause_keeps(BoxSpec()) == (False, "none of its files")
    volumes = {"data": Volume(source="me/data", mount="/data")}
    assert job.pause_keeps(BoxSpec(volumes=volumes)) == (False, "only its volumes")


@pytest.mark.parametrize(("answers", "said"), [(True, "ends it"), (False, "armed to end it")])
def test_the_watchdog_of_a_job_ends_it(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, answers: bool, said: str
) -> None:
    by(ws, HfJob(HfSettings()), monkeypatch)
    found = lifecycle.guards(ws, made(BoxSpec(provider="hf-job")), answers=answers)
    assert said in found.lines[0]
    assert "pause" not in found.lines[0]


def test_a_box_that_does_not_run_yet_is_not_called_silent(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    by(ws, HfJob(HfSettings()), monkeypatch)
    found = lifecycle.guards(ws, made(BoxSpec(), BoxState.STARTING), answers=False)
    assert found.lines[0] == "once it runs, its watchdog ends it when it is idle and at max_uptime"


def test_what_will_guard_a_box_is_known_before_it_is_made(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lifecycle.guards_for(ws, BoxSpec(provider="local")).pauses
    ssh = lifecycle.guards_for(ws, BoxSpec(provider="ssh"))
    assert (ssh.pauses, ssh.ceiling) == (False, False)
    ssh = lifecycle.guards_for(ws, BoxSpec(provider="ssh", pause_command=("halt",)))
    assert (ssh.pauses, ssh.ceiling) == (True, True)
    by(ws, HfJob(HfSettings()), monkeypatch)
    headless = lifecycle.guards_for(ws, BoxSpec(provider="hf-job", command=("true",)))
    assert (headless.pauses, headless.ceiling) == (False, True)


def test_nothing_is_asked_before_a_pause_that_is_refused(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    by(ws, HfJob(HfSettings()), monkeypatch)
    stop = lifecycle.before_stop(ws, made(BoxSpec(provider="hf-job")), "pause")
    assert stop == Stop("boxes of hf-job cannot pause; end it instead")


@pytest.mark.parametrize(
    ("provider", "verb", "means", "question"),
    [
        ("local", "pause", "a pause keeps its files", ""),
        ("local", "down", "this will delete what is on it", "End b and delete what is on it?"),
        (
            "ssh",
            "down",
            "this will end what runs on it through devbox; its files stay",
            "End b and end what runs on it through devbox; its files stay?",
        ),
    ],
)
def test_what_a_stop_means_is_its_providers_word(
    ws: Workspace, provider: str, verb: str, means: str, question: str
) -> None:
    stop = lifecycle.before_stop(ws, made(BoxSpec(provider=provider), BoxState.STARTING), verb)
    assert (stop.means, stop.question) == (means, question)


class _Paid(Local):
    """As a provider whose resume takes other hardware; nothing of it is called."""

    resume_takes = frozenset({"hardware"})

    def __init__(self) -> None:
        pass


def test_what_a_provider_cannot_do_names_what_leads_there_and_keeps_the_files(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = "start it again with: devbox pause b && devbox resume b"
    made_anew = "end it and make a new one: devbox down b && devbox up b"
    box = made(BoxSpec())
    by(ws, _Paid(), monkeypatch)
    assert refusal(lambda: lifecycle.restart(ws, box)).fix == again
    assert refusal(lambda: lifecycle.renew(ws, box)).fix == again
    change = refusal(lambda: lifecycle.resize(ws, box, "t4"))
    assert change.fix == "change hardware in devbox.toml, then: devbox pause b && devbox up b"
    monkeypatch.setattr(_Paid, "resume_takes", frozenset())
    assert refusal(lambda: lifecycle.resize(ws, box, "t4")).fix == made_anew
    by(ws, HfJob(HfSettings()), monkeypatch)
    assert refusal(lambda: lifecycle.restart(ws, box)).fix == made_anew


def refusal(verb: object) -> ProviderError:
    assert callable(verb)
    with pytest.raises(ProviderError) as caught:
        verb()
    return caught.value


def test_an_arming_that_fails_is_told_without_an_empty_part(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> bool:
        raise DevboxError("no space left")

    monkeypatch.setattr(rearm, "ensure_watchdog", fails)
    told: list[str] = []
    ws.narrate = told.append
    assert not rearm.see_to(ws, made(BoxSpec()), cast(Connection, None))
    assert told == ["b: no space left"]


@pytest.mark.parametrize("kind", [NoAnswer, KeyRefused, HostKeyRefused])
def test_a_watchdog_that_nobody_could_ask_is_not_armed_again(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, kind: type[SshError]
) -> None:
    def cut(*_: object) -> None:
        raise kind("the connection was cut")

    monkeypatch.setattr("devbox.remote.agent.verdict", cut)
    with pytest.raises(kind):
        rearm.ensure_watchdog(ws, made(BoxSpec()), cast(Connection, None))
    assert ws.store.events.of_box(made(BoxSpec()).id) == []


def test_findings_that_failed_are_an_error_of_their_own() -> None:
    done = Finding("finished", "b", "local", "now running")
    lifecycle.require_answered([done])
    with pytest.raises(Unanswered, match="1 of what it compared") as caught:
        lifecycle.require_answered([done, Finding("failed", "-", "modal", "no answer")])
    assert caught.value.fix == "once the cause is gone: devbox reconcile"
