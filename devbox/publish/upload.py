"""A package to the Hub: repository, one commit of what differs, a tag; then a dataset.

Each step is tried three times when the Hub fails in passing. A run that was interrupted is finished
by the same command: what arrived is not sent again, and the tag comes last.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from devbox.errors import Conflict, DevboxError, NotFound, Unavailable
from devbox.providers.hf.model_repo import SETTINGS, ModelRepository
from devbox.publish.package import Report, Uploaded, files_of
from devbox.spec import ProviderSettings
from devbox.workspace import Workspace

T = TypeVar("T")
_WAITS = (5.0, 10.0)


class Where(NamedTuple):
    """token: a reference, '' for the Hub's own login. dataset: a file or folder, with the
    repository it goes to."""

    repo: str
    private: bool = False
    token: str = ""
    dataset: Path | None = None
    dataset_repo: str = ""


def upload(ws: Workspace, folder: Path, version: str, where: Where, report: Report) -> None:
    """Everything that was done goes into `report`. Conflict when the version's tag is at another
    content; errors of the Hub as they are, after what they mean."""
    if where.dataset and not where.dataset.exists():
        raise NotFound(f"there is no dataset {where.dataset}", means="nothing was uploaded")
    config = ws.spec.provider(SETTINGS)
    model = ModelRepository(config, where.repo, token=where.token)
    files, name = files_of(folder), version
    message = f"Upload {folder.name}" + (f" {version}" if version else "")
    told: Uploaded = {"repo": model.repo, "page": model.page, "changed": []}
    report["upload"] = told
    _again(ws, lambda: model.ensure(private=where.private))
    changed, others = _again(ws, lambda: model.changes(files))
    tagged = _again(ws, lambda: model.tagged(name)) if name else ""
    if tagged and (changed or _again(ws, model.head) != tagged):
        raise Conflict(
            f"{model.repo} has the version {version} already, with another content",
            means="nothing was uploaded; the tag stays where it is",
            fix="give this one a version of its own: --version",
        )
    if changed:
        ws.narrate(f"{model.repo}: uploading {len(changed)} of {len(files)} files")
        _again(ws, lambda: _commit(model, files, message))
    else:
        ws.narrate(f"{model.repo}: has every file as it is here; nothing to commit")
    told |= {"changed": changed, "only_there": others, "commit": _again(ws, model.head)}
    if name and not tagged:
        _again(ws, lambda: model.tag(name, told["commit"]))
    told |= {"tag": name}
    if where.dataset:
        _dataset(ws, where, config, model.repo, told)


def _commit(model: ModelRepository, files: dict[str, Path], message: str) -> None:
    """What differs at this moment: a commit whose answer was lost is not made twice."""
    changed, _ = model.changes(files)
    if changed:
        model.commit({path: files[path] for path in changed}, message)


def _dataset(
    ws: Workspace, where: Where, config: ProviderSettings, model: str, told: Uploaded
) -> None:
    assert where.dataset is not None
    path = where.dataset
    files = files_of(path) if path.is_dir() else {path.name: path}
    try:
        data = ModelRepository(config, where.dataset_repo, kind="dataset", token=where.token)
        _again(ws, lambda: data.ensure(private=where.private))
        changed, _ = _again(ws, lambda: data.changes(files))
        if changed:
            ws.narrate(f"{data.repo}: uploading {len(changed)} of {len(files)} files")
            _again(ws, lambda: _commit(data, files, "Upload dataset"))
        told["dataset"] = {"repo": data.repo, "page": data.page, "changed": changed}
    except DevboxError as error:
        told["dataset"] = {"repo": where.dataset_repo, "error": error.what}
        error.means = f"the model is uploaded to {model}; its dataset is not"
        error.fix = f"{error.fix}; then the same command again" if error.fix else "try again"
        raise


def _again(ws: Workspace, action: Callable[[], T]) -> T:
    for wait in _WAITS:
        try:
            return action()
        except Unavailable as error:
            ws.narrate(f"{error.what}; trying again")
            ws.sleep(wait)
    return action()
