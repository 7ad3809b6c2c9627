"""What the box half does with the files of its box."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path

import pytest

from devbox.box import paths
from devbox.box.files import baseline, listing, named, unsynced
from devbox.box.files.walk import by_rules
from devbox.wire.files import DeleteFiles, SetBaseline
from tests.sync.conftest import files, write


def test_a_look_outside_asks_once_which_disk_a_folder_is_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        write(tmp_path / "sub" / f"{number}.txt", "x")
    write(tmp_path / "work" / "a.txt", "x")
    asked: list[object] = []
    real = os.stat

    def stat(path: bytes) -> os.stat_result:
        asked.append(path)
        return real(path)

    monkeypatch.setattr(os, "stat", stat)
    tops = [os.fsencode(tmp_path), b"/nowhere"]
    root = os.fsencode(tmp_path / "work")
    found = list(listing.elsewhere(root, tops, by_rules((), ()), time.monotonic() + 60))
    assert len(found) == 20
    assert asked == tops


def test_of_the_named_folders_only_what_is_empty_goes(tmp_path: Path) -> None:
    write(tmp_path / "x" / "in" / "a.txt", "a")
    write(tmp_path / "y" / "b.txt", "b")
    for name in ("x/empty/er", "y/empty", "z/empty", "target/empty"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to("target")
    request = DeleteFiles(str(tmp_path), ("x/in/a.txt",), ("x", "y", "link", "../outside"))
    (answer,) = named.delete(request)
    assert json.loads(answer) == {"v": 1, "names": ["x/in/a.txt"]}
    assert files(tmp_path) == {"y/b.txt": "b", "link": "-> target"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "target", "y", "z"]
    assert (tmp_path / "target" / "empty").exists()
    assert not (tmp_path / "y" / "empty").exists()


def test_a_name_that_is_never_synced_hides_no_file_whose_path_looks_like_it(home: Path) -> None:
    write(home / "work" / "data" / "x.bin", "x")
    write(home / "work" / "data-1.bin", "x")
    told = SetBaseline(str(home / "work"), 1.0, {}, ("data*.bin",), str(home / "none"))
    list(baseline.stamp(told))
    found = unsynced.changed(paths.root(), home / "work", (), math.inf)
    assert [name for name, _ in found] == ["data/x.bin"]


def test_a_baseline_that_was_damaged_hides_nothing(home: Path) -> None:
    write(home / "work" / "a.txt", "a")
    for damaged in ('{"t": 1e400}', '{"t": true}', '{"t": 4e9, "pushed": {"a.txt": "x"}}', "[]"):
        baseline.path(paths.root()).write_text(damaged)
        assert unsynced.summary(paths.root(), home / "work") == "1 unsynced file (1 B)"
