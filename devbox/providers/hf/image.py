"""The files that make a repository a Space: Dockerfile, README metadata, the page it serves.

The Dockerfile is a template's of devbox.images. Metadata is the YAML at the top of README.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from devbox import paths
from devbox.errors import UsageError
from devbox.images import templates
from devbox.images.render import Rendered, render
from devbox.text import clean

#: the image with CUDA and torch that the Hub's guide on Jobs uses
TORCH = "pytorch/pytorch:2.6.0-cuda12.4-cudnn9-devel"
DOCKERFILE, README = "Dockerfile", "README.md"
#: other names of templates
_ALIASES = {"gpu": "cpu"}
_REFERENCE = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]{0,254}")
_SDK = re.compile(rb"\A(?:\xef\xbb\xbf)?---\r?\n(?:(?!---).*\r?\n)*?sdk:", re.MULTILINE)


def base(image: str) -> str:
    """The Docker reference behind the spec's `image`: a template's base, or a reference itself."""
    name = _ALIASES.get(image, image)
    if templates.known(name):
        return templates.get(name).base
    if not _REFERENCE.fullmatch(image) or not re.search(r"[/:]", image):
        known = ", ".join(each.name for each in templates.catalogue())
        raise UsageError(
            f"{clean(image, 60)!r} is no image for Hugging Face",
            fix=f'use one of {known}, or a reference such as "python:3.12-bookworm"',
        )
    return image


def dockerfile(image: str, args: Mapping[str, str] | None = None) -> Rendered:
    """The Space's Dockerfile and the files it copies: a template's, or what Dev Mode needs on top
    of a reference, whose own Python is kept. args: other defaults of its arguments."""
    reference = base(image)
    name = _ALIASES.get(image, image)
    if templates.known(name):
        return render(name, "space", args=args)
    return render("cpu", "space", base=reference, without=["python"], args=args)


def complete(
    files: dict[str, bytes], title: str, image: str, args: Mapping[str, str] | None = None
) -> dict[str, bytes]:
    """What a new Space needs on top of the project's root files: a Dockerfile unless there is one,
    and README metadata that names the Docker SDK. The project's own text stays below it."""
    made: dict[str, bytes] = {}
    if DOCKERFILE not in files:
        text, copied = dockerfile(image, args)
        made = {DOCKERFILE: text.encode(), **copied}
    own = files.get(README, b"")
    if not has_metadata(own):
        made[README] = readme(title, own)
    return made


def readme(title: str, own: bytes) -> bytes:
    """Metadata that names the Docker SDK, above the project's own text."""
    return _data("README.md").replace(b"@TITLE@", title.encode()) + own


def has_metadata(readme: bytes) -> bool:
    """Whether a README begins with YAML that names an SDK."""
    return bool(_SDK.match(readme))


def _data(name: str) -> bytes:
    return (paths.data("images") / "space" / name).read_bytes()
