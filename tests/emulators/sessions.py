"""What runs inside one SSH channel of the gateway: a command, a terminal, or sftp."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import sys
import termios
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import asyncssh

from tests.emulators.common import Box

CHUNK = 1 << 16

TAKE_TERMINAL = (
    "import fcntl,os,sys,termios;"
    "os.setsid();fcntl.ioctl(0,termios.TIOCSCTTY,0);os.execvp(sys.argv[1],sys.argv[1:])"
)
"""Makes a terminal the controlling one in a process of its own: safe under threads."""

AcceptedPrefixes = ("LANG", "LC_")


async def serve_process(
    process: asyncssh.SSHServerProcess[bytes],
    box: Box,
    environment: Mapping[str, str],
    alive: Callable[[], bool],
) -> None:
    """Run the requested command, or a login shell, in ``box`` and answer its exit status.

    Bytes are pumped by hand: asyncssh's redirection cuts the end off large
    output. Like sshd, a quiet process without a terminal outlives its client;
    one with a terminal gets SIGHUP.
    """
    env = {
        **box.environment(environment),
        **{k: v for k, v in process.env.items() if k.startswith(AcceptedPrefixes)},
    }
    argv = ["/bin/bash", "-c", process.command] if process.command else ["/bin/bash", "-l"]
    if not alive():
        process.exit(255)
        return
    if process.term_type is None:
        await _with_pipes(process, argv, env, box.root)
    else:
        await _with_terminal(process, argv, {**env, "TERM": process.term_type}, box.root)


async def _with_pipes(
    process: asyncssh.SSHServerProcess[bytes], argv: list[str], env: dict[str, str], cwd: Path
) -> None:
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *argv, stdin=pipe, stdout=pipe, stderr=pipe, env=env, cwd=cwd, start_new_session=True
    )
    assert child.stdout is not None
    assert child.stderr is not None
    feed = asyncio.create_task(_feed(process, child))
    drain = asyncio.gather(
        _drain(child.stdout, process.stdout), _drain(child.stderr, process.stderr)
    )
    await _until_done_or_gone(process, drain)
    feed.cancel()
    if process.is_closing():
        _drop_pipes(child)
        await child.wait()
        return
    _answer(process, await child.wait())


async def _feed(
    process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process
) -> None:
    """Client input and signals to the child until either ends."""
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, asyncssh.Error):
        while True:
            try:
                data = await process.stdin.read(CHUNK)
            except asyncssh.SignalReceived as received:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.Signals[f"SIG{received.signal}"])
                continue
            if not data:
                break
            child.stdin.write(data)
            await child.stdin.drain()
    child.stdin.close()


async def _drain(source: asyncio.StreamReader, target: asyncssh.SSHWriter[bytes]) -> None:
    """Child output to the client; reading stops when the client is gone."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, asyncssh.Error):
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()


async def _until_done_or_gone(
    process: asyncssh.SSHServerProcess[bytes], work: asyncio.Future[Any]
) -> None:
    gone: asyncio.Future[Any] = asyncio.create_task(process.wait_closed())
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in (work, gone):
            each.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)


def _drop_pipes(child: asyncio.subprocess.Process) -> None:
    """Close our ends, so a child that still writes or reads notices its client is gone."""
    transport = child._transport  # type: ignore[attr-defined]
    for fd in (0, 1, 2):
        pipe = transport.get_pipe_transport(fd)
        if pipe is not None:
            pipe.close()


async def _with_terminal(
    process: asyncssh.SSHServerProcess[bytes], argv: list[str], env: dict[str, str], cwd: Path
) -> None:
    master, slave = os.openpty()
    _resize(slave, process.term_size)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", "-c", TAKE_TERMINAL, *argv),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=env,
        cwd=cwd,
    )
    os.close(slave)
    reader = asyncio.create_task(_terminal_output(master, process))
    writer = asyncio.create_task(_terminal_input(master, process))
    status = asyncio.create_task(child.wait())
    try:
        await _until_done_or_gone(process, asyncio.shield(status))
        if not process.is_closing():
            await asyncio.wait({reader}, timeout=1.0)
            _answer(process, await status)
    finally:
        reader.cancel()
        writer.cancel()
        asyncio.get_running_loop().remove_reader(master)
        os.close(master)
    await status


async def _terminal_output(master: int, process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Terminal to client until the terminal hangs up (EIO) or the client is gone."""
    loop = asyncio.get_running_loop()
    while True:
        readable = asyncio.Event()
        loop.add_reader(master, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(master)
        try:
            data = os.read(master, CHUNK)
        except OSError:
            return
        if not data:
            return
        try:
            process.stdout.write(data)
            await process.stdout.drain()
        except (BrokenPipeError, ConnectionResetError, asyncssh.Error):
            return


async def _terminal_input(master: int, process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Client to terminal, with window changes and breaks on the way."""
    while True:
        try:
            data = await process.stdin.read(CHUNK)
        except asyncssh.TerminalSizeChanged as change:
            _resize(master, (change.width, change.height, change.pixwidth, change.pixheight))
            continue
        except (asyncssh.BreakReceived, asyncssh.SignalReceived):
            data = b"\x03"
        except (BrokenPipeError, ConnectionResetError, asyncssh.Error):
            return
        if not data:
            return
        os.write(master, data)


def _resize(terminal: int, size: tuple[int, int, int, int]) -> None:
    width, height, pixels_wide, pixels_high = size
    packed = struct.pack("HHHH", height, width, pixels_wide, pixels_high)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, packed)


def _answer(process: asyncssh.SSHServerProcess[bytes], code: int) -> None:
    if code >= 0:
        process.exit(code)
        return
    process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))


class BoxSftp(asyncssh.SFTPServer):
    """Files of a box: relative paths start at its home, absolute ones are the machine's own."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], box: Box) -> None:
        super().__init__(channel)
        self._home = os.fsencode(box.root)

    def map_path(self, path: bytes) -> bytes:
        return os.path.join(self._home, path)

    def exit(self) -> None:
        # asyncssh ends an sftp session without an exit status, which scp reads as a failure.
        self.channel.exit(0)
