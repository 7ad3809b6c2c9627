"""Starting a box's server in the background, and asking it to stop."""

from __future__ import annotations

import base64
import json
import os
import re
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import devbox
from devbox.errors import ProviderError
from devbox.providers.base import Request
from devbox.providers.local.box_dir import MARK, BoxDir, Start, replace
from devbox.text import clean

PROFILE = """\
# Made by devbox: the system's profile resets PATH, which would hide the box's own programs.
[ -n "$DEVBOX_LOCAL_PATH" ] && export PATH="$DEVBOX_LOCAL_PATH"
[ -n "$BASH" ] && [ -f ~/.bashrc ] && . ~/.bashrc
:
"""

# What a box has of the environment devbox runs in: how this machine works, never who uses it.
_KEPT = re.compile(
    r"PATH|LANG|LC_\w+|TZ|TMPDIR|LD_LIBRARY_PATH|DYLD_\w+|CUDA_\w+|NVIDIA_\w+|SSL_CERT_\w+"
    r"|REQUESTS_CA_BUNDLE|(?:https?|no|all)_proxy|(?:HTTPS?|NO|ALL)_PROXY"
)
_PUBLIC_KEY = re.compile(r"[a-z0-9@.-]{3,60} [A-Za-z0-9+/]{16,16000}={0,2}(?: [^\x00-\x1f\x7f]*)?")
_START = 20.0  # seconds for the guard to take its lock
_ALREADY = 3  # server.ALREADY, without the import


def start(folder: BoxDir, request: Request, life: int) -> None:
    """Start the server of one life; it is on its own when this returns. A box that has a living
    guard is left alone. Secrets go through a pipe and are never on disk."""
    message: Start = {
        "life": life,
        "uptime": float(request.spec.max_uptime),
        "env": {**request.spec.env, **request.secrets},
        "keys": [request.public_key],
    }
    argv = [sys.executable, "-P", "-m", "devbox.providers.local.server", str(folder.path)]
    with open(folder.log, "wb") as log:
        starter = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=folder.home,
            env=_environment(folder, os.environ),
            start_new_session=True,
        )
        try:
            starter.communicate(json.dumps(message).encode(), timeout=_START)
        except subprocess.TimeoutExpired:
            starter.kill()
            starter.wait()
    if starter.returncode not in (0, _ALREADY):
        raise ProviderError(
            f"the server of the local box {request.name} did not start: "
            f"{clean(folder.log_tail(), 600)}",
            means="nothing runs; its files are kept",
            fix="check with: devbox doctor",
        )


def ask_to_stop(folder: BoxDir, life: int, reason: str, patience: float) -> None:
    """Tell the server to part from its sessions, and wait until it and its guard are gone or
    `patience` seconds are over. One that does not listen yet has nobody to part from."""
    import psutil

    record = folder.server()
    replace(folder.stop, reason)
    if record is None or record.life != life:
        return
    with suppress(psutil.Error):
        server = psutil.Process(record.pid)
        # The pid may be another program's by now: only one that carries our mark is ours.
        if server.environ().get(MARK) == folder.mark:
            server.terminate()
    until = time.monotonic() + patience
    while folder.alive() and time.monotonic() < until:
        time.sleep(0.005)


def check(request: Request) -> None:
    """ProviderError when a request cannot become a server; nothing has been made then."""
    if not _PUBLIC_KEY.fullmatch(request.public_key):
        raise ProviderError("the public key for the box is not one OpenSSH line")
    if any("\0" in value for value in (*request.spec.env.values(), *request.secrets.values())):
        raise ProviderError(
            "a value in the box's env holds a NUL byte",
            fix=f"edit [boxes.{request.name}.env] in devbox.toml",
        )
    if os.path.isabs(request.spec.workdir):
        raise ProviderError(
            f"a local box keeps its files in its own folder, not in {clean(request.spec.workdir)}",
            fix='use a relative workdir, such as workdir = "work"',
        )


def public_line(private: str) -> str:
    """The 'type base64' line of an unencrypted private key in OpenSSH's form (PROTOCOL.key)."""
    try:
        body = "".join(line for line in private.split("\n") if not line.startswith("-----"))
        rest = base64.b64decode(body, validate=True)
        magic, rest = rest[:15], rest[15:]
        cipher, rest = _string(rest)
        for _ in ("kdf", "kdf options"):
            _, rest = _string(rest)
        blob, _ = _string(rest[4:])
        kind, _ = _string(blob)
        if magic != b"openssh-key-v1\0" or cipher != b"none":
            raise ValueError("not an unencrypted OpenSSH key")
        return f"{kind.decode('ascii')} {base64.b64encode(blob).decode()}"
    except (ValueError, struct.error) as error:
        raise ProviderError(f"the box's host key cannot be read: {error}") from error


def _string(data: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack(">I", data[:4])
    if length > len(data) - 4:
        raise ValueError("it is cut short")
    return data[4 : 4 + length], data[4 + length :]


def _environment(folder: BoxDir, here: Mapping[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in here.items() if _KEPT.fullmatch(key)}
    programs = Path(sys.executable).parent
    return {
        **kept,
        # First, so that `python3` on the box is the one with devbox's own packages.
        "PATH": f"{programs}:{kept.get('PATH', os.defpath)}",
        "HOME": str(folder.home),
        "PYTHONPATH": str(Path(devbox.__file__).parent.parent),
        MARK: folder.mark,
    }
