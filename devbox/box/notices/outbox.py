"""Notices that wait for their receiver: a folder with one file each, `outbox/` of the box.

    0-001764345600000-<id>.json   a Notice; urgent ones (0) sort before the others (1)
    state.json                    how the receiver is, and what it has taken

They outlive the processes that write and read them, and wait at most a day.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Tuple

from devbox.box import json_file, paths
from devbox.wire.codec import Time, Word
from devbox.wire.notices import URGENT, Notice, Notify

FOLDER = "outbox"
KEPT = 24 * 3600.0  # seconds
MOST = 500  # waiting notices
HOURLY = 30  # notices an hour, beside urgent ones
_BACKOFF, _BACKOFF_MOST = 5.0, 900.0  # seconds
_REFUSALS = 5  # of one notice, after which it is given up
_TAKEN = 500  # names remembered
_NAME = re.compile(r"([01])-\d{15}-[A-Za-z0-9_.-]{1,120}\.json")


class Answer(NamedTuple):
    """How a post went. again: it may go well later; else this notice is not wanted. after: seconds
    the receiver asks to wait."""

    ok: bool
    again: bool = True
    detail: str = ""
    after: float = 0.0


class State(NamedTuple):
    """tries: failed in a row; again: when (unix seconds) to try next; quiet: before then only
    urgent ones; sent: times of those sent in the last hour; taken: ids that were delivered;
    refused: ids, once for each refusal; detail: why the last one failed."""

    tries: int = 0
    again: Time = 0.0
    quiet: Time = 0.0
    sent: Tuple[Time, ...] = ()
    taken: Tuple[Word, ...] = ()
    refused: Tuple[Word, ...] = ()
    detail: Word = ""


class Waiting(NamedTuple):
    """How many wait, since when the receiver fails (tries in a row), and why."""

    notices: int
    tries: int
    detail: str


def waiting(root: Path) -> Waiting:
    """What waits in the outbox."""
    folder = root / FOLDER
    state = json_file.load(folder / "state.json", State) or State()
    return Waiting(len(_waiting(folder)), state.tries, state.detail if state.tries else "")


def put(root: Path, notify: Notify, notice: Optional[Notice]) -> bool:
    """Keep a notice until it is delivered; False when nobody wants it. OSError."""
    if notice is None or not notify.wants(notice.kind):
        return False
    folder = paths.private(root / FOLDER)
    level = 0 if notice.kind in URGENT else 1
    name = f"{level}-{int(notice.t * 1000):015d}-{notice.id}.json"
    json_file.write(folder / name, notice, durable=True)
    return True


def is_due(root: Path, now: float) -> bool:
    """Whether one may be sent now. Cheap: the watchdog asks each second."""
    folder = root / FOLDER
    names = _waiting(folder)
    if not names:
        return False
    state = json_file.load(folder / "state.json", State) or State()
    return bool(_sendable(names, state, now))


def deliver(root: Path, post: Callable[[Notice], Answer], clock: Callable[[], float]) -> List[str]:
    """Send what is due, urgent ones first; what was given up, as sentences. A receiver that does
    not answer ends the round: the others would wait for it as long. OSError for a full disk: what
    was taken may then be sent again, under the same id."""
    folder = root / FOLDER
    state = json_file.load(folder / "state.json", State) or State()
    given_up: List[str] = []
    for name in _sendable(_waiting(folder), state, clock()):
        path, now = folder / name, clock()
        notice = json_file.load(path, Notice)
        if notice is None or notice.id in state.taken:
            path.unlink()
            continue
        if now - notice.t > KEPT:
            given_up.append(f"not delivered for a day: {notice.text}")
            path.unlink()
            continue
        if not _is_urgent(name) and state.quiet > now:
            continue
        answer = post(notice)
        state = _after(state, notice, answer, clock(), urgent=_is_urgent(name))
        json_file.write(folder / "state.json", state)
        if answer.ok:
            path.unlink()
        elif answer.again:
            break
        elif state.refused.count(notice.id) >= _REFUSALS:
            given_up.append(f"refused by its receiver ({answer.detail}): {notice.text}")
            path.unlink()
    for name in _waiting(folder)[MOST:]:  # the latest and least urgent
        given_up.append("too many notices wait")
        (folder / name).unlink()
    return given_up


def _after(state: State, notice: Notice, answer: Answer, now: float, *, urgent: bool) -> State:
    if answer.ok:
        sent = tuple(t for t in state.sent if now - 3600 < t <= now)
        sent = sent if urgent else (*sent, now)
        quiet = sent[0] + 3600 if len(sent) >= HOURLY else 0.0
        taken = (*state.taken, notice.id)[-_TAKEN:]
        return State(0, 0.0, quiet, sent, taken, state.refused)
    tries = state.tries + 1
    wait = max(min(_BACKOFF_MOST, _BACKOFF * 2 ** min(tries - 1, 10)), answer.after)
    refused = state.refused if answer.again else (*state.refused, notice.id)[-_TAKEN:]
    return state._replace(
        tries=tries,
        again=now + min(wait, _BACKOFF_MOST),
        refused=refused,
        detail=answer.detail,
    )


def _sendable(names: List[str], state: State, now: float) -> List[str]:
    """A wait that is longer than any we set is one from before the clock was changed."""
    if now < state.again <= now + _BACKOFF_MOST:
        return []
    is_quiet = now < state.quiet <= now + 3600
    return [name for name in names if not is_quiet or _is_urgent(name)]


def _waiting(folder: Path) -> List[str]:
    try:
        return sorted(name for name in os.listdir(folder) if _NAME.fullmatch(name))
    except OSError:  # nothing was ever put there
        return []


def _is_urgent(name: str) -> bool:
    return name.startswith("0-")
