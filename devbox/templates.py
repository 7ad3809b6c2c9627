"""Project templates: data folders with a devbox.toml and files, copied by `devbox init`. One of
each provider is named as the provider is; a new box is composed from it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import msgspec

import devbox
from devbox import names, paths, spec
from devbox.errors import Conflict, NotFound
from devbox.files import write_atomic
from devbox.spec import compose
from devbox.text import clean, did_you_mean

_META = "template.toml"
BASIC = "basic"
_BOX = "dev"  # the box of a template


class NewBox(NamedTuple):
    """What a new box is asked to be; '' for what its provider chooses. gpu: its name at any
    provider. host: of a provider whose boxes are machines of the user's."""

    provider: str
    gpu: str = ""
    hardware: str = ""
    image: str = ""
    host: str = ""


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
        modules = told.get("modules")
        names = tuple(map(str, modules)) if isinstance(modules, list) else ()
        found.append(Template(folder.name, str(told["summary"]), folder, names))
    return found


def get(name: str) -> Template:
    """NotFound lists what there is."""
    known = {template.name: template for template in catalogue()}
    if name not in known:
        raise NotFound(
            f"there is no template {clean(name, 40)!r}",
            fix=f"{did_you_mean(name, known)}use one of: {', '.join(known)}",
        )
    return known[name]


def document(new: NewBox, folder: Path, name: str = "") -> str:
    """The commented devbox.toml of a folder whose one box is `new`, named after the folder unless
    another name is given. SpecError and UsageError for what such a box cannot be."""
    name = names.name(name) if name else spec.project_name(folder)
    return _checked(_named(_filled(new), name), folder / spec.FILE_NAME)


def with_box(text: str, new: NewBox, name: str, file: Path) -> str:
    """A devbox.toml's text with one more box under it. Conflict when it has one of that name;
    SpecError and UsageError as in `document`. file: where the text is from."""
    names.name(name)
    if name in spec.parse(text, file).boxes:
        raise Conflict(
            f"{file} has a box {name} already",
            means="it was not changed",
            fix=f"choose another name, or bring that one up: devbox up {name}",
        )
    tables = compose.renamed(compose.box_tables(_filled(new), _BOX), _BOX, name)
    return _checked(f"{text.rstrip()}\n\n{tables}".lstrip(), file)


def create(new: NewBox, folder: Path, name: str = "") -> Path:
    """Write `document` into a folder that has no devbox.toml, and trust it. The file."""
    file = folder / spec.FILE_NAME
    require_free(file)
    write_atomic(file, document(new, folder, name), mode=0o644)
    spec.trust_file(file)
    return file


def add(new: NewBox, name: str, file: Path) -> None:
    """Write `with_box` into a devbox.toml. A file that asked for no trust, or had it, has it
    afterwards; one that lacked it still does."""
    text = file.read_text(encoding="utf-8")
    was_trusted = not spec.load(file).withheld
    write_atomic(file, with_box(text, new, name, file), mode=0o644)
    if was_trusted:
        spec.trust_file(file)


def require_free(target: Path) -> None:
    """Conflict when it exists."""
    if target.exists() or target.is_symlink():
        raise Conflict(
            f"{target} exists already",
            means="nothing was written",
            fix="move it away, or run devbox init in another folder",
        )


def write(template: Template, folder: Path) -> list[Path]:
    """Copy the template into `folder`; nothing that exists is overwritten. Its devbox.toml is
    trusted. The new files."""
    targets = {source: folder / path for path, source in template.files.items()}
    for target in targets.values():
        require_free(target)
    for source, target in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.name == spec.FILE_NAME:
            text = _named(source.read_text(), spec.project_name(folder))
            write_atomic(target, text, mode=0o644)
            spec.trust_file(target)
        else:
            shutil.copyfile(source, target)
    return list(targets.values())


def _filled(new: NewBox) -> str:
    """The text of the provider's own template, with what is asked for in its box."""
    known = {template.name: template for template in catalogue()}
    source = known.get(new.provider, known[BASIC]).folder / spec.FILE_NAME
    asked = {key: value for key, value in new._asdict().items() if value}
    if new.gpu or new.hardware:  # one of them: the other of the template does not count
        asked = {"gpu": None, "hardware": None} | asked
    return compose.with_values(source.read_text(encoding="utf-8"), f"boxes.{_BOX}", asked)


def _checked(text: str, file: Path) -> str:
    found = spec.parse(text, file)
    for box in found.boxes.values():
        spec.settings_type(box.provider)
    return text


def _files(folder: Path, pattern: str = "*") -> list[Path]:
    return sorted(path for path in folder.rglob(pattern) if path.is_file())


def _named(text: str, name: str) -> str:
    """A template's devbox.toml for a folder: {project} and its box `dev` get the folder's name,
    so that the boxes of two projects have two names."""
    return compose.renamed(text.replace("{project}", name), _BOX, name)
