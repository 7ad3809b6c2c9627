"""Starting a session's program, with pipes or on a terminal of its own, and noticing its end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

_PIPE = 1 << 18  # bytes; Linux gives 64 KiB unless asked
_SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", None)

# RFC 4254 §8 opcodes → the index of the same character in termios' cc array.
_CHARACTERS = {
    1: termios.VINTR,
    2: termios.VQUIT,
    3: termios.VERASE,
    4: termios.VKILL,
    5: termios.VEOF,
    10: termios.VSUSP,
}
# Opcodes → (part of the termios list, flag).
_FLAGS = {
    36: (0, termios.ICRNL),
    38: (0, termios.IXON),
    39: (0, termios.IXANY),
    42: (0, getattr(termios, "IUTF8", 0x4000)),
    50: (3, termios.ISIG),
    51: (3, termios.ICANON),
    53: (3, termios.ECHO),
    54: (3, termios.ECHOE),
    55: (3, termios.ECHOK),
    70: (1, termios.OPOST),
    72: (1, termios.ONLCR),
}


class Children:
    """The session leaders of one server. One SIGCHLD handler; no thread a child."""

    def __init__(self) -> None:
        self._ended: dict[subprocess.Popen[bytes], Callable[[int], None]] = {}

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.add_signal_handler(signal.SIGCHLD, self._reap)

    def watch(self, child: subprocess.Popen[bytes], ended: Callable[[int], None]) -> None:
        """Call `ended` with its exit code, negative for a signal, soon after it ends."""
        self._ended[child] = ended
        asyncio.get_running_loop().call_soon(self._reap)

    def _reap(self) -> None:
        for child in list(self._ended):
            code = child.poll()
            if code is not None:
                self._ended.pop(child)(code)


def with_pipes(
    argv: list[str], environment: Mapping[str, str], cwd: Path
) -> tuple[subprocess.Popen[bytes], int, int, int]:
    """Start a program in a session of its own: (child, its stdin, stdout and stderr)."""
    pairs = [os.pipe() for _ in range(3)]
    theirs = (pairs[0][0], pairs[1][1], pairs[2][1])
    ours = (pairs[0][1], pairs[1][0], pairs[2][0])
    try:
        for end in ours:
            os.set_blocking(end, False)
        if _SET_PIPE_SIZE is not None:
            with suppress(OSError):  # the system's limit on pipe memory: smaller ones do
                for end in ours[:2]:
                    fcntl.fcntl(end, _SET_PIPE_SIZE, _PIPE)
        child = subprocess.Popen(
            argv,
            stdin=theirs[0],
            stdout=theirs[1],
            stderr=theirs[2],
            env=environment,
            cwd=cwd,
            start_new_session=True,
        )
    except BaseException:
        for end in ours:
            os.close(end)
        raise
    finally:
        for end in theirs:
            os.close(end)
    return child, *ours


def on_terminal(
    program: str, argv: list[str], environment: Mapping[str, str], cwd: Path, slave: int
) -> subprocess.Popen[bytes]:
    """Start a program whose controlling terminal `slave` becomes; closes ours of it."""
    try:
        return subprocess.Popen(
            argv,
            executable=program,
            env=environment,
            cwd=cwd,
            # login_tty makes a session and takes the terminal; nothing else runs before exec.
            preexec_fn=lambda: os.login_tty(slave),  # noqa: PLW1509
        )
    finally:
        os.close(slave)


def open_terminal(
    size: tuple[int, int, int, int], modes: Mapping[int, int]
) -> tuple[int, int, str]:
    """A terminal with the client's size and modes: (master, slave, its name)."""
    master, slave = os.openpty()
    resize(master, size)
    attributes = termios.tcgetattr(slave)
    for opcode, value in modes.items():
        if opcode in _CHARACTERS:
            off = value in (0, 255)
            attributes[6][_CHARACTERS[opcode]] = b"\0" if off else bytes([value & 0xFF])
        elif opcode in _FLAGS:
            part, flag = _FLAGS[opcode]
            attributes[part] = attributes[part] | flag if value else attributes[part] & ~flag
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    os.set_blocking(master, False)
    return master, slave, os.ttyname(slave)


def resize(terminal: int, size: tuple[int, int, int, int]) -> None:
    """size: columns, rows, width and height in pixels, as SSH sends them."""
    columns, rows, wide, high = (min(max(n, 0), 0xFFFF) for n in size)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, wide, high))
