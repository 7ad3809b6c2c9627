"""Process 1 of an emulated machine: builds its root directory, then reaps until its keeper goes.

Run as a program inside fresh mount, pid, network, uts and ipc namespaces with
one JSON argument::

    {"directory", "lower": [...], "upper", "work", "root", "hostname", "binds": [[from, to, ro]]}

It writes ``ready`` on stdout once the machine is usable. When stdin ends (the
emulator closed it or died) it exits, and the kernel then kills every process
of the machine, whatever session it moved to. Standard library only.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import sys
from typing import Any

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND = 4096
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
DEVICES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}
LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    spec: dict[str, Any] = json.loads(sys.argv[1])
    os.chdir(spec["directory"])
    build_root(spec)
    raise_loopback()
    socket.sethostname(spec["hostname"])
    os.chroot(spec["root"])
    os.chdir("/")
    signal.signal(signal.SIGCHLD, reap)
    os.write(1, b"ready\n")
    while os.read(0, 4096):
        continue


def build_root(spec: dict[str, Any]) -> None:
    root = spec["root"]
    layers = ":".join(spec["lower"])
    options = f"lowerdir={layers},upperdir={spec['upper']},workdir={spec['work']}"
    mount("overlay", root, "overlay", 0, options + ",redirect_dir=off,metacopy=off,index=off")
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("sysfs", f"{root}/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY)
    build_dev(f"{root}/dev")
    for source, target, read_only in spec["binds"]:
        inside = root + make_inside(root, target)
        mount(source, inside, "", MS_BIND)
        if read_only:
            mount("none", inside, "", MS_BIND | MS_REMOUNT | MS_RDONLY)


def make_inside(root: str, path: str) -> str:
    """Make directory ``path`` with links followed inside ``root``; returns where they led."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.chroot(root)
        os.makedirs(path, exist_ok=True)
        os.write(writing, os.path.realpath(path).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with open(reading, "rb") as answer:
        return answer.read().decode()


def build_dev(dev: str) -> None:
    mount("tmpfs", dev, "tmpfs", MS_NOSUID, "mode=755")
    for name, minor in DEVICES.items():
        make_device(f"{dev}/{name}", 1, minor)
    make_device(f"{dev}/tty", 5, 0)
    os.mkdir(f"{dev}/pts")
    mount("devpts", f"{dev}/pts", "devpts", MS_NOSUID, "newinstance,ptmxmode=0666,mode=620,gid=5")
    os.symlink("pts/ptmx", f"{dev}/ptmx")
    os.mkdir(f"{dev}/shm")
    mount("tmpfs", f"{dev}/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"{dev}/{name}")


def make_device(path: str, major: int, minor: int) -> None:
    os.mknod(path, 0o020666, os.makedev(major, minor))
    os.chmod(path, 0o666)


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    done = LIBC.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()
    )
    if done != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"mount {kind or 'bind'} on {target}: {os.strerror(code)}")


def raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request), 16)
        request = struct.pack("16sH14x", b"lo", flags | IFF_UP)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)


def reap(*_: object) -> None:
    while True:
        try:
            pid, _status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


if __name__ == "__main__":
    main()
