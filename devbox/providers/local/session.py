"""One SSH channel of a box: a command, a shell, a program on a terminal, or sftp.

Bytes are pumped by hand: asyncssh's redirection cuts the end off large output.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
from asyncssh.stream import SSHServerStreamSession

from devbox.providers.local import child, files
from devbox.providers.local.pump import Sink, Source
from devbox.providers.local.traffic import is_ours

if TYPE_CHECKING:
    from devbox.providers.local.sshd import Server

_HIGH, _LOW = 1 << 20, 1 << 18  # bytes queued towards a client before a program is held back
_SETTLE = 0.2  # seconds a terminal's last output may take to arrive after its program ended
_ACCEPTED = ("LANG", "LC_", "COLORTERM")  # what a client may set, as in sshd's AcceptEnv
_CONTROL_D = b"\x04"


class Session(asyncssh.SSHServerSession[bytes]):
    """Runs what the client asks for, answers its exit status, and hangs up when the client is
    gone: its process group gets HUP, what made a session of its own lives on."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._traffic = server.traffic
        self._counted = True
        self._command: str | None = None
        self._terminal: tuple[str, Mapping[int, int]] | None = None
        self._files: SSHServerStreamSession[bytes] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._code: int | None = None
        self._master = -1
        self._sink: Sink | None = None
        self._sources: list[Source] = []
        self._gone = False

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._chan = chan

    def pty_requested(
        self, term_type: str, term_size: tuple[int, int, int, int], term_modes: Mapping[int, int]
    ) -> bool:
        self._terminal = (term_type, dict(term_modes))
        return True

    def shell_requested(self) -> bool:
        return True

    def exec_requested(self, command: str) -> bool:
        self._command = command
        self._counted = not is_ours(command)
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        if subsystem != "sftp":
            return False
        self._files = files.session(self._traffic)
        self._files.connection_made(self._chan)
        return True

    def session_started(self) -> None:
        self._server.sessions.add(self)
        self._traffic.sessions += self._counted
        if self._files:
            self._files.session_started()
            return
        self._chan.set_write_buffer_limits(_HIGH, _LOW)
        try:
            self._start()
        except (OSError, ValueError) as error:  # ValueError: a NUL byte in the command
            self._chan.write(f"devbox: cannot start: {error}\n".encode(), _STDERR)
            self._chan.exit(254)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if self._counted:
            self._traffic.received += len(data)
        if self._files:
            self._files.data_received(data, datatype)
        elif self._sink:
            self._sink.write(data)

    def eof_received(self) -> bool:
        if self._files:
            return bool(self._files.eof_received())
        if self._sink:
            if self._terminal:
                self._sink.write(_CONTROL_D)
            else:
                self._sink.write_eof()
        return True

    def pause_writing(self) -> None:
        if self._files:
            self._files.pause_writing()
        for source in self._sources:
            source.pause()

    def resume_writing(self) -> None:
        if self._files:
            self._files.resume_writing()
        for source in self._sources:
            source.resume()

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        if self._master >= 0:
            child.resize(self._master, (width, height, pixwidth, pixheight))

    def signal_received(self, signal: str) -> None:
        self._signal(f"SIG{signal}")

    def break_received(self, msec: int) -> bool:
        self._signal("SIGINT")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._gone:
            return
        self._gone = True
        self._server.sessions.discard(self)
        self._traffic.sessions -= self._counted
        if self._files:
            self._files.connection_lost(exc)
        else:
            self._hang_up()

    def part(self, words: str) -> None:
        """End it from our side: last words where a user reads them, HUP, a closed channel."""
        if self._files or self._gone:
            return
        with suppress(OSError):
            if self._terminal:
                self._chan.write(f"\r\n{words}\r\n".encode())
            self._hang_up()
            self._chan.exit_with_signal("HUP")

    def _start(self) -> None:
        home = self._server.folder.home
        environment = {**self._server.environment, **self._accepted(), **self._peer()}
        shell = environment["SHELL"]
        if self._terminal:
            self._on_terminal(shell, environment, home)
        else:
            # Without a terminal a shell reads its script from stdin, as under sshd.
            argv = [shell, "-c", self._command] if self._command is not None else [shell, "-l"]
            self._child, into, out, err = child.with_pipes(argv, environment, home)
            self._sink = Sink(into, self._chan.pause_reading, self._chan.resume_reading)
            self._sources = [
                Source(out, self._out, self._settle),
                Source(err, self._err, self._settle),
            ]
        assert self._child is not None
        self._server.children.watch(self._child, self._ended)

    def _on_terminal(self, shell: str, environment: dict[str, str], home: Path) -> None:
        assert self._terminal is not None
        kind, modes = self._terminal
        master, slave, name = child.open_terminal(self._chan.get_terminal_size(), modes)
        environment |= {"TERM": kind or "dumb", "SSH_TTY": name}
        argv = (
            [shell, "-c", self._command] if self._command is not None else [f"-{Path(shell).name}"]
        )
        try:
            self._child = child.on_terminal(shell, argv, environment, home, slave)
        except OSError:
            os.close(master)
            raise
        self._master = os.dup(master)
        self._sink = Sink(os.dup(master), self._chan.pause_reading, self._chan.resume_reading)
        self._sources = [Source(master, self._out, self._settle)]
        if self._command is None and not (home / ".hushlogin").exists():
            self._out(f"devbox box {self._server.name}: a folder on this machine\r\n".encode())

    def _accepted(self) -> dict[str, str]:
        given = self._chan.get_environment()
        return {k: v for k, v in given.items() if k.startswith(_ACCEPTED)}

    def _peer(self) -> dict[str, str]:
        there = self._chan.get_extra_info("peername")[:2]
        here = self._chan.get_extra_info("sockname")[:2]
        user = self._chan.get_extra_info("username")
        return {
            "SSH_CONNECTION": f"{there[0]} {there[1]} {here[0]} {here[1]}",
            "SSH_CLIENT": f"{there[0]} {there[1]} {here[1]}",
            "USER": user,
            "LOGNAME": user,
        }

    def _out(self, data: bytes) -> None:
        self._give(data, None)

    def _err(self, data: bytes) -> None:
        self._give(data, _STDERR)

    def _give(self, data: bytes, datatype: int | None) -> None:
        if self._counted:
            self._traffic.sent += len(data)
        with suppress(BrokenPipeError):  # the client closed its channel; its end follows
            self._chan.write(data, datatype)

    def _ended(self, code: int) -> None:
        self._code = code
        if self._terminal:
            asyncio.get_running_loop().call_later(_SETTLE, self._settle_terminal)
        self._settle()

    def _settle(self) -> None:
        """Answer once the program has ended and all its output has been read."""
        if self._code is None or any(s.is_open for s in self._sources) or self._gone:
            return
        self._release()
        with suppress(OSError):
            if self._code >= 0:
                self._chan.exit(self._code)
            else:
                self._chan.exit_with_signal(signal.Signals(-self._code).name.removeprefix("SIG"))

    def _settle_terminal(self) -> None:
        """A program in the background may hold the terminal open for ever: do not wait for it,
        but for a slow client."""
        for source in self._sources:
            if source.is_paused and source.is_open:
                asyncio.get_running_loop().call_later(_SETTLE, self._settle_terminal)
                return
            source.drain()
        self._settle()

    def _signal(self, name: str) -> None:
        number = getattr(signal, name, None)
        if isinstance(number, signal.Signals) and self._child and self._code is None:
            with suppress(OSError):
                os.killpg(self._child.pid, number)

    def _hang_up(self) -> None:
        """The client is gone: HUP to the process group, unless all of it had ended."""
        was_open = any(source.is_open for source in self._sources)
        self._release()
        if self._child is None or self._terminal:
            # The system hangs up on a terminal's programs; a second HUP would make a shell die
            # before it has passed the first one on to its jobs.
            return
        if self._code is None:
            for name in ("SIGHUP", "SIGCONT"):
                self._signal(name)
        elif was_open:
            # The leader is reaped, so its number may be another's by now: look for its group.
            from devbox.providers.local.processes import of_group

            for process in of_group(self._server.folder, self._child.pid):
                process.send_signal(signal.SIGHUP)

    def _release(self) -> None:
        for source in self._sources:
            source.close()
        if self._sink:
            self._sink.close()
        if self._master >= 0:
            os.close(self._master)
            self._master = -1


_STDERR = asyncssh.EXTENDED_DATA_STDERR
