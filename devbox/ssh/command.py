"""The ssh command line for a box. It reads only devbox's own config, so a wrecked personal one
never matters. Nothing is run here, and importing it is cheap."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import Protocol

from devbox import paths
from devbox.errors import UsageError


class Host(Protocol):
    """What has a host alias in devbox's ssh config: a `model.Box`, or less."""

    @property
    def alias(self) -> str: ...


def argv(
    box: Host, remote: Sequence[str] = (), *, tty: bool = False, options: Sequence[str] = ()
) -> list[str]:
    """ssh to `box`, running `remote` there (none: a login shell).

    Every remote argument reaches the program on the box unchanged, whatever it holds: UsageError
    for what cannot (see `quote`). tty: ask for a terminal, which ssh gives when its
    own stdin is one. options: further ssh options, before the host.
    """
    line = ["ssh", "-F", str(paths.ssh_config())]
    if tty:
        line.append("-t")
    elif remote:
        line.append("-T")
    line += [*options, "--", box.alias]
    return [*line, quote(remote)] if remote else line


def quote(remote: Sequence[str]) -> str:
    """Arguments as one line for the shell on the box. UsageError for what no program can be
    given: a NUL byte, or text that is not encodable (a lone surrogate)."""
    line = shlex.join(remote)
    try:
        usable = b"\0" not in os.fsencode(line)
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise UsageError("a NUL byte or broken unicode cannot be passed to a program")
    return line


def rsh() -> str:
    """The value of rsync's -e. rsync splits it at spaces outside quotes."""
    config = str(paths.ssh_config())
    return f'ssh -F "{config}"' if " " in config or "'" in config else f"ssh -F {config}"
