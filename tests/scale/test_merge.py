"""Results of rounds come together once each; what two rounds wrote differently is kept twice."""

from __future__ import annotations

from pathlib import Path

from devbox.scale.merge import Beside, merge


def staged(root: Path, **files: str) -> Path:
    folder = root / "staged"
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_files_move_into_place_and_the_rest_stays(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (results / "mine.txt").write_text("mine")
    assert merge(staged(tmp_path, a_json="1", deep__b_json="2"), results, "w1-r1") == []
    assert (results / "a.json").read_text() == "1"
    assert (results / "deep/b.json").read_text() == "2"
    assert (results / "mine.txt").read_text() == "mine"
    assert not (tmp_path / "staged").exists()


def test_the_same_again_changes_nothing(tmp_path: Path) -> None:
    results = tmp_path / "results"
    for _ in range(2):
        assert merge(staged(tmp_path, a_json="1"), results, "w1-r1") == []
    assert [path.name for path in results.iterdir()] == ["a.json"]


def test_a_merge_that_was_cut_off_comes_to_the_same(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (results / "a.json").write_text("1")  # moved before the cut
    (results / "sum.json").write_text("of another round")
    for _ in range(2):
        found = merge(staged(tmp_path, a_json="1", sum_json="mine"), results, "w2-r3")
        assert found == [Beside("sum.json", "sum.w2-r3.json")]
    assert sorted(path.name for path in results.iterdir()) == [
        "a.json",
        "sum.json",
        "sum.w2-r3.json",
    ]
    assert (results / "sum.json").read_text() == "of another round"
    assert (results / "sum.w2-r3.json").read_text() == "mine"


def test_a_file_where_a_folder_would_be_and_the_other_way_round(tmp_path: Path) -> None:
    results = tmp_path / "results"
    merge(staged(tmp_path, a="file", b__c="folder"), results, "w1-r1")
    found = merge(staged(tmp_path, a__x="1", b="2"), results, "w2-r1")
    assert sorted(found) == [Beside("a/x", "w2-r1/a/x"), Beside("b", "b.w2-r1")]
    assert (results / "a").read_text() == "file"
    assert (results / "w2-r1/a/x").read_text() == "1"
    assert (results / "b.w2-r1").read_text() == "2"


def test_a_link_in_the_results_is_not_followed(tmp_path: Path) -> None:
    results, outside = tmp_path / "results", tmp_path / "outside"
    results.mkdir()
    outside.mkdir()
    (results / "deep").symlink_to(outside)
    found = merge(staged(tmp_path, deep__b="2"), results, "w1-r1")
    assert found == [Beside("deep/b", "w1-r1/deep/b")]
    assert not list(outside.iterdir())
