"""`devbox run --up --then` and `devbox wait` on real local boxes, and what is refused elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.errors import UsageError
from devbox.lifecycle import then
from devbox.lifecycle.operation import working_on
from devbox.model import Box, BoxState
from devbox.providers.base import Provider
from devbox.providers.hf.job import HfJob
from devbox.providers.hf.space import HfSpace
from devbox.providers.host.provider import Host
from devbox.providers.modal.provider import Modal
from devbox.spec import BoxSpec, HfSettings, ModalSettings, SshSettings, Volume
from devbox.wire.messages import End
from devbox.workspace import Workspace
from tests.boxes import wait_for_state
from tests.command_line import Devbox
from tests.jobs.conftest import until

TOML = """
[providers.local]
price = 1.0

[boxes.b]
provider = "local"
idle = { after = "1h", warn = "1s" }

[jobs.make]
command = ["sh", "-c", "echo made >$DEVBOX_OUT/made; exit {code}"]
args.code = { type = "int", default = 0 }
"""
GATE = "until [ -e go ]; do sleep 0.02; done; echo made >$DEVBOX_OUT/made"


@pytest.fixture
def ws(project: Path) -> Iterator[Workspace]:
    (project / "devbox.toml").write_text(TOML)
    workspace = Workspace.open(project)
    yield workspace
    for box in workspace.store.boxes.all():
        lifecycle.down(workspace, box, save=False)
    workspace.store.close()


def paused(ws: Workspace, name: str = "b") -> Box:
    """The box once it has paused itself; nothing here asks it to."""
    box = ws.box(name)
    wait_for_state(ws.provider_of(box), box.handle, BoxState.PAUSED)
    return lifecycle.observe_now(ws, box)


@pytest.mark.openssh
def test_a_waiting_terminal_fetches_then_pauses_the_box_also_after_a_failure(
    ws: Workspace, devbox: Devbox, project: Path
) -> None:
    done = devbox("run", "make", "--up", "--then", "pause", "--", "--code", "3")
    assert done.code == 11
    assert "b: pauses by itself when the run has ended, also with this computer off" in done.err
    assert "b paused; costing: nothing" in done.err
    assert ws.box("b").state is BoxState.PAUSED
    (results,) = (project / "results").iterdir()
    assert (results / "made").read_text() == "made\n"


@pytest.mark.openssh
def test_a_box_stops_itself_with_the_laptop_closed_and_attach_says_how_to_go_on(
    ws: Workspace, devbox: Devbox, project: Path
) -> None:
    done = devbox("run", "--up", "--then", "down", "-d", "--", "sh", "-c", GATE)
    run = done.out.strip()
    assert "b: it can only pause itself, and devbox down ends it" in done.err
    until(lambda: devbox("status", "b", "--json").data["idle"]["then"])
    assert f"pauses when run {run} ends" in devbox("status", "b").out

    assert devbox("run", "--then", "none").err.startswith(f"b: it no longer stops after run {run}")
    until(lambda: devbox("status", "b", "--json").data["idle"]["then"] is None)
    assert devbox("run", "--then", "pause").out.strip() == run
    until(lambda: devbox("status", "b", "--json").data["idle"]["then"])

    assert devbox("wait", run, "--for", "ended", "--timeout", "0s").code == 124
    assert devbox("exec", "b", "--", "touch", "work/go").code == 0
    waited = devbox("wait", run, "--timeout", "60s"), devbox("wait", run, "--for", "failed")
    assert (waited[0].out, waited[1].code) == ("succeeded\n", 11)
    box = paused(ws)
    told = [event.message for event in ws.store.events.of_box(box.id)]
    assert f"run {run} was to have that done after it" in told[-1]
    refused = devbox("attach", run)
    assert (refused.code, "devbox resume b" in refused.err) == (5, True)

    assert devbox("resume", "b").code == 0
    assert devbox("attach", run).code == 0
    assert (project / "results" / run / "made").exists()
    assert lifecycle.observe_now(ws, box).state is BoxState.RUNNING, "who resumes it wants it"
    assert devbox("status", "b", "--json").data["idle"]["then"] is None


def test_down_ends_the_box_only_when_nothing_is_lost(
    ws: Workspace, devbox: Devbox, project: Path
) -> None:
    (project / ".gitignore").write_text("weights\n")
    made = ("sh", "-c", "echo 1 >weights; echo 1 >$DEVBOX_OUT/made")
    done = devbox("run", "--up", "--then", "down", "--", *made)
    assert done.code == 0, done.err
    assert "b: it is paused and not ended, so that none of these is lost" in done.err
    assert ws.box("b").state is BoxState.PAUSED
    done = devbox("run", "--up", "--then", "down", "--", "rm", "weights")
    assert done.code == 0, done.err
    assert "b terminated; costing: nothing" in done.err


def test_an_order_without_a_run_and_a_box_that_does_not_run(ws: Workspace, devbox: Devbox) -> None:
    lifecycle.up(ws, "b")
    none = devbox("run", "--then", "pause", "--box", "b")
    assert (none.code, "fix: stop it now with: devbox pause b" in none.err) == (4, True)
    assert "was not to stop after a run" in devbox("run", "--then", "none").err
    lifecycle.pause(ws, ws.box("b"))
    done = devbox("run", "--then", "pause", "--", "true")
    assert (done.code, "devbox resume b" in done.err) == (5, True)


DATA = {"data": Volume(source="me/data", mount="/data")}
SPACE, JOB = partial(HfSpace, HfSettings()), partial(HfJob, HfSettings())
ARMED = partial(HfSpace, HfSettings(pause_token="env:T"))
MODAL, SSH = partial(Modal, ModalSettings()), partial(Host, SshSettings())
Make = Callable[[], Provider]


@pytest.mark.parametrize(
    ("make", "wanted", "do", "stays", "said"),
    [
        (SPACE, BoxSpec(), "pause", True, "b cannot pause itself"),
        (SSH, BoxSpec(), "pause", True, "set pause_command in its table"),
        (ARMED, BoxSpec(), "pause", False, "leave out --detach, or give it a volume"),
        (JOB, BoxSpec(), "pause", True, "--then down"),
        (JOB, BoxSpec(), "down", False, "none of its files when it ends"),
    ],
)
def test_what_a_box_cannot_do_is_refused_before_anything_costs(
    ws: Workspace, make: Make, wanted: BoxSpec, do: End, stays: bool, said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(ws, "provider", lambda name: make())
    with pytest.raises(UsageError) as error:
        then.order(ws, do, wanted, "b", stays=stays)
    assert said in f"{error.value}; {error.value.fix}"
    assert error.value.means == "nothing was started"


@pytest.mark.parametrize(
    ("make", "wanted", "do", "stays", "does", "said"),
    [
        (ARMED, BoxSpec(), "pause", True, "pause", "this terminal fetches what the run made first"),
        (ARMED, BoxSpec(volumes=DATA), "pause", False, "pause", "copied to its volumes before"),
        (JOB, BoxSpec(volumes=DATA), "down", False, "down", "ends by itself when the run has"),
        (MODAL, BoxSpec(), "down", True, "pause", "this terminal ends it once the results are"),
        (MODAL, BoxSpec(), "pause", False, "pause", "pauses by itself when the run has ended"),
    ],
)
def test_what_a_box_will_do_is_told_before_the_run(
    ws: Workspace, make: Make, wanted: BoxSpec, do: End, stays: bool, does: str,
    said: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(ws, "provider", lambda name: make())
    found = then.order(ws, do, wanted, "b", stays=stays)
    assert found.then == (do, does)
    assert any(said in line for line in found.lines)


def test_a_refusal_leaves_no_trace(ws: Workspace, devbox: Devbox, project: Path) -> None:
    (project / "devbox.toml").write_text(
        '[boxes.s]\nprovider = "hf-space"\nhardware = "t4-small"\n'
    )
    done = devbox("run", "--up", "--then", "pause", "--", "true")
    assert (done.code, "nothing was started" in done.err) == (2, True), done.err
    assert ws.store.boxes.all(over=True) == []


def test_wait_names_the_states_and_tells_json(ws: Workspace, devbox: Devbox) -> None:
    lifecycle.up(ws, "b")
    done = devbox("wait", "b", "--json")
    assert json.loads(done.out)["state"] == "running"
    wrong = devbox("wait", "b", "--for", "runing")
    assert (wrong.code, "did you mean --for running?" in wrong.err) == (2, True)
    assert devbox("wait", "nobody").code == 4


def test_all_are_stopped_though_one_fails(
    ws: Workspace, devbox: Devbox, project: Path, home: Path
) -> None:
    other = home / "other"
    other.mkdir()
    (other / "devbox.toml").write_text("[boxes.c]\n")
    elsewhere = Workspace.open(other)
    b, c = lifecycle.up(ws, "b"), lifecycle.up(elsewhere, "c")
    elsewhere.store.close()
    refused = devbox("pause", "--all")
    assert (refused.code, "devbox pause --all --yes" in refused.err) == (2, True)
    assert "project/b: running, costing $1.00/h" in refused.err
    assert devbox("pause", "b", "--all").code == 2
    with working_on(ws, b):
        done = devbox("pause", "--all", "--yes")
    assert done.code == 17
    assert "other/c  paused" in done.out
    assert "1 of 2 did not stop: project/b" in done.err
    assert (ws.box("b").state, ws.store.boxes.get(c.id)) != (BoxState.PAUSED, None)
    ended = devbox("down", "--all", "--yes", "--no-save", "--json")
    assert ended.code == 0, ended.err
    assert sorted(each["state"] for each in ended.data["boxes"]) == ["terminated"] * 2
    assert ws.store.boxes.all() == []
    assert devbox("down", "--all").out == "there is no box to end\n"
