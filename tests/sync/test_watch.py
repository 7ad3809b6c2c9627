"""Saves reach the box at once; deletions only when asked; a lost connection is caught up with."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from devbox import paths
from devbox.remote.config import ssh_config
from devbox.sync.watch import Event, watch
from tests.sync.conftest import Pair, files, write

DEADLINE = 120.0


class Watcher:
    """A watch in a thread, and what it said."""

    def __init__(self, pair: Pair, *, delete: bool = False) -> None:
        self.events: list[Event] = []
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._pair, self._delete = pair, delete
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            watch(
                self._pair.ws, self._pair.box, self.events.append,
                delete=self._delete, stopped=self._stop.is_set,
            )  # fmt: skip
        except BaseException as error:
            self.error = error

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def until(self, true: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE
        while not true():
            assert self.error is None, self.error
            assert time.monotonic() < deadline, f"{what}; saw {self.events}"
            time.sleep(0.01)

    def stop(self) -> None:
        self._stop.set()
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive()


Start = Callable[..., Watcher]


@pytest.fixture
def start(pair: Pair) -> Iterator[Start]:
    made: list[Watcher] = []

    def begin(**options: bool) -> Watcher:
        watcher = Watcher(pair, **options)
        made.append(watcher)
        watcher.until(lambda: "ready" in watcher.kinds(), "never ready")
        return watcher

    yield begin
    for watcher in made:
        watcher.stop()


def _content(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def _is(path: Path, content: str) -> bool:
    return _content(path) == content


def test_saves_new_folders_and_moves_arrive(pair: Pair, start: Start) -> None:
    write(pair.here / "a.py", "1", age=30)
    watcher = start()
    assert files(pair.there) == {"a.py": "1"}
    (pair.here / "a.py").write_text("2")
    watcher.until(lambda: _content(pair.there / "a.py") == "2", "the save did not arrive")
    write(pair.here / "deep/er/b.py", "b")
    watcher.until(lambda: _content(pair.there / "deep/er/b.py") == "b", "the folder did not")
    # As editors save: a new file moved over the old one.
    write(pair.here / ".a.py.tmp", "3")
    os.replace(pair.here / ".a.py.tmp", pair.here / "a.py")
    watcher.until(lambda: _content(pair.there / "a.py") == "3", "the moved file did not")


def test_two_saves_of_one_size_in_one_second_both_arrive(pair: Pair, start: Start) -> None:
    file = write(pair.here / "a.py", "0")
    watcher = start()
    for number in range(1, 6):
        file.write_text(str(number))
        os.utime(file, (1_700_000_000, 1_700_000_000))
        watcher.until(partial(_is, pair.there / "a.py", str(number)), str(number))


def test_what_is_left_out_is_not_sent(pair: Pair, start: Start) -> None:
    write(pair.here / ".gitignore", "*.log\n")
    watcher = start()
    write(pair.here / "x.log", "x")
    write(pair.here / "__pycache__/x.pyc", "x")
    write(pair.here / ".env", "x")
    write(pair.here / "last.py", "x")
    watcher.until((pair.there / "last.py").exists, "last.py did not arrive")
    write(pair.here / ".gitignore", "*.txt\n")
    watcher.until((pair.there / "x.log").exists, "the new rules were not read")
    assert set(files(pair.there)) == {".gitignore", "last.py", "x.log"}


@pytest.mark.parametrize("delete", [False, True])
def test_deletions_travel_only_when_asked(pair: Pair, start: Start, delete: bool) -> None:
    write(pair.here / "gone/a.py", "a")
    write(pair.here / "stays.py", "s")
    watcher = start(delete=delete)
    write(pair.there / "gone/output.csv", "made on the box")
    (pair.here / "gone/a.py").unlink()
    kind = "deleted" if delete else "kept"
    watcher.until(lambda: kind in watcher.kinds(), f"no {kind} event")
    assert (pair.there / "gone/a.py").exists() is not delete
    assert (pair.there / "gone/output.csv").exists()
    assert (pair.there / "stays.py").exists()
    assert any("gone/a.py" in said for said in pair.said) is delete


def test_edits_made_while_the_box_is_away_go_up_when_it_is_back(
    pair: Pair, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(pair.here / "a.py", "1")
    watcher = start()
    real = paths.ssh_config().read_text()
    # Nothing listens on port 1: the box is out of reach for as long as this stands.
    ssh_config.forget(pair.box)
    port = pair.box.endpoint.port if pair.box.endpoint else 0
    paths.ssh_config().write_text(real.replace(f"Port {port}", "Port 1"))
    write(pair.here / "a.py", "2")
    watcher.until(lambda: "lost" in watcher.kinds(), "the cut was not noticed")
    write(pair.here / "b.py", "while away")
    paths.ssh_config().write_text(real)
    watcher.until(lambda: "back" in watcher.kinds(), "it did not come back")
    watcher.until(lambda: files(pair.there) == files(pair.here), "not caught up")
