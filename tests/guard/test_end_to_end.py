"""A box brought up and paused by its schedule, and one that a budget refuses: the verbs
themselves, on the local provider."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devbox import lifecycle, spec
from devbox.guard import act, entries, keep
from devbox.guard.entries import Entry
from devbox.model import BoxState
from devbox.notify import news
from devbox.spec.trust import record as trust
from devbox.workspace import Workspace
from tests.remote.sshd import wait_until

# Nothing that this machine does beside the test counts as use of the box, which is quiet half of
# `after` from its last use.
_QUIET = 'idle = {after = "50s", cpu_util = 1000, net_bytes = "1GB", ssh_bytes = "1GB"}\n'


@pytest.fixture
def project(home: Path) -> Iterator[Path]:
    folder = home / "project"
    folder.mkdir()
    yield folder / "devbox.toml"
    ws = Workspace.open(folder)
    for box in ws.store.boxes.all():
        lifecycle.down(ws, box, save=False)
    ws.close()


def scheduled(file: Path, text: str) -> dict[str, Entry]:
    file.write_text(text)
    trust(file, spec.asked(file))
    return {entry.verb: entry for entry in entries.of(spec.load(file))}


def carried_out(ws: Workspace, entry: Entry) -> entries.Record:
    """The process that a round begins, in this one."""
    now = ws.clock()
    record = entries.Record(entry, now, due=now, began=now)
    entries.write(record)
    act.main(entry.key)
    found = entries.read(entry.key)
    assert found is not None
    return found


def test_a_box_is_up_and_paused_by_its_schedule(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = scheduled(
        project, f'[boxes.dev]\n{_QUIET}schedule = "0 0 1 1 *"\npause_at = "0 0 1 1 *"\n'
    )
    monkeypatch.chdir(project.parent)
    ws = Workspace.open(project.parent)
    assert carried_out(ws, made["up"]).outcome == "brought up"
    box = ws.box("dev")
    assert box.state is BoxState.RUNNING

    # It was used a moment ago, by the login of `up`, so its pause waits.
    due = ws.clock() + 1
    ws.clock = lambda: due + 1
    entries.write(entries.Record(made["pause"], due - 60, pending=due))
    begun: list[Entry] = []
    keep.schedules(ws, [made["pause"]], begun.append)
    assert begun == []
    assert [e.kind for e in ws.store.events.of_box(box.id) if "held" in e.kind] == ["schedule-held"]

    monkeypatch.setattr(keep, "QUIET", 0.0)
    wait_until(lambda: not keep.in_use(ws, box), "it is quiet")
    keep.schedules(ws, [made["pause"]], begun.append)
    assert begun == [made["pause"]]
    assert carried_out(ws, made["pause"]).outcome == "paused"
    assert ws.box("dev").state is BoxState.PAUSED


def test_what_a_budget_refuses_is_not_brought_up_and_told(project: Path) -> None:
    made = scheduled(
        project,
        '[boxes.dev]\nschedule = "* * * * *"\n[providers.local]\nprice = 4.0\n'
        "[budget]\ndaily = 1.0\n",
    )
    ws = Workspace.open(project.parent)
    record = carried_out(ws, made["up"])
    assert record.ok is False
    assert "devbox up was refused: $" in record.outcome
    assert "would pass the daily budget" in record.outcome
    assert ws.store.boxes.all(over=True) == []
    (event,) = ws.store.events.news(0, news.EVENTS)
    assert event.kind == "schedule-refused"
    notice = news.notice(event, None)
    assert notice is not None
    assert (notice.kind, notice.command) == ("schedule", "devbox schedule")


def test_a_round_starts_the_process_itself_and_looks_at_the_providers(
    home: Path, project: Path
) -> None:
    made = scheduled(project, '[boxes.dev]\nschedule = "* * * * *"\n')
    entries.remember(project.parent)
    ws = Workspace.open(project.parent)
    entries.write(entries.Record(made["up"], ws.clock() - 60))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "devbox.guard.round"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"every":' in done.stdout
    wait_until(
        lambda: (found := entries.read(made["up"].key)) is not None and found.ended is not None,
        "it was brought up",
    )
    assert ws.box("dev").state is BoxState.RUNNING
