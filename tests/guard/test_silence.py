"""A watchdog that says nothing is told of once, and not while nobody answers at all."""

from __future__ import annotations

from devbox.guard import silence
from devbox.lifecycle import Finding
from devbox.notify import news
from devbox.workspace import Workspace
from tests.core.test_state import a_box

SILENT = Finding("silent", "train", "local", "its watchdog could not be asked", "id-train")
UNREACHABLE = Finding("failed", "train", "local", "unreachable: no route", "id-train")


def told(ws: Workspace) -> int:
    return sum(event.kind == "watchdog-silent" for event in ws.store.events.of_box("id-train"))


def test_it_is_told_once_in_a_row_and_again_after_a_word(local_workspace: Workspace) -> None:
    ws = local_workspace
    ws.store.boxes.insert(a_box(), "running", {}, 1.0)
    counts = []
    for findings in ([SILENT], [SILENT], [UNREACHABLE], [SILENT], [SILENT], [], [SILENT]):
        silence.note(ws, findings)
        counts.append(told(ws))
    assert counts == [0, 0, 0, 1, 1, 1, 1]
    silence.note(ws, [SILENT])
    silence.note(ws, [SILENT])
    assert told(ws) == 2


def test_it_becomes_a_notice_that_names_a_command(local_workspace: Workspace) -> None:
    ws = local_workspace
    ws.store.boxes.insert(a_box(), "running", {}, 1.0)
    for _ in range(silence.LOOKS):
        silence.note(ws, [SILENT])
    (event,) = ws.store.events.news(0, news.EVENTS)
    notice = news.notice(event, ws.store.boxes.get("id-train"))
    assert notice is not None
    assert (notice.kind, notice.command) == ("silent", "devbox doctor train")
    assert news.told_by_box(notice, ws.store.boxes.get("id-train")) is False
