"""From a template to a Dockerfile and the files it copies. Pure but for reading the templates.

One source serves three targets: `docker`, a box with sshd of its own; `space`, a Space, whose Dev
Mode brings the ssh server; `modal`, where the provider starts sshd as root.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from devbox.errors import UsageError
from devbox.images import templates
from devbox.remote import agent_bootstrap

if TYPE_CHECKING:
    from jinja2 import Environment

Target = Literal["docker", "space", "modal"]
Layer = Literal["python", "torch", "requirements", "sources", "box", "code"]
LAYERS: tuple[str, ...] = get_args(Layer)

#: where the copied files lie in the build context
FOLDER = ".devbox-image"
#: the installer of Python and its packages, itself from the package index
UV = "0.13.9"


class Rendered(NamedTuple):
    """dockerfile: its text. files: path in the build context → content."""

    dockerfile: str
    files: dict[str, bytes]


def render(
    name: str,
    target: Target = "docker",
    *,
    without: Iterable[str] = (),
    base: str = "",
    args: Mapping[str, str] | None = None,
) -> Rendered:
    """The Dockerfile of a template. without: layers to leave out (LAYERS); what a left-out layer
    would copy is left out of the files. base, args: other defaults of the arguments BASE and any,
    for a builder that takes no build arguments; those it has no ARG for are left out.

    NotFound for an unknown template, UsageError for an unknown layer.
    """
    template = templates.get(name)
    left_out = frozenset(without)
    if unknown := left_out.difference(LAYERS):
        raise UsageError(
            f"no layer {', '.join(sorted(unknown))!r}", fix=f"the layers: {', '.join(LAYERS)}"
        )
    files: dict[str, bytes] = {}
    if "python" in left_out:
        left_out |= {"torch", "requirements", "sources"}
    if "requirements" not in left_out:
        files[f"{FOLDER}/requirements.txt"] = templates.requirements(template)
    box = ""
    # Not for a Space: its repository would carry the file, and the first login brings it anyway.
    if target != "space" and "box" not in left_out:
        made = agent_bootstrap.build()
        box = made.name
        files[f"{FOLDER}/{box}"] = made.read_bytes()
    if target == "docker":
        files[f"{FOLDER}/boot"] = _file("boot")
    if target == "space":
        files[f"{FOLDER}/serve.py"] = _file("serve.py")
        files[f"{FOLDER}/supervise.py"] = _file("supervise.py")
    if target == "modal":
        left_out |= {"code"}
    values = {
        **{field: getattr(template, field) for field in _FIELDS},
        **({"base": base} if base else {}),
        "template": template.folder,
        "name": template.name,
        "target": target,
        "without": left_out,
        "user": target != "modal",
        "home": "/root" if target == "modal" else "/home/user",
        "box": box,
        "uv": UV,
    }
    text = _environment().get_template("Dockerfile.j2").render(values)
    return Rendered(_with_args(_tidy(text), args or {}), files)


def write(rendered: Rendered, folder: Path) -> None:
    """The Dockerfile and its files into a folder, for plain `docker build` or a client that reads
    files; what is there already and equal stays untouched."""
    for path, content in {**rendered.files, "Dockerfile": rendered.dockerfile.encode()}.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.is_file() or file.read_bytes() != content:
            file.write_bytes(content)


_FIELDS = (
    *("base", "python", "cuda", "torch", "torch_index"),
    *("video", "egl", "compiler", "extra", "sources"),
)


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # A Dockerfile is no HTML, and the values are our own.
    return Environment(  # noqa: S701
        loader=FileSystemLoader(templates.root()),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _file(name: str) -> bytes:
    return (templates.root() / "files" / name).read_bytes()


def _with_args(text: str, args: Mapping[str, str]) -> str:
    """Other defaults of its ARG instructions; a value is taken as it is."""

    def line(match: re.Match[str]) -> str:
        value = args.get(match.group(1))
        if value is None:
            return match.group(0)
        quoted = re.sub(r'(["\\$])', r"\\\1", value.replace("\n", " "))
        return f'ARG {match.group(1)}="{quoted}"'

    return re.sub(r"^ARG (\w+)=.*$", line, text, flags=re.MULTILINE)


def _tidy(text: str) -> str:
    """No more than one empty line in a row, none at the end."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.strip() or (lines and lines[-1]):
            lines.append(line.rstrip())
    return "\n".join(lines).strip() + "\n"
