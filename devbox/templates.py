"""Project templates: data folders with a devbox.toml and files, copied by `devbox init`."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

import devbox
from devbox import paths, spec
from devbox.errors import Conflict, NotFound
from devbox.files import write_atomic
from devbox.text import clean

_META = "template.toml"


class Template(msgspec.Struct, frozen=True):
    """A template and its one-line summary. modules: packages of devbox that are copied with it."""

    name: str
    summary: str
    folder: Path
    modules: tuple[str, ...] = ()

    @property
    def files(self) -> dict[Path, Path]:
        """Path inside the project → where it is copied from."""
        found = {p.relative_to(self.folder): p for p in _files(self.folder) if p.name != _META}
        package = Path(devbox.__file__).parent
        for module in self.modules:
            found |= {p.relative_to(package): p for p in _files(package / module, "*.py")}
        return found


def catalogue() -> list[Template]:
    """All templates, by name."""
    folders = sorted(path for path in paths.data("templates").iterdir() if (path / _META).is_file())
    found = []
    for folder in folders:
        told = spec.read_toml(folder / _META)
        modules = tuple(told.get("modules", ()))
        found.append(Template(folder.name, str(told["summary"]), folder, modules))
    return found


def get(name: str) -> Template:
    """NotFound lists what there is."""
    known = {template.name: template for template in catalogue()}
    if name not in known:
        raise NotFound(
            f"there is no template {clean(name, 40)!r}", fix=f"use one of: {', '.join(known)}"
        )
    return known[name]


def write(template: Template, folder: Path) -> list[Path]:
    """Copy the template into `folder`; nothing that exists is overwritten. Its devbox.toml is
    trusted. The new files."""
    targets = {source: folder / path for path, source in template.files.items()}
    there = [target for target in targets.values() if target.exists()]
    if there:
        raise Conflict(
            f"{there[0]} exists already",
            means="nothing was written",
            fix="move it away, or run devbox init in another folder",
        )
    for source, target in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.name == spec.FILE_NAME:
            text = _named(source.read_text(), spec.project_name(folder))
            write_atomic(target, text, mode=0o644)
            spec.trust_file(target)
        else:
            shutil.copyfile(source, target)
    return list(targets.values())


def _files(folder: Path, pattern: str = "*") -> list[Path]:
    return sorted(path for path in folder.rglob(pattern) if path.is_file())


def _named(text: str, name: str) -> str:
    """A template's devbox.toml for a folder: {project} and its box `dev` get the folder's name,
    so that the boxes of two projects have two names."""
    text = text.replace("{project}", name)
    return text.replace("[boxes.dev", f"[boxes.{name}").replace("up dev`", f"up {name}`")
