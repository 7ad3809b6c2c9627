"""What the store learned since the last time → the outbox of each channel → out.

    DEVBOX_HOME/notify/seen             id of the last event that was looked at
    DEVBOX_HOME/notify/<channel>/outbox what waits (devbox.box.notices.outbox)

It runs in a process of its own after a verb, and every minute while the dashboard is open.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from devbox import paths, process, spec
from devbox.box.notices import outbox
from devbox.box.notices.outbox import Answer
from devbox.errors import DevboxError, Locked
from devbox.files import locked, private_dir, write_atomic
from devbox.notify import channels, news
from devbox.notify.channels import Channel
from devbox.text import clean
from devbox.wire.notices import Notice, Notify, Webhook
from devbox.workspace import Workspace

#: seconds: what is older when notices are switched on is no news
_FRESH = 3600.0
#: an outbox keeps what its channel wants; every channel of ours wants all that gets as far
_ANY = Notify(Webhook("here"))


def is_due(ws: Workspace) -> bool:
    """Whether there is news, or something waits. Cheap: one look into the store."""
    ways = channels.of(ws.spec.notify)
    if not ways:
        return False
    now = ws.clock()
    if any(outbox.is_due(_folder(way), now) for way in ways):
        return True
    return bool(ws.store.events.news(_seen(ws), news.EVENTS, limit=1))


def begin(ws: Workspace) -> None:
    """Deliver what is due, in a process that outlives us."""
    if is_due(ws):
        process.spawn([sys.executable, "-P", "-m", "devbox.notify.deliver", str(ws.spec.root)])


def deliver(ws: Workspace) -> list[str]:
    """Take in the news and send what is due; what was given up, as sentences. Nothing where
    another process is at it."""
    ways = channels.of(ws.spec.notify)
    if not ways:
        return []
    try:
        with locked(_home() / "lock", timeout=0):
            _take_in(ws, ways)
            return [sentence for way in ways for sentence in _send(ws, way)]
    except Locked:
        return []


def _send(ws: Workspace, way: Channel) -> list[str]:
    given_up = outbox.deliver(_folder(way), partial(answer, way), ws.clock)
    return [f"{way.name}: {sentence}" for sentence in given_up]


def answer(way: Channel, notice: Notice) -> Answer:
    """One notice through one channel. A channel that is not set up answers so."""
    try:
        return way.send(notice)
    except DevboxError as error:
        return Answer(False, True, error.what)


def waiting(wanted: spec.Notify) -> dict[str, outbox.Waiting]:
    """Channel → how many of its notices wait, and why."""
    return {way.name: outbox.waiting(_folder(way)) for way in channels.of(wanted)}


def _take_in(ws: Workspace, ways: list[Channel]) -> None:
    """The cursor moves after the notices are on disk: what is put twice has the same id."""
    wanted = ws.spec.notify
    found = ws.store.events.news(_seen(ws), news.EVENTS)
    boxes = {box.id: box for box in ws.store.boxes.all(over=True)} if found else {}
    for event in found:
        box = boxes.get(event.box_id)
        notice = news.notice(event, box)
        if notice is None or (wanted.events and notice.kind not in wanted.events):
            continue
        for way in ways:
            if way.name != "webhook" or not news.told_by_box(notice, box):
                outbox.put(_folder(way), _ANY, notice)
    if found:
        write_atomic(_home() / "seen", str(found[-1].id))


def _seen(ws: Workspace) -> int:
    """Where we are. The first time: before what happened in the last hour."""
    try:
        return int((_home() / "seen").read_text())
    except (OSError, ValueError):
        return ws.store.events.before(ws.clock() - _FRESH)


def _folder(way: Channel) -> Path:
    return private_dir(_home() / way.name)


def _home() -> Path:
    return private_dir(paths.home() / "notify")


if __name__ == "__main__":
    opened = Workspace.open(Path(sys.argv[1]))
    for line in deliver(opened):
        opened.store.events.add("", "notice-lost", clean(line), opened.clock())
