"""The guard is put among the user's services, and taken out again."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from devbox import paths, process
from devbox.errors import Conflict, DevboxError, ToolMissing
from devbox.files import write_atomic
from devbox.guard import unit


class Service(NamedTuple):
    """file: where it is written; content: what. start, stop: commands in their order."""

    name: str
    file: Path
    content: bytes
    start: tuple[tuple[str, ...], ...]
    stop: tuple[tuple[str, ...], ...]


def service() -> Service:
    """Of this DEVBOX_HOME on this system. ToolMissing where it has neither of the two."""
    home = str(paths.home())
    usual = str(Path.home() / ".devbox")
    name = unit.name(home, usual)
    environment = {"DEVBOX_HOME": home, "PATH": os.environ.get("PATH", os.defpath)}
    if platform.system() == "Darwin":
        file = Path.home() / "Library" / "LaunchAgents" / f"{name}.plist"
        domain = f"gui/{os.getuid()}"
        log = str(paths.home() / "guard" / "log")
        return Service(
            name,
            file,
            unit.launchd(name, sys.executable, environment, log),
            (("launchctl", "bootstrap", domain, str(file)),),
            (("launchctl", "bootout", f"{domain}/{name}"),),
        )
    if not _has_systemd():
        raise ToolMissing(
            "there is no service to make: this system has no systemctl, and is no macOS",
            means="nothing was installed; boxes are guarded as before",
            fix="keep it running in a terminal: devbox guard",
        )
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    control = ("systemctl", "--user")
    file = Path(config) / "systemd" / "user" / f"{name}.service"
    return Service(
        name,
        file,
        unit.systemd(sys.executable, environment).encode(),
        ((*control, "daemon-reload"), (*control, "enable", "--now", file.name)),
        ((*control, "disable", "--now", file.name), (*control, "daemon-reload")),
    )


def install() -> Service:
    """Write it and start it; once more with what changed. Conflict for a file that is not ours.
    When it cannot be started nothing of it is left."""
    wanted = service()
    _require_ours(wanted.file)
    was_there = wanted.file.exists()
    wanted.file.parent.mkdir(parents=True, exist_ok=True)
    if was_there:
        _run(wanted.stop, check=False)
    write_atomic(wanted.file, wanted.content, mode=0o644)
    try:
        _run(wanted.start, check=True)
    except BaseException as error:
        _run(wanted.stop, check=False)
        wanted.file.unlink(missing_ok=True)
        if isinstance(error, DevboxError):
            error.means = "nothing was installed; boxes are guarded as before"
            error.fix = "keep it running in a terminal: devbox guard"
        raise
    return wanted


def uninstall() -> Service | None:
    """Stop it and take it out; None when it was not there. Conflict for a file that is not ours."""
    wanted = service()
    _require_ours(wanted.file)
    if not wanted.file.exists():
        return None
    _run(wanted.stop[:1], check=False)
    wanted.file.unlink(missing_ok=True)
    _run(wanted.stop[1:], check=False)
    return wanted


def installed() -> Path | None:
    """The file of the service, where there is one that we wrote."""
    with suppress(DevboxError, OSError):
        file = service().file
        return file if unit.MARK in file.read_text(errors="replace") else None
    return None


def _require_ours(file: Path) -> None:
    with suppress(FileNotFoundError):
        if unit.MARK not in file.read_text(errors="replace"):
            raise Conflict(
                f"{file} is there, and was not written by devbox",
                means="nothing was changed",
                fix=f"look at it, and if nothing needs it: rm {shlex.quote(str(file))}",
            )


def _has_systemd() -> bool:
    with suppress(ToolMissing):
        return bool(process.require("systemctl"))
    return False


def _run(commands: tuple[tuple[str, ...], ...], *, check: bool) -> None:
    for command in commands:
        try:
            process.run(command, timeout=30, check=check)
        except DevboxError:
            if check:
                raise
