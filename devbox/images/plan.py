"""What to build: a Dockerfile, its context and arguments, and a tag from all of that. The same
inputs give the same tag, so an unchanged build is one look at the engine."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from devbox import names
from devbox.errors import NotFound
from devbox.images import context, ignored_imports, render, templates
from devbox.text import clean

#: labels of every image made here
LABEL, PROJECT = "devbox.image", "devbox.project"
_FORMAT = "1"  # of the hash


class Plan(NamedTuple):
    """image: the template's name, or of the Dockerfile's folder. reference: repository:hash.
    warnings: what the user should know before it is built."""

    image: str
    dockerfile: str
    context: context.Context
    args: dict[str, str]
    labels: dict[str, str]
    reference: str
    warnings: tuple[str, ...] = ()


def plan(
    image: str,
    root: Path | None,
    *,
    project: str = "",
    args: Mapping[str, str] | None = None,
    without: Iterable[str] = (),
    most: int = context.MOST,
) -> Plan:
    """For a template's name, or for a Dockerfile by path (absolute, or relative to `root`).

    root: the project folder, whose files the image gets; None for none. args: build arguments,
    such as BASE. NotFound for neither; UsageError from the context's checks.
    """
    chosen = {names.env_name(key): value for key, value in (args or {}).items()}
    left_out = frozenset(without)
    file = None if templates.known(image) else dockerfile(image, root)
    if file is None:
        made = render.render(image, "docker", without=left_out)
        text, extra, label = made.dockerfile, made.files, image
        if "code" in left_out:
            root = None
    else:
        text, extra = file.read_text(encoding="utf-8"), {}
        root, label = root or file.parent, _label(file)
    sent = context.collect(root, extra, most=most)
    warnings: tuple[str, ...] = ()
    if root is not None:
        warnings = tuple(map(str, ignored_imports.swallowed(sent, context.rules_of(root))))
    key = json.dumps([_FORMAT, text, sorted(chosen.items()), sent.digest])
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:16]
    repository = "/".join(["devbox", *filter(None, [_part(project)]), _part(label)])
    labels = {LABEL: label, PROJECT: project}
    return Plan(label, text, sent, chosen, labels, f"{repository}:{digest}", warnings)


def dockerfile(image: str, root: Path | None) -> Path:
    """A Dockerfile given by path, or by its folder. NotFound suggests templates for a bare name."""
    if "/" not in image and "Dockerfile" not in image:
        templates.get(image)
    file = Path(root or ".", image)
    file = file / "Dockerfile" if file.is_dir() else file
    if not file.is_file():
        raise NotFound(
            f"no Dockerfile {clean(str(file), 200)}, and no template of that name",
            fix="list the templates with: devbox image ls",
        )
    return file


def _label(file: Path) -> str:
    kind = file.name.removeprefix("Dockerfile").strip(".") or file.absolute().parent.name
    return _part(kind) or "image"


def _part(text: str) -> str:
    """A part of a repository's name: lower case, digits, single separators."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:60]
