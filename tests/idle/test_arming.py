"""The laptop's side: what is sent, what is believed, and a local box that pauses itself."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from devbox import spec
from devbox.errors import NotFound, SshError
from devbox.model import Box, BoxState, Price
from devbox.process import Completed
from devbox.remote import agent, agent_bootstrap
from devbox.remote.connection import connect
from devbox.spec import BoxSpec, Idle, Seconds
from devbox.telemetry import arming
from devbox.wire.codec import decode
from devbox.wire.messages import PauseRecipe, Policy, WatchdogConfig
from devbox.workspace import Workspace
from tests.boxes import MakeBox, local_workspace, make_local_box
from tests.jobs.conftest import until

__all__ = ["local_workspace", "make_local_box"]

NOW = 1_750_000_000.0
BOX_AHEAD = 3 * 3600.0  # the box's clock runs ahead of ours
ANSWER: dict[str, Any] = {
    "state": "idle",
    "idle_for": 720.0,
    "pauses_at": NOW + BOX_AHEAD + 420,
    "cause": "idle",
    "reasons": ["GPU 0 at 2 % (quiet below 5 %)", "no ssh traffic for 12m"],
    "keep_until": NOW + BOX_AHEAD + 60,
    "deadline": NOW + 9000,
    "warned": False,
    "t": NOW + BOX_AHEAD - 2,
    "now": NOW + BOX_AHEAD,
}


class Line:
    """A connection that gives one answer and remembers what was asked."""

    def __init__(self, out: Any = None, code: int = 0, err: str = "") -> None:
        self.answer = Completed(code, out if isinstance(out, str) else json.dumps(out), err)
        self.asked: list[tuple[list[str], bytes | None]] = []
        self.box, self.is_new = box(), False

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes | None = None,
        timeout: float | None = 60.0,
        check: bool = True,
    ) -> Completed:
        assert timeout
        assert not check
        self.asked.append((list(argv), input))
        return self.answer


def box(**fields: Any) -> Box:
    wanted = BoxSpec(idle=Idle(after=Seconds(600), save_command=("make", "save")), workdir="w")
    made = Box("i", "gpu1", "local", "tok", BoxState.RUNNING, "cpu", Price(0), NOW, NOW, NOW)
    import msgspec

    return msgspec.structs.replace(made, spec=spec.encode_box(wanted), workdir="w", **fields)


def test_arm_sends_policy_deadline_and_recipe() -> None:
    line = Line({"armed": True})
    recipe = PauseRecipe("exec", ("true",))
    agent.arm(line, arming.config(box(started=NOW - 60, deadline=NOW + 7000), recipe, NOW))
    argv, sent = line.asked[0]
    assert argv[-2:] == ["arm", "agent"]
    assert decode(sent or b"", WatchdogConfig) == WatchdogConfig(
        box="gpu1",
        policy=Policy(after=600, save_command=("make", "save")),
        deadline=NOW + 7000,
        started=NOW - 60,
        sent=NOW,
        pause=PauseRecipe("exec", ("true",)),
        workdir="w",
        token="tok",
    )


def test_arm_tells_where_a_box_whose_disk_is_not_kept_may_save() -> None:
    volumes = {
        "data": spec.Volume(source="me/data", mount="/data"),
        "weights": spec.Volume(source="models/me/w", mount="/w", read_only=True),
    }
    line = Line({"armed": True})
    wanted = spec.encode_box(BoxSpec(volumes=volumes))
    made = replace(box(), spec=wanted)
    agent.arm(line, arming.config(made, None, NOW, disk_kept=False))
    orders = json.loads(line.asked[0][1] or b"")
    assert orders["disk_kept"] is False
    assert orders["volumes"] == ["/data"]


def test_without_a_deadline_max_uptime_makes_one() -> None:
    line = Line({"armed": True})
    agent.arm(line, arming.config(box(started=NOW - 60), None, NOW))
    orders = json.loads(line.asked[0][1] or b"")
    assert orders["deadline"] == NOW - 60 + 8 * 3600
    assert orders["pause"] is None


def test_an_arming_that_fails_says_what_it_means_for_money() -> None:
    with pytest.raises(SshError) as caught:
        agent.arm(Line("", 1, "no \x1b[31mspace left"), arming.config(box(), None, NOW))
    assert "no space left" in caught.value.what
    assert "may cost" in caught.value.means
    assert "devbox down gpu1" in caught.value.fix


def test_a_silence_that_no_clock_could_say_is_refused() -> None:
    with pytest.raises(SshError, match="silent is not a number"):
        agent.verdict(Line({**ANSWER, "silent": 1e308}), clock=lambda: NOW)


def test_the_verdicts_times_are_told_by_our_clock() -> None:
    found = agent.verdict(Line(ANSWER), clock=lambda: NOW)
    assert found.pauses_at == NOW + 420
    assert found.keep_until == NOW + 60
    assert found.deadline == NOW + 9000
    assert arming.sentence(found, NOW) == (
        "would pause in 7m because GPU 0 at 2 % (quiet below 5 %); no ssh traffic for 12m"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"state": "active", "reasons": ["job r1 runs"], "pauses_at": None}, "in use: job r1 runs"),
        (
            {"state": "active", "reasons": ["job r1 runs"], "cause": "ceiling"},
            "in use: job r1 runs; pauses at max_uptime in 7m",
        ),
        ({"state": "saving", "reasons": ["a"]}, "saving before it pauses: a"),
        ({"state": "pausing", "reasons": ["HTTP 503"]}, "pausing: HTTP 503"),
        (
            {"pauses_at": None, "reasons": ["the idle policy is switched off"]},
            "idle for 12m, and nothing pauses it: the idle policy is switched off",
        ),
    ],
)
def test_the_sentence(changes: dict[str, Any], said: str) -> None:
    found = agent.verdict(Line({**ANSWER, **changes}), clock=lambda: NOW)
    assert arming.sentence(found, NOW) == said


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "[]",
        "{",
        "null",
        {**ANSWER, "state": "on fire"},
        {**ANSWER, "idle_for": "long"},
        {**ANSWER, "reasons": "none"},
        {**ANSWER, "reasons": [1]},
        {"state": "idle"},
    ],
)
def test_a_verdict_that_makes_no_sense_is_an_error(answer: Any) -> None:
    with pytest.raises(SshError):
        agent.verdict(Line(answer))


def test_what_a_box_says_is_cleaned_and_bounded() -> None:
    hostile = ["\x1b]0;evil\x07" + "x" * 9999, "a\nb"] + ["more"] * 500
    found = agent.verdict(Line({**ANSWER, "reasons": hostile}))
    assert len(found.reasons) == 20
    assert len(found.reasons[0]) == 200
    assert "\x1b" not in arming.sentence(found, NOW)
    assert "\n" not in arming.sentence(found, NOW)


def test_no_watchdog_is_told_apart_from_no_answer() -> None:
    with pytest.raises(NotFound, match="no watchdog"):
        agent.verdict(Line("", 3))
    with pytest.raises(SshError):
        agent.verdict(Line("", 1, "Traceback"))


def test_keep_returns_the_time_in_force() -> None:
    line = Line({"until": NOW + 100, "capped": True, "now": NOW})
    assert agent.keep(line, NOW + 900, clock=lambda: NOW) == NOW + 100
    assert line.asked[0][0] == agent_bootstrap.command(
        "keep", "--until", repr(NOW + 900), "--now", repr(NOW)
    )
    with pytest.raises(SshError):
        agent.keep(Line({"until": "later"}), NOW)


def test_a_sync_is_announced_and_its_end_too() -> None:
    line = Line({"until": NOW})
    with agent.syncing(line):
        assert line.asked[-1][0][-2:] == ["--syncing", "3600.0"]
    assert line.asked[-1][0][-2:] == ["--syncing", "10.0"]


def test_a_local_box_pauses_itself(
    local_workspace: Workspace, make_local_box: MakeBox, home: Path
) -> None:
    never = 10.0**6
    idle = Idle(
        after=Seconds(4),
        warn=Seconds(2),
        cpu_util=never,
        gpu_util=never,
        net_bytes=spec.Bytes(10**15),
        save_command=("touch", "saved"),
    )
    made = make_local_box("b", idle=idle)
    provider = local_workspace.provider("local")
    with connect(made) as connection:
        agent_bootstrap.install(connection)
        recipe = provider.watchdog(made.handle)
        agent.arm(connection, arming.config(made, recipe, time.time()))
        first = agent.verdict(connection)
        assert first.state in ("active", "idle", "warned")
        assert first.deadline is not None

    def paused() -> bool:
        seen = provider.observe(made.handle)
        return seen is not None and seen.state is BoxState.PAUSED

    until(paused, 60)
