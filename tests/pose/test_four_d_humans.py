"""The 4d-humans engine against stand-ins of upstream (tests/pose/upstream.py): what it calls, what
it refuses, and what it makes of the outputs. No weights and no GPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devbox.box.pose import host, weights
from devbox.box.pose.engines import load
from devbox.box.pose.four_d_humans import FourDHumans
from devbox.box.pose.four_d_humans_models import load_models
from devbox.box.pose.keypoints import HMR2
from tests.pose import upstream
from tests.pose.serving import serving
from tests.pose.test_job import run
from tests.track.clips import records_of, write

IMAGE = np.zeros((300, 400, 3), np.uint8)
Make = Callable[..., FourDHumans]


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> upstream.State:
    monkeypatch.setenv("TORCH_HOME", "/nowhere")
    return upstream.install(monkeypatch)


@pytest.fixture
def make(home: Path, state: upstream.State) -> Make:
    def made(*, phalp: bool = True) -> FourDHumans:
        files = upstream.weights_in(home, phalp=phalp)
        return FourDHumans(lambda: load_models(*files, "cpu"))

    return made


def test_a_person_is_44_keypoints_a_mesh_and_a_camera(make: Make, state: upstream.State) -> None:
    engine = make()
    (person,) = engine.see(IMAGE, "s", 0)
    assert person.names == HMR2
    assert (len(person.points), len(engine.faces or ())) == (44, 13776)
    assert len(person.vertices or b"") == 6890 * 3 * 4
    assert person.box == (60, 40, 100, 200)
    # The camera by the crop's formula: f = 5000/256 · 400, crop of 200 around (110, 140).
    focal = 5000 / 256 * 400
    assert person.focal == pytest.approx(focal)
    scale = 200 * state.scale
    assert person.camera == pytest.approx(
        (2 * (110 - 200) / scale + 0.1, 2 * (140 - 150) / scale - 0.2, 2 * focal / scale)
    )
    tx, ty, tz = person.camera or (0, 0, 0)
    for row, (x, y, x3, y3, z3, confidence) in enumerate(person.points):
        assert (x3, y3, z3) == pytest.approx((0.01 * row, 0.02 * row - 0.5, 0.001 * row))
        assert x3 is not None
        assert y3 is not None
        assert z3 is not None
        assert x == pytest.approx(focal * (x3 + tx) / (z3 + tz) + 200)
        assert y == pytest.approx(focal * (y3 + ty) / (z3 + tz) + 150)
        assert confidence == pytest.approx(0.9)
    assert engine.models == {"hmr2": True, "phalp": True}


def test_the_model_is_in_eval_mode_so_two_looks_agree(make: Make) -> None:
    engine = make(phalp=False)
    assert engine.see(IMAGE, "", 0) == engine.see(IMAGE, "", 0)


def test_the_detector_looks_once_a_frame_for_both(make: Make, state: upstream.State) -> None:
    engine = make()
    for frame in range(3):
        engine.see(IMAGE.copy(), "s", frame)
    assert state.asked == 3


def test_nobody_others_and_boxes_of_no_size_are_no_people(
    make: Make, state: upstream.State
) -> None:
    engine = make()
    dog, unsure, line = (0, 0, 100, 200, 0.9, 16), (0, 0, 100, 200, 0.4, 0), (5, 5, 5, 9, 0.9, 0)
    for people in ([], [dog], [unsure], [line]):
        state.people = list(people)
        assert engine.see(IMAGE, "s", 0) == []
    state.people = [(60, 40, 160, 240, 0.9, 0), (200, 40, 300, 240, 0.7, 0)]
    both = engine.see(IMAGE, "s", 1)
    assert [person.box[0] for person in both] == [60, 200]
    # PHALP takes scores above 0.8 only: the second person has no track.
    assert [bool(person.track) for person in both] == [True, False]


@pytest.mark.parametrize(
    "wrong", [{"nan": True}, {"scale": 0.0}, {"scale": -0.5}, {"scale": float("inf")}]
)
def test_a_body_that_is_no_number_or_behind_the_camera_is_refused(
    make: Make, state: upstream.State, wrong: dict[str, float]
) -> None:
    engine = make()
    state.__dict__.update(wrong)
    with pytest.raises(ValueError, match="no usable body for the 1 people"):
        engine.see(IMAGE, "s", 0)


def test_tracks_are_tentative_at_first_and_apart_by_session(
    make: Make, state: upstream.State
) -> None:
    engine = make()
    seen = [engine.see(IMAGE, "a", frame)[0] for frame in range(7)]
    assert [person.tentative for person in seen] == [True] * 4 + [False] * 3
    assert len({person.track for person in seen}) == 1
    other = engine.see(IMAGE, "b", 0)[0]
    assert other.tentative
    assert other.track != seen[0].track
    assert engine.see(IMAGE, "a", 7)[0].track == seen[0].track
    assert engine.see(IMAGE, "", 3)[0].track == ""
    assert engine.see(IMAGE, "a", 0)[0].track != seen[0].track


def test_a_track_lives_through_50_frames_without_its_person(
    make: Make, state: upstream.State
) -> None:
    engine = make()
    people = state.people
    tracks = []
    for frame in range(120):
        state.people = [] if 10 <= frame < 60 or 65 <= frame < 116 else people
        tracks += [person.track for person in engine.see(IMAGE, "s", frame)]
    assert len(set(tracks[:15])) == 1
    assert len(set(tracks)) == 2  # 51 are one too many


def test_a_tracker_that_fails_is_begun_again_and_the_body_is_still_given(
    make: Make, state: upstream.State, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = make()
    before = [engine.see(IMAGE, "s", frame)[0] for frame in range(6)]
    state.update_raises = True
    (during,) = engine.see(IMAGE, "s", 6)
    state.update_raises = False
    after = engine.see(IMAGE, "s", 7)[0]
    assert during.track == ""
    assert during.points == before[0].points
    assert after.tentative
    assert after.track != before[0].track
    assert "list index out of range" in capsys.readouterr().err


def test_without_the_trackers_files_people_have_no_track(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = make(phalp=False)
    assert engine.models == {"hmr2": True, "phalp": False}
    assert engine.see(IMAGE, "s", 0)[0].track == ""
    assert "told apart by where they are" in capsys.readouterr().out


def test_nothing_is_looked_up_in_the_current_folder_or_downloaded(
    home: Path, state: upstream.State, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, hashes = upstream.weights_in(home)
    (home / "elsewhere").mkdir()
    monkeypatch.chdir(home / "elsewhere")
    monkeypatch.delenv("HOME")
    models = load_models(folder, hashes, "cpu")
    assert str(folder / "data/smpl") == state.cfg.SMPL.MODEL_PATH
    assert state.cfg.MODEL.BBOX_SHAPE == [192, 256]
    phalp: Any = models.phalp
    assert phalp.cfg.hmr.hmar_path == str(folder / weights.HMAR)
    assert phalp.cfg.render.enable is False
    assert os.environ["TORCH_HOME"] == str(folder / "phalp/torch")
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("name", [weights.CHECKPOINT, weights.SMPL, weights.RESNET])
def test_a_file_that_is_missing_is_named_by_its_path(
    home: Path, state: upstream.State, name: str
) -> None:
    folder, hashes = upstream.weights_in(home)
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"{folder / name} is missing".replace("+", r"\+")):
        load_models(folder, hashes, "cpu")
    assert state.cfg is None


def test_a_pickle_is_opened_only_with_the_hash_that_the_user_named(
    home: Path, state: upstream.State
) -> None:
    folder, hashes = upstream.weights_in(home)
    told = hashes.read_text()
    hashes.unlink()
    with pytest.raises(weights.WeightsMissing) as refused:
        load_models(folder, hashes, "cpu")
    asked = str(refused.value).splitlines()[1:]
    assert sorted(asked) == sorted(each for each in told.splitlines() if each.split()[1] in PICKLES)
    hashes.write_text("\n".join(asked))  # what the error says is what has to be written
    load_models(folder, hashes, "cpu")
    (folder / weights.JOINTS).write_text("another")
    with pytest.raises(weights.WeightsMissing, match="is not opened; fetch the file again"):
        load_models(folder, hashes, "cpu")


PICKLES = set(weights._PICKLES)


def test_a_checkpoint_of_another_model_is_refused(home: Path, state: upstream.State) -> None:
    folder, hashes = upstream.weights_in(home)
    upstream.save(folder / weights.CHECKPOINT, {"encoder.weight": np.zeros(2)})
    kept = [each for each in hashes.read_text().splitlines(True) if weights.CHECKPOINT not in each]
    hashes.write_text("".join([*kept, upstream.line(folder, weights.CHECKPOINT)]))
    with pytest.raises(ValueError, match=r"lacks 2 of HMR2's parameters, such as backbone\.weight"):
        load_models(folder, hashes, "cpu")


def test_a_machine_without_a_gpu_is_told_which_engine_runs_there() -> None:
    with pytest.raises(ValueError, match="--engine mediapipe runs on a CPU"):
        load("4d-humans", {"weights": "/none", "hashes": "none"})


def test_the_job_and_the_service_give_bodies_through_a_gap(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "FACTORY", upstream.FACTORY)
    monkeypatch.setenv("POSE_TEST_DROPPED", "5,6,7")
    folder, hashes = upstream.weights_in(home)
    given: dict[str, Any] = {"weights": str(folder), "hashes": str(hashes), "engine": "4d-humans"}
    job = run(home / "run", write(home / "v.mp4", 10, (400, 300)), mesh=True, **given)
    assert job.failed == []
    records = records_of(job.out)
    gap = [record["source"] for record in records]
    assert gap == ["detected"] * 5 + ["predicted"] * 3 + ["detected"] * 2
    assert all(len(record["mesh_vertices_data"]) == 6890 for record in records)
    with serving(**given) as client:
        assert client.get("/health").body["models"] == {"hmr2": True, "phalp": True}
        answer = client.hybrid(frame=0)
    assert answer.status == 200
    assert answer.body["keypoint_count"] == 44
    assert len(answer.body["mesh_faces_data"]) == 13776
    assert answer.body["track_tentative"] is True
