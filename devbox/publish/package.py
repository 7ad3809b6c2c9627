"""A package: judged, then laid out in a folder that holds nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypedDict

from devbox.errors import CheckFailed, Conflict
from devbox.publish import checks, read, sources, weights, write
from devbox.publish.checks import Check
from devbox.publish.read import Checkpoint
from devbox.publish.tensors import Unreadable
from devbox.publish.variants import Chosen
from devbox.publish.weights import Weights
from devbox.spec import Publish
from devbox.text import clean, size

#: beside the package's files, never uploaded: what was judged, and that the folder is ours
REPORT = ".devbox-publish.json"


class File(TypedDict):
    """bytes: how many."""

    path: str
    bytes: int
    sha256: str


class Uploaded(TypedDict, total=False):
    """changed, only_there: paths. commit: the one that has the package."""

    repo: str
    page: str
    changed: list[str]
    only_there: list[str]
    commit: str
    tag: str
    dataset: dict[str, object]


class Report(TypedDict, total=False):
    """What was found and done, as far as it came; error and fix where it ended early."""

    checkpoint: str
    variant: str
    profile: str
    ok: bool
    weights: dict[str, object]
    checks: list[dict[str, str]]
    files: list[File]
    folder: str
    upload: Uploaded
    error: str
    fix: str


class Request(NamedTuple):
    """card: '' for the variant's own. root: the project's folder. skip: no check but that the file
    can be read and holds parameters."""

    checkpoint: Path
    chosen: Chosen
    table: Publish
    root: Path
    output: Path
    card: str = ""
    version: str = ""
    skip: bool = False


def make(request: Request, report: Report, narrate: Callable[[str], None]) -> None:
    """Judge the checkpoint and lay the package out at `output`, in one step at the end. Everything
    that is found goes into `report` as it is found. CheckFailed when a check failed, Conflict when
    `output` holds something that is not ours; then nothing was written."""
    report |= {"checkpoint": str(request.checkpoint), "variant": request.chosen.name}
    report |= {"profile": request.chosen.profile, "ok": False, "checks": []}
    _require_ours(request)
    try:
        with read.opened(request.checkpoint) as opened:
            _make(request, opened, report, narrate)
    except Unreadable as error:
        raise CheckFailed(
            f"{request.checkpoint} cannot be published: {clean(str(error), 400)}",
            means="it was read without being executed; nothing was written or uploaded",
            fix="publish a file of torch.save(model.state_dict(), …), or safetensors",
        ) from None
    report["ok"] = True


def _make(
    request: Request, opened: Checkpoint, report: Report, narrate: Callable[[str], None]
) -> None:
    found = weights.find(opened, (*weights.BUFFERS, *request.table.buffers))
    report["weights"] = _described(found, opened)
    judged = list(_judged(request, found, opened))
    report["checks"] = [each._asdict() for each in judged]
    for each in judged:
        narrate(f"{each.state}: {each.name}: {each.message}")
    failed = [each for each in judged if each.state == "failed"]
    if failed:
        raise CheckFailed(
            f"{request.checkpoint.name} is not ready to be published as {request.chosen.name}: "
            + "; ".join(each.message for each in failed),
            means="nothing was written or uploaded",
            fix=_fix(failed),
        )
    _lay_out(request, found, opened, report, narrate)


def files_of(folder: Path) -> dict[str, Path]:
    """Path in the repository → file."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != REPORT
    }


def _judged(request: Request, found: Weights, opened: Checkpoint) -> Iterator[Check]:
    table, chosen, root = request.table, request.chosen, request.root
    yield from checks.of_licence(_card(request, found), root / table.licence)
    if request.skip:
        yield Check("validation", "skipped", "count, card, config and files (--skip-validation)")
        return
    yield from checks.of_weights(found, opened, chosen, table.tolerance)
    yield from checks.of_card(_card(request, found), table.sections)
    yield from checks.of_config(root / chosen.variant.config, chosen)
    yield from checks.of_files(root, table)


def _fix(failed: list[Check]) -> str:
    if any(each.name == "parameters" for each in failed):
        return (
            "another --variant, or counts of your own in [publish.variants] of devbox.toml; "
            "--skip-validation publishes it as it is"
        )
    return "correct what is named, or publish it as it is with --skip-validation"


