"""The job API without a box: items, outputs in one step, progress."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from devbox.box.items import read_items
from devbox.box.job import Job, Skip
from tests.core.hostile import ALL


def work(job: Job, names: list[str], bad: set[str]) -> list[str]:
    seen = []
    for name in job.items(names):
        seen.append(name)
        with job.item(name):
            if name in bad:
                raise OSError("broken")
    return seen


def test_a_further_attempt_gets_only_what_is_not_done(tmp_path: Path) -> None:
    assert work(Job(tmp_path), ["a", "b", "c"], {"b"}) == ["a", "b", "c"]
    assert work(Job(tmp_path, attempt=2), ["a", "b", "c", "d"], set()) == ["b", "d"]


def test_a_new_worker_of_the_same_attempt_leaves_out_what_failed(tmp_path: Path) -> None:
    work(Job(tmp_path), ["a", "b"], {"a"})
    assert work(Job(tmp_path), ["a", "b", "c"], set()) == ["c"]


def test_a_line_that_a_crash_tore_costs_one_item_at_most(tmp_path: Path) -> None:
    work(Job(tmp_path), ["a"], set())
    with (tmp_path / "items.jsonl").open("a") as stream:
        stream.write('{"item":"b","sta')
    job = Job(tmp_path, attempt=2)
    assert work(job, ["a", "b"], set()) == ["b"]
    assert read_items(tmp_path / "items.jsonl")["b"]["state"] == "done"


def test_skipped_items_do_not_come_again(tmp_path: Path) -> None:
    job = Job(tmp_path)
    with job.item("a"):
        raise Skip("nothing in it")
    assert list(Job(tmp_path, attempt=2).items(["a"])) == []


def test_an_item_that_was_cancelled_half_way_is_not_done(tmp_path: Path) -> None:
    job = Job(tmp_path)
    for name in job.items(["a", "b"]):
        with job.item(name):
            job.cancel()
    assert list(Job(tmp_path, attempt=2).items(["a", "b"])) == ["a", "b"]
    failing = Job(tmp_path, attempt=2)
    with failing.item("a"):
        failing.cancel()
        raise BrokenPipeError("ffmpeg was told to end too")
    assert failing.failed == []


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "..", "../x", "a/../../x", "a\0b", "/", "sub/../../x", "."]
)
def test_outputs_stay_inside(tmp_path: Path, path: str) -> None:
    job = Job(tmp_path / "run")
    with pytest.raises(ValueError, match="must be a relative path"):
        job.write(path, b"x")
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")] == ["run", "run/out"]


def test_an_output_does_not_leave_through_a_link(tmp_path: Path) -> None:
    job = Job(tmp_path / "run")
    (job.out / "door").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="through a link"):
        job.write("door/x", b"x")
    assert not (tmp_path / "x").exists()


def test_an_output_is_whole_or_not_there(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.write("x.txt", "old")

    def fail() -> None:
        with job.output("x.txt") as part:
            assert part.suffix == ".txt"
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert os.listdir(job.out) == ["x.txt"]
    assert (job.out / "x.txt").read_text() == "old"


def test_output_names_up_to_the_limit_of_the_file_system_work(tmp_path: Path) -> None:
    name = "名" * 80 + ".jsonl"
    assert Job(tmp_path).write(name, b"x").name == name


def test_files_of_a_folder_are_those_that_match(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for path in ("b.JPG", "a/c.png", ".hidden/d.png", ".e.png", "notes.txt"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    patterns = {"images": ("*.jpg", "*.png")}
    job = Job(tmp_path / "run", inputs={"images": folder}, patterns=patterns)
    assert [str(path.relative_to(folder)) for path in job.files("images")] == ["a/c.png", "b.JPG"]
    one = Job(tmp_path / "run", inputs={"images": folder / "notes.txt"}, patterns=patterns)
    assert one.files("images") == [folder / "notes.txt"]


def test_hostile_item_names_are_only_names(tmp_path: Path) -> None:
    names = list(dict.fromkeys(ALL))
    assert work(Job(tmp_path), names, set()) == names
    assert list(Job(tmp_path, attempt=2).items(names)) == []


def test_progress_is_reported_seldom_but_always_at_the_end(tmp_path: Path) -> None:
    job = Job(tmp_path)
    for done in range(1, 10_001):
        job.progress(done, 10_000, "frames")
    lines = (tmp_path / "reported.jsonl").read_text().splitlines()
    assert len(lines) < 200
    assert json.loads(lines[-1])["progress"] == [10_000, 10_000]


def test_scratch_is_kept_for_a_retry_and_is_no_result(tmp_path: Path) -> None:
    first = Job(tmp_path)
    (first.scratch / "state").write_text("half way")
    again = Job(tmp_path, attempt=2)
    assert (again.scratch / "state").read_text() == "half way"
    assert again.out not in again.scratch.parents
