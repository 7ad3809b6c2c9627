"""What the box's part does with its own files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from devbox.sync import boxside
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
    nothing = boxside._rules([])
    request = {"root": str(tmp_path / "work")}
    found = [name for name, _ in boxside._elsewhere(tops, request, (nothing, nothing))]
    assert len(found) == 20
    assert asked == tops


def test_of_the_named_folders_only_what_is_empty_goes(tmp_path: Path) -> None:
    write(tmp_path / "x" / "in" / "a.txt", "a")
    write(tmp_path / "y" / "b.txt", "b")
    for name in ("x/empty/er", "y/empty", "z/empty", "target/empty"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to("target")
    request = {
        "root": str(tmp_path),
        "names": ["x/in/a.txt"],
        "folders": ["x", "y", "link", "../outside"],
    }
    assert list(boxside.delete(request)) == [b"x/in/a.txt"]
    assert files(tmp_path) == {"y/b.txt": "b", "link": "-> target"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "target", "y", "z"]
    assert (tmp_path / "target" / "empty").exists()
    assert not (tmp_path / "y" / "empty").exists()
