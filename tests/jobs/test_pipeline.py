"""The pipeline: reading and writing beside the work, and every promise of an item kept."""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devbox.box import pipeline
from devbox.box.items import read_items
from devbox.box.job import Job, Skip
from tests.jobs.conftest import BoxHalf

NAMES = list("abcdefgh")


def states(folder: Path) -> dict[str, str]:
    return {
        name: str(record["state"]) for name, record in read_items(folder / "items.jsonl").items()
    }


def run(job: Job, **parts: Callable[..., Any]) -> list[str]:
    """The names in the order they were saved."""
    saved: list[str] = []

    def save(name: str, result: str) -> None:
        job.write(f"{name}.txt", result)
        saved.append(name)

    whole: dict[str, Any] = {"load": str.upper, "work": lambda _, loaded: loaded * 2, "save": save}
    pipeline.run(job, NAMES, **{**whole, **parts})
    return saved


def test_results_come_in_order_and_belong_to_their_items(tmp_path: Path) -> None:
    job = Job(tmp_path)
    assert run(job) == NAMES
    assert {path.stem: path.read_text() for path in job.out.iterdir()} == {
        name: name.upper() * 2 for name in NAMES
    }
    assert set(states(tmp_path).values()) == {"done"}


@pytest.mark.parametrize("part", ["load", "work", "save"])
def test_an_error_in_any_part_fails_its_item_only(tmp_path: Path, part: str) -> None:
    job = Job(tmp_path)
    whole: dict[str, Callable[..., Any]] = {
        "load": str.upper,
        "work": lambda _, loaded: loaded,
        "save": job.write,
    }

    def broken(name: str, *rest: str) -> Any:
        if name in "ceh":
            raise Skip("empty") if name == "e" else OSError(errno.ENOSPC, "disk full")
        return whole[part](name, *rest)

    run(job, **{**whole, part: broken})
    assert job.failed == ["c", "h"]
    assert [states(tmp_path)[name] for name in "cehab"] == [
        *("failed", "skipped", "failed", "done", "done")
    ]
    assert sorted(path.name for path in job.out.iterdir()) == ["a", "b", "d", "f", "g"]
    run(Job(tmp_path, attempt=2))
    assert set(states(tmp_path).values()) == {"done", "skipped"}


def test_the_parts_run_beside_each_other_and_never_too_far_ahead(tmp_path: Path) -> None:
    """While an item is worked on, the next are loaded and the one before is saved, or it hangs."""
    events: list[str] = []
    more = threading.Condition()

    def happened(event: str) -> None:
        with more:
            events.append(event)
            more.notify_all()

    def await_(event: str) -> None:
        with more:
            assert more.wait_for(lambda: event in events, 20), (event, events)

    def load(name: str) -> str:
        happened(f"load {name}")
        return name

    def work(name: str, loaded: str) -> str:
        if name == "d":
            await_("load f")
            await_("save c begins")
            assert "load g" not in events
        happened(f"work {name}")
        return loaded

    def save(name: str, result: str) -> None:
        happened(f"save {name} begins")
        if name == "c":
            await_("work e")
            assert "work g" not in events

    run(Job(tmp_path), load=load, work=work, save=save)
    assert [event for event in events if event.startswith("save")] == [
        f"save {name} begins" for name in NAMES
    ]


def test_an_item_is_done_only_after_its_outputs_are_written(tmp_path: Path) -> None:
    seen: dict[str, str] = {}
    run(Job(tmp_path), save=lambda name, _: seen.update({name: states(tmp_path)[name]}))
    assert set(seen.values()) == {"started"}
    assert set(states(tmp_path).values()) == {"done"}


def test_a_cancel_ends_it_and_what_was_not_saved_is_left_for_later(tmp_path: Path) -> None:
    job = Job(tmp_path)

    def work(name: str, loaded: str) -> str:
        if name == "c":
            job.cancel()
        return loaded

    saved = run(job, work=work)
    assert "d" not in saved
    assert job.failed == []
    again = run(Job(tmp_path, attempt=2))
    assert set(again) >= set("cdefgh")
    assert set(states(tmp_path).values()) == {"done"}


def test_what_is_no_fault_of_an_item_ends_the_run_without_a_thread_left(tmp_path: Path) -> None:
    before = threading.active_count()

    def work(name: str, loaded: str) -> str:
        if name == "c":
            raise KeyboardInterrupt
        return loaded

    with pytest.raises(KeyboardInterrupt):
        run(Job(tmp_path), work=work)
    assert threading.active_count() == before
    assert {name for name, state in states(tmp_path).items() if state == "done"} == {"a", "b"}


CRASH = """
import os, signal
from devbox.box import pipeline
def work(name, loaded):
    if name == "c":
        os.kill(os.getpid(), signal.SIGKILL)
    return loaded
def run(job):
    pipeline.run(job, list("abcdefgh"), load=str.upper, work=work,
                 save=lambda name, result: job.write(name, result))
"""


def test_a_crash_costs_the_item_that_did_it_and_not_those_beside_it(one_box: BoxHalf) -> None:
    one_box.start(module=one_box.module(CRASH))
    status = one_box.end()
    assert (status["state"], status["reason"]) == ("failed", "items")
    assert status["counts"] == {"total": 8, "done": 7, "failed": 1, "skipped": 0}
    assert status["failures"] == [{"item": "c", "error": "crashed the worker (SIGKILL)"}]
    assert sorted(path.name for path in one_box.out(".").iterdir()) == list("abdefgh")


def test_a_suspect_runs_with_nothing_beside_it(tmp_path: Path) -> None:
    for name in "bc":
        record = {"item": name, "state": "suspect", "attempt": 1}
        with (tmp_path / "items.jsonl").open("a") as stream:
            stream.write(json.dumps(record) + "\n")
    beside: dict[str, list[str]] = {}

    def work(name: str, loaded: str) -> str:
        beside[name] = [n for n, s in states(tmp_path).items() if s == "started" and n != name]
        return loaded

    run(Job(tmp_path), work=work)
    assert (beside["b"], beside["c"]) == ([], [])
    assert beside["e"] != []
