"""The pieces of an input: each file in one of them at most, by rules that the jobs follow too."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devbox import spec
from devbox.box import pieces
from devbox.box.job import Job
from devbox.box.pieces import Spread
from devbox.errors import SpecError
from devbox.jobs import catalogue
from devbox.spec.load import decode_job

MEDIA = ("*.jpg", "*.png", "*.mp4")


def made(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def found(root: Path, spread: Spread) -> dict[str, list[str]]:
    groups = pieces.pieces(root, MEDIA, spread)
    return {name: [pieces.name_of(path, root) for path in group] for name, group in groups.items()}


def test_each_file_is_a_piece_in_the_order_a_user_counts_in(tmp_path: Path) -> None:
    root = made(
        tmp_path / "in", "10.jpg", "2.JPG", "sub/1.png", "notes.txt", ".hid.jpg", ".d/x.jpg"
    )
    assert found(root, "files") == {
        "2.JPG": ["2.JPG"],
        "10.jpg": ["10.jpg"],
        "sub/1.png": ["sub/1.png"],
    }


def test_pictures_stay_together_where_there_is_no_video(tmp_path: Path) -> None:
    root = made(tmp_path / "walk", "f10.jpg", "f2.jpg", "late/f1.png")
    assert found(root, "sequences") == {"walk": ["f2.jpg", "f10.jpg", "late/f1.png"]}
    made(root, "b.mp4", "a/b.mp4")
    assert found(root, "sequences") == {"a/b.mp4": ["a/b.mp4"], "b.mp4": ["b.mp4"]}


def test_a_scene_is_a_video_or_the_pictures_of_one_folder(tmp_path: Path) -> None:
    root = made(tmp_path / "trip", "10.jpg", "9.jpg", "a/1.jpg", "a/v.mp4", "a/b/2.jpg")
    assert found(root, "scenes") == {
        "trip": ["9.jpg", "10.jpg"],
        "a": ["a/1.jpg"],
        "a/b": ["a/b/2.jpg"],
        "a/v.mp4": ["a/v.mp4"],
    }


@pytest.mark.parametrize("spread", ["files", "sequences", "scenes"])
def test_a_file_is_a_piece_whatever_its_suffix_and_nothing_is_none(
    tmp_path: Path, spread: Spread
) -> None:
    root = made(tmp_path, "one.xyz") / "one.xyz"
    assert found(root, spread) == {"one.xyz": ["one.xyz"]}
    assert found(made(tmp_path / "empty", "no.txt"), spread) == {}


names = st.lists(
    st.sampled_from(["a", "b", "A", "2", "10", "x y", "é", "'\n"]), min_size=1, max_size=3
).map("/".join)


@given(st.sets(st.tuples(names, st.sampled_from([".jpg", ".png", ".mp4"])), max_size=12))
def test_no_file_is_in_two_pieces_and_a_round_names_them_alike(files: set[tuple[str, str]]) -> None:
    """What a box sees of a piece, in a folder of that name with just its files, is that piece."""
    root = Path("/in/album")
    paths = [root / f"{name}{suffix}" for name, suffix in files]
    for group in (pieces.sequences, pieces.scenes):
        groups = group(paths, root)
        used = [path for each in groups.values() for path in each]
        assert len(used) == len(set(used))
        skipped = {path for path in paths if group is pieces.sequences and pieces.is_image(path)}
        assert set(paths) - set(used) <= skipped
        elsewhere = Path("/box/rounds/7/album")
        for name, each in groups.items():
            moved = [elsewhere / path.relative_to(root) for path in each]
            assert group(moved, elsewhere) == {name: moved}


def test_links_to_folders_are_not_followed_and_names_stay_inside(tmp_path: Path) -> None:
    outside = made(tmp_path / "outside", "secret.jpg")
    root = made(tmp_path / "in", "a.jpg")
    (root / "up").symlink_to(outside)
    (root / "loop").symlink_to(root)
    (root / "b.jpg").symlink_to(outside / "secret.jpg")
    assert found(root, "files") == {"a.jpg": ["a.jpg"], "b.jpg": ["b.jpg"]}


def test_a_name_that_no_message_can_hold_is_refused(tmp_path: Path) -> None:
    root = made(tmp_path / "in", "a.jpg")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff.jpg")).touch()
    with pytest.raises(ValueError, match=r"\\udcff.jpg' is not UTF-8"):
        found(root, "files")


def test_a_hundred_thousand_files_are_as_many_pieces(tmp_path: Path) -> None:
    root = made(tmp_path / "in", "x.jpg")
    for number in range(100_000):
        os.mknod(root / f"{number % 100}-{number}.jpg")
    assert len(pieces.pieces(root, MEDIA, "files")) == 100_001


def test_a_jobs_files_are_those_of_its_pieces(tmp_path: Path) -> None:
    root = made(tmp_path / "in", "b.JPG", "a/2.png", "no.txt")
    job = Job(tmp_path / "run", inputs={"x": root}, patterns={"x": MEDIA})
    assert set(job.named("x")) == {"b.JPG", "a/2.png"} == set(found(root, "files"))


def test_the_bundled_jobs_say_how_their_input_is_divided() -> None:
    jobs = catalogue.all_jobs(spec.Spec())
    divided = {
        name: (given, each.spread)
        for name, job in jobs.items()
        for given, each in job.inputs.items()
    }
    assert divided == {
        "depth": ("input", "scenes"),
        "pose": ("video", "sequences"),
        "sam-body4d": ("video", "sequences"),
        "sharp": ("images", "files"),
        "track": ("video", "sequences"),
    }


def test_a_job_divides_one_input() -> None:
    text = 'command = ["x"]\n' + "".join(
        f'inputs.{name} = {{ spread = "files" }}\n' for name in ("a", "b")
    )
    job = decode_job(tomllib.loads(text), Path("job.toml"))
    with pytest.raises(SpecError, match="inputs a and b both have a spread"):
        catalogue.checked(job, "job.toml")
    with pytest.raises(SpecError, match="spread"):
        decode_job(tomllib.loads('inputs.a.spread = "half"'), Path("job.toml"))
