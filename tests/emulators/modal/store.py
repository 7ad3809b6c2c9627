"""Where the emulator keeps file systems: layers, machines' own directories, volumes.

A layer is a directory in overlayfs's own format, so a snapshot is a copy of
one directory and a machine starts from an image without copying anything.
The lowest layer is this host's own ``/`` with everything personal hidden
(``/root``, ``/home``, ``/tmp``, ``/work``, host keys, and what is mounted on
the host): a sandbox has the host's programs and nothing else of it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from tests.emulators.modal import fs_tools

SHARED_MEMORY = Path("/dev/shm")  # overlayfs refuses to write inside its own lower layer, "/"
PREFIX = "modal-emulator-"
_COPIES = 50  # of a machine whose files change meanwhile
KEPT = frozenset({"bin", "boot", "dev", "etc", "lib", "opt", "proc", "sbin", "sys", "usr", "var"})
SKIPPED_TOOLS = (
    *("apt-get", "apt", "dpkg-reconfigure", "debconf-set-selections", "curl", "wget", "git"),
    *("pip", "pip3", "uv", "uvx", "conda", "mamba", "micromamba", "npm"),
)
SKIPPED = (
    '#!/bin/sh\necho "emulator: not run: $(basename "$0") $*"\ncat >/dev/null 2>&1 </dev/null\n'
)
PYTHON_WITHOUT_PIP = (
    '#!/bin/sh\ncase "$1 $2" in "-m pip"|"-m uv"|"-m ensurepip") '
    'echo "emulator: not run: python $*"; exit 0;; esac\nexec /usr/bin/python3 "$@"\n'
)


class Store:
    """One directory in shared memory, gone when the emulator closes. hollow: for machines in which
    nothing runs, so it holds no files, may be on any disk, and the host need not isolate."""

    def __init__(self, *, hollow: bool = False) -> None:
        self.hollow = hollow
        if not hollow:
            require_isolation()
        sweep()
        name = f"{PREFIX}{os.getpid()}-"
        place = SHARED_MEMORY if SHARED_MEMORY.is_dir() or not hollow else None
        self.directory = Path(tempfile.mkdtemp(prefix=name, dir=place))
        self._numbers = itertools.count(1)
        for room in ("layers", "machines", "volumes"):
            (self.directory / room).mkdir()
        self.base: tuple[str, ...] = () if hollow else (self._make_base(), "/")
        self.shims = "shims" if hollow else self._make_shims()

    def new_layer(self) -> str:
        """An empty layer's name, relative to the store."""
        name = f"layers/{next(self._numbers)}"
        (self.directory / name).mkdir(mode=0o755)
        return name

    def new_machine(self) -> str:
        """A machine's place: ``upper``, ``work`` and ``root`` in it."""
        name = f"machines/{next(self._numbers)}"
        for part in ("upper", "work", "root"):
            (self.directory / name / part).mkdir(parents=True)
        return name

    def new_volume(self) -> Path:
        """An empty volume's directory."""
        path = self.directory / f"volumes/{next(self._numbers)}"
        path.mkdir(mode=0o755)
        return path

    def copy_upper(self, machine: str) -> str:
        """What ``machine`` changed so far, as a new layer: as of one moment, so a copy during which
        a file went away is made again."""
        source = self.directory / machine / "upper"
        for _ in range(_COPIES):
            name = f"layers/{next(self._numbers)}"
            done = subprocess.run(
                ["cp", "-a", source, self.directory / name], capture_output=True, check=False
            )
            if done.returncode == 0:
                return name
            shutil.rmtree(self.directory / name, ignore_errors=True)
        raise RuntimeError(f"{machine} could not be copied: {done.stderr.decode()}")

    def drop(self, machine: str) -> None:
        """Delete a machine's place."""
        shutil.rmtree(self.directory / machine, ignore_errors=True)

    def close(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _make_base(self) -> str:
        """The layer right above the host: hides what is the host's own, adds Modal's tool."""
        base = self.directory / "base"
        base.mkdir(mode=0o755)
        for entry in Path("/").iterdir():
            if entry.name.startswith("lib") or entry.name in KEPT:
                continue
            if entry.is_symlink() or not entry.is_dir():
                os.mknod(base / entry.name, stat.S_IFCHR, 0)  # overlayfs's mark for "deleted"
            else:
                hide(base / entry.name)
        for name, mode in {"root": 0o700, "tmp": 0o1777, "run": 0o755, "home": 0o755}.items():
            hide(base / name)
            (base / name).chmod(mode)
        (base / "etc/ssh").mkdir(parents=True)
        for key in Path("/etc/ssh").glob("ssh_host_*"):
            os.mknod(base / "etc/ssh" / key.name, stat.S_IFCHR, 0)
        tool = base / "__modal/.bin/modal-sandbox-fs-tools"
        tool.parent.mkdir(parents=True)
        shutil.copy(fs_tools.__file__, tool)
        tool.chmod(0o755)
        return "base"

    def _make_shims(self) -> str:
        """A layer for builds only: tools that would download do nothing and say so."""
        place = self.directory / "shims/.emulator"
        place.mkdir(parents=True)
        for name in SKIPPED_TOOLS:
            (place / name).write_text(SKIPPED)
        for name in ("python", "python3"):
            (place / name).write_text(PYTHON_WITHOUT_PIP)
        for shim in place.iterdir():
            shim.chmod(0o755)
        return "shims"


def hide(directory: Path) -> None:
    """Make ``directory`` show nothing of what lies below it."""
    directory.mkdir(mode=0o755, exist_ok=True)
    os.setxattr(directory, "trusted.overlay.opaque", b"y")


def sweep() -> None:
    """Delete what emulators that were killed left behind."""
    for left in SHARED_MEMORY.glob(f"{PREFIX}*"):
        owner = left.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(left, ignore_errors=True)


def require_isolation() -> None:
    """Refuse to start where sandboxes could not be real machines.

    Raises:
        RuntimeError: says what this host lacks.
    """
    missing = [
        tool for tool in ("unshare", "nsenter", "/usr/bin/python3") if shutil.which(tool) is None
    ]
    if missing:
        raise RuntimeError(f"the Modal emulator needs {', '.join(missing)} (util-linux, python3)")
    if os.geteuid() != 0:
        raise RuntimeError("the Modal emulator needs root: its sandboxes are Linux namespaces")
    if "overlay" not in Path("/proc/filesystems").read_text():
        raise RuntimeError("the Modal emulator needs overlayfs in the kernel")
    if not SHARED_MEMORY.is_dir() or SHARED_MEMORY.stat().st_dev == Path("/").stat().st_dev:
        raise RuntimeError("the Modal emulator needs /dev/shm on a file system of its own")
    trial = subprocess.run(
        ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if trial.returncode != 0:
        raise RuntimeError(f"this host refuses new namespaces: {trial.stderr.strip()}")
