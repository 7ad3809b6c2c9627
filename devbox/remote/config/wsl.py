"""Under WSL the user's editor runs on Windows and reads Windows' own ssh files: they get a
copy of our config, key and pinned host keys in .ssh/devbox, behind one Include there.

Windows' OpenSSH has no ControlMaster and wants a key that only its owner may read; files made in
a Windows profile inherit such an access list, and `icacls` states it once more. Functions take
the Windows side as an argument, so that they run anywhere.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from devbox import files, paths
from devbox.errors import SshError
from devbox.model import Box
from devbox.process import run
from devbox.remote import keys
from devbox.remote.config import blocks, include_line, parsed
from devbox.text import clean


class Side(NamedTuple):
    """The user's Windows .ssh folder, as seen from Linux and as Windows names it; their name."""

    folder: Path
    windows: PureWindowsPath
    user: str


def detected() -> bool:
    """We run under WSL and can call Windows programs."""
    inside = bool(os.environ.get("WSL_DISTRO_NAME")) or _kernel_is_microsoft()
    return inside and shutil.which("cmd.exe") is not None


def side() -> Side:
    """The Windows side of this WSL, asked from Windows once and remembered for this installation.
    SshError when Windows does not say."""
    memory = paths.ssh_dir() / "windows-side"
    known = memory.read_text(encoding="utf-8").splitlines() if memory.exists() else []
    if len(known) != 3 or not Path(known[0]).is_dir():
        known = _ask_windows()
        files.write_atomic(memory, "\n".join(known))
    profile, windows, user = known
    return Side(Path(profile) / ".ssh", PureWindowsPath(windows) / ".ssh", user)


def mirror(boxes: Sequence[Box], to: Side | None = None) -> Path:
    """Copy config, key and pinned host keys to the Windows side; returns the folder there.
    boxes: those with a usable endpoint. SshError when the Windows drive refuses, or when Windows'
    ssh cannot read the config: then the previous one is back."""
    to = to or side()
    keys.ensure_identity()
    target, there = to.folder / "devbox", to.windows / "devbox"
    own = tuple(to.windows / file.name for file in keys.persons_keys(to.folder))
    known = parsed.keywords("ssh.exe") if shutil.which("ssh.exe") else frozenset[str]()
    place = blocks.Place(there / "id_ed25519", own, there / "known_hosts", None, known)
    copies = {
        "id_ed25519": paths.identity().read_bytes(),
        "id_ed25519.pub": paths.identity().with_suffix(".pub").read_bytes(),
        "known_hosts": paths.known_hosts().read_bytes() if paths.known_hosts().exists() else b"",
        "config": blocks.render(boxes, place).encode(),
    }
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in copies.items():
            if not (target / name).exists() or (target / name).read_bytes() != content:
                _replace(target / name, content, there / name, to)
    except OSError as error:
        raise SshError(
            f"the Windows folder {target} cannot be written: {error.strerror}",
            means="ssh from WSL works; an editor on Windows does not find the boxes",
        ) from error
    return target


def install(to: Side | None = None) -> bool:
    """Put the Include at the top of the Windows ssh config. False when it was there. SshError as
    for our own side; then the previous bytes are back."""
    to = to or side()
    file = to.folder / "config"
    before = file.read_bytes() if file.exists() else None
    changed = include_line.add(file, to.windows / "devbox" / "config", _made_by_us())
    if changed:
        _verify(file, to.windows / "config", before)
    return changed


def remove(to: Side | None = None) -> bool:
    """Take the Include and our copies away again. False when there was no Include."""
    to = to or side()
    taken = include_line.take(to.folder / "config", to.windows / "devbox" / "config", _made_by_us())
    for name in ("id_ed25519", "id_ed25519.pub", "known_hosts", "config"):
        (to.folder / "devbox" / name).unlink(missing_ok=True)
    if (to.folder / "devbox").is_dir():
        (to.folder / "devbox").rmdir()
    return taken


def _replace(file: Path, content: bytes, windows: PureWindowsPath, to: Side) -> None:
    before = file.read_bytes() if file.exists() else None
    files.write_atomic(file, content, mode=0o600)
    if file.name == "id_ed25519":
        _only_for_its_owner(windows, to.user)
    if file.name == "config":
        _verify(file, windows, before)


def _verify(file: Path, windows: PureWindowsPath, before: bytes | None) -> None:
    """Windows' own ssh reads the file and finds our probe in it, or the file is put back."""
    if not shutil.which("ssh.exe"):
        return
    try:
        found = parsed.settings(windows, blocks.PROBE, program="ssh.exe").get("hostname")
        if found != blocks.PROBE_HOST:
            raise SshError(f"ssh on Windows does not find devbox's hosts through {windows}")
    except SshError:
        include_line.restore(file, before, _made_by_us())
        raise


def _made_by_us() -> Path:
    """Exists while the Windows ssh config is one that `install` created."""
    return paths.ssh_dir() / "made-windows-config"


def _only_for_its_owner(file: PureWindowsPath, user: str) -> None:
    """Windows' ssh ignores a key that others may read. Without icacls the inherited access list
    of the profile folder stands."""
    if shutil.which("icacls.exe"):
        run(
            ["icacls.exe", str(file), "/inheritance:r", "/grant:r", f"{user}:F"],
            check=False,
            timeout=20,
        )


def _ask_windows() -> list[str]:
    # chcp 65001: cmd.exe prints UTF-8, so that profile names with accents survive.
    script = "chcp 65001 >nul & echo %USERPROFILE%& echo %USERNAME%"
    out = run(["cmd.exe", "/d", "/c", script], check=False, timeout=20).out
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    if len(lines) != 2 or "%" in lines[0]:
        raise SshError(
            f"Windows does not tell where your profile is: {clean(out, 200)!r}",
            fix="check that `cmd.exe /c echo hello` works in this WSL (interop)",
        )
    unix = run(["wslpath", "-u", lines[0]], timeout=20).out.strip()
    return [unix, lines[0], lines[1]]


def _kernel_is_microsoft() -> bool:
    version = Path("/proc/version")
    return version.is_file() and "microsoft" in version.read_text(errors="replace").lower()
