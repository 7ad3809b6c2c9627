"""Host aliases that devbox of another DEVBOX_HOME has put before the user's own ssh: both write
an Include into one ~/.ssh/config, and ssh takes the first host of a name."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from pathlib import Path

from devbox import paths
from devbox.remote.config import blocks, include

_INCLUDE = re.compile(r"\s*include\s+(.*)", re.IGNORECASE)
_HOST = re.compile(r"^Host (devbox-\S+)$", re.MULTILINE)
_MOST = 1 << 20  # bytes of a config that are read


def free_alias(slug: str) -> str:
    """'devbox-SLUG'; with a mark of this DEVBOX_HOME where another one has that host."""
    alias = f"devbox-{slug}"
    if alias not in taken():
        return alias
    mark = hashlib.sha256(os.fsencode(paths.home())).hexdigest()[:4]
    return f"{alias}-{mark}"


def taken() -> set[str]:
    """The aliases in the configs of other homes that the user's ssh config includes."""
    found: set[str] = set()
    for line in _text(include.user_config()).splitlines():
        included = _INCLUDE.fullmatch(line)
        for path in _words(included[1]) if included else ():
            if path == paths.ssh_config() or not path.is_file():
                continue
            text = _text(path)
            if text.startswith(blocks.HEADER):
                found.update(_HOST.findall(text))
    return found


def _words(line: str) -> list[Path]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return []
    return [Path(re.sub(r"\\([*?\[])", r"\1", word)).expanduser() for word in words]


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(_MOST).decode(errors="replace")
    except OSError:
        return ""  # missing or not ours to read: ssh finds no host there either
