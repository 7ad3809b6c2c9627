"""What a box has made for a batch is deleted there once it is here and on record, not before."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

from devbox.remote.agent_bootstrap import FOLDER
from devbox.remote.exec import Exec
from devbox.scale.merge import flush
from devbox.workspace import Workspace
from tests.jobs.conftest import until
from tests.scale.conftest import Shop


def on_boxes(workshop: Shop) -> list[str]:
    """Files of rounds on all boxes."""
    ws = Workspace.open(workshop.root)
    boxes = ws.store.boxes.all()
    ws.store.close()
    look = f"find {FOLDER}/runs/*/rounds -type f"
    return [line for box in boxes for line in Exec(box).run(["sh", "-c", look]).out.splitlines()]


def has_made(workshop: Shop, count: int) -> bool:
    return workshop.made >= count


def test_nothing_of_a_batch_that_is_fetched_stays_on_its_boxes(workshop: Shop) -> None:
    workshop.texts(20, 3)
    done = workshop.devbox("run", "copy", "--workers", "2", "--", "--texts", "texts")
    assert done.returncode == 11, done.stderr
    assert len(list(workshop.results.glob("*.out"))) == 19
    assert on_boxes(workshop) == []
    retried = workshop.devbox("retry", workshop.batch()["id"])
    assert retried.returncode == 11, retried.stderr
    assert "t0003.txt: ValueError: this one is bad" in retried.stderr
    assert on_boxes(workshop) == []


def test_what_was_not_on_record_is_there_for_the_one_who_continues(workshop: Shop) -> None:
    """Killed wherever it is, four times: between the results and their record too."""
    workshop.texts(40)
    words = ["run", "copy", "--workers", "2", "--", "--texts", "texts", "--seconds", "0.1"]
    for made in (1, 8, 16, 24):
        with workshop.start(*words) as running:
            until(partial(has_made, workshop, made))
            running.send_signal(signal.SIGKILL)
        words = ["attach"]
    assert workshop.devbox("attach").returncode == 0
    workshop.require_all(40)
    assert on_boxes(workshop) == []
    assert workshop.worked == 40, "no round was done twice"


def test_files_that_cannot_be_synced_are_no_fault(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "file").write_text("x")
    flush(tmp_path)
    flush(tmp_path / "none")
