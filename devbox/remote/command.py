"""The ssh command line for a box. It reads only devbox's own config, so a wrecked personal one
never matters. Nothing is run here, and importing it is cheap."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import Protocol

from devbox import paths
from devbox.errors import UsageError

_MARK = "devbox-output-begins"


class Host(Protocol):
    """What has a host alias in devbox's ssh config: a `model.Box`, or less."""

    @property
    def alias(self) -> str: ...


def argv(
    box: Host,
    remote: Sequence[str] = (),
    *,
    tty: bool = False,
    options: Sequence[str] = (),
    mark: bool = False,
) -> list[str]:
    """ssh to `box`, running `remote` there (none: a login shell).

    Every remote argument reaches the program on the box unchanged, whatever it holds: UsageError
    for what cannot (see `quote`). tty: ask for a terminal, which ssh gives when its
    own stdin is one. options: further ssh options, before the host. mark: as `marked`.
    """
    line = ["ssh", "-F", str(paths.ssh_config())]
    if tty:
        line.append("-t")
    elif remote:
        line.append("-T")
    line += [*options, "--", box.alias]
    return [*line, (marked if mark else quote)(remote)] if remote else line


def marked(remote: Sequence[str]) -> str:
    """`quote`, behind a line that says where the program's own output begins: a login shell may
    print lines of its own first. `answer` takes the output from there on."""
    return f"echo {_MARK}; exec {quote(remote)}"


def answer(output: bytes) -> tuple[bytes, bytes | None]:
    """What the login shell printed, and what the program did; None before it began."""
    noise, mark, rest = output.partition(f"{_MARK}\n".encode())
    return noise, rest if mark else None


def noise_in(noise: bytes) -> str:
    """What a user should know of a login shell that prints: '' when it was silent."""
    from devbox.text import clean

    text = clean(noise.decode(errors="replace").strip(), 80)
    return (
        f"a start file of the box's login shell prints {text!r} for every program, which breaks "
        "rsync and scp; let it be silent where no terminal is, with this line at the top of "
        "~/.bashrc there: [ -t 1 ] || return"
        if text
        else ""
    )


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
