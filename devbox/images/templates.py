"""The image templates: what each is made of, from images/<name>/image.toml."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec

from devbox import paths
from devbox.errors import NotFound
from devbox.text import clean, did_you_mean

FILE = "image.toml"
#: what a box gets that names no image: without a GPU, and with one
PLAIN, CUDA = "cpu", "cuda12.6-runtime"


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """name: with its variant, `cuda12.1-runtime`. folder: where its files lie under images/.

    base: Docker reference. variants: suffix → base. python: version of the virtual environment.
    cuda, torch, torch_index: wheels and their index; empty without torch. video, egl, compiler:
    shared layers. extra: more Debian packages. sources: it has a sources.j2, which installs code
    by git commit. systems: what compat.py has rules for.
    """

    summary: str
    base: str
    python: str
    name: str = ""
    folder: str = ""
    variants: dict[str, str] = {}
    cuda: str = ""
    torch: tuple[str, ...] = ()
    torch_index: str = ""
    video: bool = False
    egl: bool = False
    compiler: bool = False
    extra: tuple[str, ...] = ()
    sources: bool = False
    systems: tuple[str, ...] = ()


def catalogue() -> list[Template]:
    """All templates, variants after their own, by name."""
    return list(_all().values())


def get(name: str) -> Template:
    """One template. NotFound suggests the nearest name."""
    known = _all()
    if name in known:
        return known[name]
    raise NotFound(
        f"no image template {clean(name, 60)!r} ({', '.join(known)})",
        fix=f"{did_you_mean(name, known)}list them with: devbox image ls",
    )


def known(name: str) -> bool:
    return name in _all()


def requirements(template: Template) -> bytes:
    """The pinned packages it installs besides torch, in pip's format."""
    return (root() / template.folder / "requirements.txt").read_bytes()


def root() -> Path:
    return paths.data("images")


@functools.cache
def _all() -> dict[str, Template]:
    found: dict[str, Template] = {}
    for file in sorted(root().glob(f"*/{FILE}")):
        folder = file.parent.name
        made = msgspec.toml.decode(file.read_bytes(), type=Template)
        found[folder] = msgspec.structs.replace(made, name=folder, folder=folder)
        for suffix, base in made.variants.items():
            name = f"{folder}-{suffix}"
            found[name] = msgspec.structs.replace(
                made, name=name, folder=folder, base=base, variants={}
            )
    return found