def _card(request: Request, found: Weights) -> Path:
    if request.card:
        return Path(request.card)
    name = request.chosen.variant.card
    if found.kind == "adapters":
        name = request.table.lora_card.replace("{variant}", request.chosen.name)
    return request.root / name


def _described(found: Weights, opened: Checkpoint) -> dict[str, object]:
    told = found._asdict()
    del told["tensors"]
    dtypes: dict[str, int] = {}
    for tensor in found.tensors.values():
        dtypes[tensor.dtype.name] = dtypes.get(tensor.dtype.name, 0) + tensor.elements
    return {
        **{key: _harmless(value) for key, value in told.items()},
        "form": opened.form,
        "file_bytes": opened.size,
        "tensors": len(found.tensors),
        "elements": found.parameters + found.buffers + found.adapters,
        "dtypes": dtypes,
        "foreign": _harmless(opened.foreign),
    }


def _harmless(value: object) -> object:
    """Names from the file as text that any terminal and JSON takes."""
    if isinstance(value, str):
        return clean(value, 300)
    if isinstance(value, tuple):
        return [_harmless(each) for each in value]
    if isinstance(value, dict):
        return {clean(str(key), 300): _harmless(each) for key, each in value.items()}
    return value


def _lay_out(
    request: Request,
    found: Weights,
    opened: Checkpoint,
    report: Report,
    narrate: Callable[[str], None],
) -> None:
    output = request.output
    output.parent.mkdir(parents=True, exist_ok=True)
    _require_room(output.parent, found)
    part = Path(tempfile.mkdtemp(prefix=f".{output.name}.devbox-part-", dir=output.parent))
    try:
        stem = "adapter_model" if found.kind == "adapters" else "pytorch_model"
        plain = "adapter_model" if found.kind == "adapters" else "model"
        write.torch_file(part / f"{stem}.bin", found.tensors, opened.file)
        write.safetensors(part / f"{plain}.safetensors", found.tensors, opened.file)
        if found.kind == "adapters":
            kept = {"rank": found.ranks[:1], "pairs": found.pairs, **found.lora_config}
            (part / "adapter.json").write_text(json.dumps(kept, indent=1) + "\n")
        _copy(request, found, part)
        report["files"] = [
            {"path": name, "bytes": path.stat().st_size, "sha256": _sha256(path)}
            for name, path in files_of(part).items()
        ]
        (part / REPORT).write_text(json.dumps({**report, "ok": True}, indent=1) + "\n")
        part.chmod(0o755)
        if output.exists():
            shutil.rmtree(output)
        os.replace(part, output)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    report["folder"] = str(output)
    total = sum(file["bytes"] for file in report["files"])
    narrate(f"{output}: {len(report['files'])} files, {size(total)}")


def _copy(request: Request, found: Weights, part: Path) -> None:
    root, table = request.root, request.table
    chosen = {
        "README.md": _card(request, found),
        "config.yaml": root / request.chosen.variant.config,
        "LICENSE": root / table.licence,
        **{Path(path).as_posix(): root / path for path in table.files},
        **{path.as_posix(): root / path for path in sources.collect(root, table.source)},
    }
    for name, source in chosen.items():
        if source.is_file():  # one that is missing was told by its check, or let pass by --skip
            target = part / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    if request.version:
        (part / "VERSION").write_text(request.version + "\n")


def _require_ours(request: Request) -> None:
    output = request.output
    inside = os.path.realpath(output)
    kept = (os.path.realpath(request.checkpoint), os.path.realpath(request.root))
    if any(path == inside or path.startswith(inside + os.sep) for path in kept):
        raise Conflict(
            f"{output} holds the checkpoint or the project, and the package replaces it",
            means="nothing was written",
            fix="name another folder with --output-dir",
        )
    if not output.exists() and not output.is_symlink():
        return
    empty = output.is_dir() and not any(output.iterdir())
    if not empty and (output.is_symlink() or not (output / REPORT).is_file()):
        raise Conflict(
            f"{output} exists, and devbox did not make it",
            means="nothing in it was touched",
            fix="move it away, or name another folder with --output-dir",
        )


def _require_room(folder: Path, found: Weights) -> None:
    needed = 2 * sum(tensor.size for tensor in found.tensors.values())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise Conflict(
            f"the package needs {size(needed)} at {folder}, and {size(free)} are free",
            means="nothing was written",
            fix="free some space, or name a folder on another disk with --output-dir",
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
