"""Opening a box in the user's editor over its own ssh remoting, by our host alias.

Link forms: VS Code and its forks take `SCHEME://vscode-remote/ssh-remote+HOST/PATH` and, on their
command line, `--folder-uri vscode-remote://ssh-remote+HOST/PATH`; Zed takes `zed://ssh/HOST/PATH`
and, on its command line, `ssh://HOST/PATH` (zed: crates/zed/src/zed/open_listener.rs).
"""

from __future__ import annotations

import posixpath
import shutil
import sys
from typing import Literal, get_args
from urllib.parse import quote

from devbox import names, process
from devbox.errors import SshError, UsageError
from devbox.model import Box
from devbox.remote.config import wsl
from devbox.remote.exec import Exec
from devbox.text import clean

Editor = Literal["code", "cursor", "windsurf", "zed"]
EDITORS: tuple[Editor, ...] = get_args(Editor)

_SCHEMES = {"code": "vscode", "cursor": "cursor", "windsurf": "windsurf"}
_PROGRAMS = {"zed": ("zed", "zeditor", "zedit")}


def editor(name: str) -> Editor:
    """The editor of that name; '' is VS Code. UsageError names those we know."""
    for known in EDITORS:
        if (name or "code") == known:
            return known
    raise UsageError(f"no editor {clean(name, 40)!r}", fix=f"use one of: {', '.join(EDITORS)}")


def workdir(box: Box) -> str:
    """The absolute path of the box's work folder; a relative one is below the login folder, which
    the box is asked for. SshError when it does not answer or answers nonsense."""
    if box.workdir.startswith("/"):
        return box.workdir
    done = Exec(box).run(["pwd"], check=False)
    login = done.out.removesuffix("\n")
    if done.code or not login.startswith("/"):
        said = clean((done.err or done.out).strip()[-300:], 300)
        raise SshError(
            f"box {box.name} does not say where its files are: {said}",
            fix=f"look with: devbox ssh {box.name}",
            box=box.id,
        )
    return posixpath.join(names.remote_path(login), box.workdir)


def link(which: Editor, box: Box, path: str) -> str:
    """The link that opens absolute `path` on `box`."""
    place = box.alias + quote(path)
    if which == "zed":
        return f"zed://ssh/{place}"
    return f"{_SCHEMES[which]}://vscode-remote/ssh-remote+{place}"


def open_in(which: Editor, box: Box, path: str) -> bool:
    """Open `path` with the editor's own command, else hand the link to the desktop. False when
    there is neither. SshError when the editor's command fails."""
    place = box.alias + quote(path)
    for program in _PROGRAMS.get(which, (which,)):
        if shutil.which(program):
            target = (
                [f"ssh://{place}"]
                if which == "zed"
                else ["--folder-uri", f"vscode-remote://ssh-remote+{place}"]
            )
            done = process.run([program, *target], timeout=60, check=False)
            if done.code:
                said = clean(done.err.strip()[-300:], 300)
                raise SshError(
                    f"{program} ended with code {done.code}: {said}",
                    fix=f"open this link yourself: {link(which, box, path)}",
                )
            return True
    opener = _opener()
    if opener:
        process.spawn([*opener, link(which, box, path)])
    return bool(opener)


def _opener() -> list[str] | None:
    """What opens a link on this desktop."""
    if sys.platform == "darwin":
        return ["open"]
    if wsl.detected() and shutil.which("rundll32.exe"):
        # Takes the link as it is, where `cmd /c start` would read it as a command line.
        return ["rundll32.exe", "url.dll,FileProtocolHandler"]
    return ["xdg-open"] if shutil.which("xdg-open") else None
