"""The files that make a repository a Space: Dockerfile, README metadata, the page it serves.

Facts of the public documentation: Dev Mode needs bash, curl, wget, procps, git and git-lfs in the
image, the code in /app owned by uid 1000, and a CMD; metadata is the YAML at the top of README.md.
"""

from __future__ import annotations

import re

from devbox import paths
from devbox.errors import UsageError
from devbox.text import clean

DOCKERFILE, README, PAGE = "Dockerfile", "README.md", ".devbox-space/serve.py"
#: base images of the names that `image` may have besides a Docker reference
_BASES = {"cpu": "python:3.12-bookworm", "gpu": "python:3.12-bookworm"}
_REFERENCE = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]{0,254}")
_SDK = re.compile(rb"\A(?:\xef\xbb\xbf)?---\r?\n(?:(?!---).*\r?\n)*?sdk:", re.MULTILINE)


def base(image: str) -> str:
    """The Docker reference behind the spec's `image`: a known name, or a reference itself."""
    if image in _BASES:
        return _BASES[image]
    if not _REFERENCE.fullmatch(image) or not re.search(r"[/:]", image):
        raise UsageError(
            f"{clean(image, 60)!r} is no image for Hugging Face",
            fix=f'use one of {", ".join(_BASES)}, or a reference such as "python:3.12-bookworm"',
        )
    return image


def complete(files: dict[str, bytes], title: str, image: str) -> dict[str, bytes]:
    """What a new Space needs on top of the project's root files: a Dockerfile unless there is one,
    and README metadata that names the Docker SDK. The project's own text stays below it."""
    made: dict[str, bytes] = {}
    if DOCKERFILE not in files:
        made[DOCKERFILE] = _data("Dockerfile").replace(b"@BASE@", base(image).encode())
        made[PAGE] = _data("serve.py")
    readme = files.get(README, b"")
    if not has_metadata(readme):
        made[README] = _data("README.md").replace(b"@TITLE@", title.encode()) + readme
    return made


def has_metadata(readme: bytes) -> bool:
    """Whether a README begins with YAML that names an SDK."""
    return bool(_SDK.match(readme))


def _data(name: str) -> bytes:
    return (paths.data("images") / "space" / name).read_bytes()
