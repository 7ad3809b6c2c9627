"""What a checkpoint and the files beside it are judged by. Pure but for reading those files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from devbox.publish.read import Checkpoint
from devbox.publish.variants import Chosen
from devbox.publish.weights import Weights
from devbox.spec import Publish
from devbox.text import clean

_MOST = 1 << 20
_SHOWN = 5
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_FRONT = re.compile(r"\A---\n(.*?)\n---(?:\n|\Z)", re.DOTALL)
#: how the text of a licence begins → its name, in lower case
_LICENCES = (
    (r"prosocial public license", "other (Prosocial Public License)"),
    (r"mit license|permission is hereby granted, free of charge", "mit"),
    (r"apache license\s+version 2", "apache-2.0"),
    (r"gnu affero general public license\s+version 3", "agpl-3.0"),
    (r"gnu lesser general public license\s+version 3", "lgpl-3.0"),
    (r"gnu general public license\s+version 3", "gpl-3.0"),
    (r"gnu general public license\s+version 2", "gpl-2.0"),
    (r"mozilla public license version 2", "mpl-2.0"),
    (r"bsd 3-clause|redistributions? .{0,400}neither the name", "bsd-3-clause"),
    (r"creative commons attribution-noncommercial 4", "cc-by-nc-4.0"),
    (r"creative commons attribution 4", "cc-by-4.0"),
)


class Check(NamedTuple):
    """state: passed, failed, warning or skipped. A failed one keeps it from being published."""

    name: str
    state: str
    message: str


def of_weights(
    found: Weights, checkpoint: Checkpoint, chosen: Chosen, slack: float
) -> Iterator[Check]:
    """Of what the file holds: count, adapters, and what is not published."""
    if found.kind != "adapters":
        low, high = chosen.window(slack)
        within = low <= found.parameters <= high
        yield Check(
            "parameters",
            "passed" if within else "failed",
            f"{found.parameters:,} parameters; {chosen.name} has {chosen.variant.parameters:,}, so "
            f"{low:,} to {high:,} pass (profile {chosen.profile})",
        )
    if found.adapters:
        ranks = ", ".join(map(str, found.ranks)) or "none"
        said = f"{found.adapters:,} parameters in {found.pairs} adapters of rank {ranks}"
        said += "".join(f"; {clean(fault, 200)}" for fault in found.faults[:_SHOWN])
        yield Check("adapters", "failed" if found.faults else "passed", said)
    for part in found.left:
        if "lora" in part.lower() and not found.adapters:
            told = f"{clean(part, 100)} is beside the weights and not published with them"
            yield Check("adapters left out", "warning", told)
    if found.ignored:
        yield Check("entries", "warning", f"no tensors, left out: {_listed(found.ignored)}")
    if checkpoint.foreign:
        told = f"objects of classes that were not loaded, left out: {_listed(checkpoint.foreign)}"
        yield Check("objects", "warning", told)


def of_card(path: Path, sections: tuple[str, ...]) -> Iterator[Check]:
    """Sections are headings of the second level, outside code. A TBD counts wherever it stands but
    in code."""
    text = _text(path)
    if text is None:
        yield Check("card", "failed", f"there is no card: {path}")
        return
    plain = _FENCED.sub(lambda block: "\n" * block[0].count("\n"), text)
    headings = [line[3:].strip().lower() for line in plain.splitlines() if line.startswith("## ")]
    lacking = [each for each in sections if not any(h.startswith(each.lower()) for h in headings)]
    if lacking:
        yield Check("card sections", "failed", f"{path.name} lacks: ## {', ## '.join(lacking)}")
    else:
        yield Check("card sections", "passed", f"{path.name} has all {len(sections)}")
    if left := len(re.findall(r"\bTBD\b", plain)):
        lines = [n for n, line in enumerate(plain.splitlines(), 1) if re.search(r"\bTBD\b", line)]
        where = ", ".join(map(str, lines[:_SHOWN]))
        told = f"{path.name} still says TBD {left} times, at line {where}"
        yield Check("card TBD", "failed", told)


def of_config(path: Path, chosen: Chosen) -> Iterator[Check]:
    """Against what the variant expects, by dotted key."""
    import yaml

    if not chosen.variant.config:
        return
    text = _text(path)
    if text is None:
        yield Check("config", "failed", f"there is no config: {path}")
        return
    try:
        held = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = clean(str(error).replace("\n", " "), 200)
        yield Check("config", "failed", f"{path.name} is no YAML: {said}")
        return
    wrong = []
    for key, wanted in chosen.variant.expect.items():
        value = _at(held, key)
        if value != wanted or isinstance(value, bool) != isinstance(wanted, bool):
            wrong.append(f"{key} is {clean(str(value), 60)}, not {wanted}")
    named = _at(held, "metadata.variant")
    if isinstance(named, str) and chosen.name not in named:
        wrong.append(f"metadata.variant is {clean(named, 60)!r}")
    told = "; ".join(wrong) or f"{path.name} is that of {chosen.name}"
    yield Check("config", "failed" if wrong else "passed", told)


def of_files(root: Path, table: Publish) -> Iterator[Check]:
    """What is to be copied is there."""
    wanted = (*table.files, table.licence, *table.source)
    lacking = [path for path in wanted if path and not (root / path).exists()]
    if lacking:
        yield Check("files", "failed", f"missing in {root}: {', '.join(lacking)}")
    else:
        yield Check("files", "passed", "every file to copy is there")


def of_licence(card: Path, licence: Path) -> Iterator[Check]:
    """The card's licence against the text of the file."""
    text, written = _text(card), _text(licence)
    if text is None or written is None:
        return
    front = _FRONT.match(text)
    stated = re.search(r"^license:\s*[\"']?([\w.+-]+)", front[1] if front else "", re.MULTILINE)
    actual = licence_of(written)
    if stated is None:
        told = f"{card.name} names no licence, and {licence.name} is {actual or 'not known'}"
        yield Check("licence", "warning", told)
    elif actual and stated[1].lower() != actual.partition(" ")[0]:
        told = f"{card.name} says {stated[1]}, and {licence.name} is {actual}: make them one"
        yield Check("licence", "warning", told)


def licence_of(text: str) -> str:
    """The name of a licence by the beginning of its text; '' when it is not known."""
    start = re.sub(r"\s+", " ", text[:3000].lower())
    return next((name for known, name in _LICENCES if re.search(known, start)), "")


def _at(held: object, key: str) -> object:
    for part in key.split("."):
        held = held.get(part) if isinstance(held, dict) else None
    return held


def _text(path: Path) -> str | None:
    """A text file's content, at most 1 MB of it; None when there is none."""
    try:
        with path.open("rb") as stream:
            return stream.read(_MOST).decode(errors="replace").replace("\r\n", "\n")
    except OSError:
        return None


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return clean(", ".join(names[:_SHOWN]), 400) + more
