"""A job's code over an input in rounds of one piece, as the worker of a box calls it."""

from __future__ import annotations

import json
import shutil
import types
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from devbox.box.job import Job
from devbox.box.kept import Kept
from devbox.box.pieces import Spread, name_of, pieces


def run(
    place: Path, work: Callable[[Job], object], spread: Spread, source: Path, **job: Any
) -> set[str]:
    """What the results of all rounds together are: paths in their output folders. job: what a Job
    takes; its one input is `source`."""
    (name,) = job["patterns"]
    found = pieces(source, job["patterns"][name], spread)
    names = place / "names.jsonl"
    place.mkdir(parents=True)
    names.write_text("".join(json.dumps(each) + "\n" for each in found))
    kept = Kept(place, 1, names)
    made: list[str] = []
    with closing(kept):
        for number, group in enumerate(found.values()):
            root = place / "in" / str(number) / source.name
            for path in group:
                target = root / name_of(path, source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
            part = Job(place / str(number), inputs={name: root}, kept=kept, **job)
            work(part)
            assert part.failed == []
            made += files(part.out)
    assert len(made) == len(set(made)), "no two rounds write the same file"
    return set(made)


def run_once_loaded(
    place: Path, code: types.ModuleType, spread: Spread, source: Path, whole: Job, **job: Any
) -> set[str]:
    """As `run`, with what `code.load` loads for all rounds loaded once, and the results named as
    those of `whole`, one run over the same input."""
    loaded: list[object] = []
    load = code.load

    def counted(*given: Any) -> Any:
        loaded.append(given[0])
        return load(*given)

    given = {"args": whole.args, "checkpoints": whole.checkpoints, **job}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "load", counted)
        made = run(place, code.run, spread, source, **given)
    assert made == files(whole.out)
    assert len(loaded) == 1
    return made


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
