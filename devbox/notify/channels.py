"""The ways a notice leaves this computer."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable
from typing import NamedTuple

from devbox import installation, process, spec
from devbox.box.notices import post
from devbox.box.notices.outbox import Answer
from devbox.errors import DevboxError, ToolMissing
from devbox.notify import settings
from devbox.wire.notices import Notice

_PATIENCE = 30.0  # seconds a command may take
_SCRIPT = (
    "on run argv",
    "display notification (item 2 of argv) with title (item 1 of argv)",
    "end run",
)


class Channel(NamedTuple):
    """name: of its table key. send: delivers one notice; it does not raise for what the network
    does. DevboxError: it is not set up."""

    name: str
    send: Callable[[Notice], Answer]


def of(wanted: spec.Notify) -> list[Channel]:
    """Those that the table names. What they need is looked at when they are used."""
    found = []
    if wanted.webhook:
        found.append(Channel("webhook", lambda notice: _webhook(wanted, notice)))
    if wanted.desktop:
        found.append(Channel("desktop", _desktop))
    if wanted.on_event:
        found.append(Channel("on_event", lambda notice: _command(wanted.on_event, notice)))
    if wanted.apprise:
        found.append(Channel("apprise", lambda notice: _apprise(wanted.apprise, notice)))
    return found


def _webhook(wanted: spec.Notify, notice: Notice) -> Answer:
    target = settings.webhook(wanted)
    assert target is not None
    return post.post(notice, target)


def _desktop(notice: Notice) -> Answer:
    title, text = f"devbox: {notice.kind}", _sentence(notice)
    if platform.system() == "Darwin":
        lines = [word for line in _SCRIPT for word in ("-e", line)]
        return _run(["osascript", *lines, title, text])
    if shutil.which("notify-send") is None:
        raise ToolMissing(
            "notify.desktop needs notify-send, which is not installed",
            fix="install libnotify-bin (Debian, Ubuntu) or libnotify (Fedora, Arch)",
        )
    return _run(["notify-send", "--app-name=devbox", "--", title, text])


def _command(words: tuple[str, ...], notice: Notice) -> Answer:
    """The notice as JSON on its stdin."""
    return _run(list(words), json.dumps({"version": 1, **notice._asdict()}).encode())


def _apprise(addresses: tuple[str, ...], notice: Notice) -> Answer:
    try:
        import apprise
    except ImportError:
        raise ToolMissing(
            "notify.apprise needs the extra notify", fix=installation.fix_extra("notify")
        ) from None
    services = apprise.Apprise()
    for address in addresses:
        if not services.add(settings.value(address)):
            return Answer(False, False, "an address that Apprise does not know")
    sent = services.notify(title=f"devbox: {notice.kind}", body=_sentence(notice))
    return Answer(bool(sent), detail="" if sent else "one of its services did not take it")


def _sentence(notice: Notice) -> str:
    return f"{notice.text}\n{notice.command}" if notice.command else notice.text


def _run(argv: list[str], given: bytes = b"") -> Answer:
    """A program that did not work will not work in a minute either."""
    try:
        done = process.run(argv, input=given, timeout=_PATIENCE, check=False)
    except DevboxError as error:  # it hung, or is not there
        return Answer(False, False, error.what)
    detail = f"{argv[0]}: exit code {done.code}: {done.err.strip()[-200:]}" if done.code else ""
    return Answer(done.code == 0, False, detail)
