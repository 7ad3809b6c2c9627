"""The pose service over HTTP: its contract, its order, its bounds, and what it says of failures."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import pytest

from devbox import paths
from devbox.box.pose import host, sessions
from devbox.box.services import pose
from devbox.box.services.pose import requests
from tests.pose.fake import FACES
from tests.pose.patterns import DROPPED, FRAMES, check, expected
from tests.pose.serving import ARGS, Client, picture, serving
from tests.pose.test_job import Plan, fake

__all__ = ["fake"]

KEYS = {
    *("frame_number", "keypoints", "has_3d", "mesh_vertices_data", "mesh_faces_data"),
    *("camera_translation", "processing_time_ms", "tracking_confidence", "keypoint_count", "error"),
}


def test_a_result_has_every_field_of_the_contract(home: Path, fake: Plan) -> None:
    fake(mesh=True)
    with serving() as client:
        health = client.get("/health")
        answer = client.hybrid(grey=7, frame=0)
    assert health.body["status"] == "ready"
    assert health.body["models"] == {"hmr2": True, "phalp": False}
    assert (health.body["device"], health.body["ready"]) == ("cpu", True)
    assert answer.status == 200
    body = answer.body
    assert set(body) >= KEYS
    assert (body["frame_number"], body["source"], body["error"]) == (0, "detected", "")
    assert (body["tracking_confidence"], body["has_3d"]) == (1.0, True)
    assert body["keypoint_count"] == len(body["keypoints"]) == 33
    first = body["keypoints"][0]
    assert first == {
        **{"name": "nose", "x": 20.0, "y": 40.0, "z": 0.0, "confidence": 0.9},
        **{"x_3d": 0.0, "y_3d": 7.0, "z_3d": 0.0},
    }
    assert body["mesh_vertices_data"][1] == [3.0, 4.0, 5.0]
    assert body["mesh_faces_data"] == FACES
    assert body["camera_translation"] == [0.1, 0.2, 4.0]
    assert (body["frame_width"], body["frame_height"]) == (160, 120)


@pytest.mark.parametrize("name", DROPPED)
def test_140_frames_two_at_a_time_give_140_results_with_honest_sources(
    home: Path, fake: Plan, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "GRACE", 60.0)  # every frame comes, however busy the machine is
    fake(dropped=DROPPED[name])
    with serving() as client, ThreadPoolExecutor(2) as two:
        answers = list(two.map(lambda n: client.hybrid(n % 250, n), range(FRAMES)))
        whole = {"frames": [{"image_base64": picture(1)} for _ in range(FRAMES)]}
        batch = client.post("/pose/batch", whole)
    assert {answer.status for answer in answers} == {200}
    check([answer.body for answer in answers], expected(DROPPED[name], backfill=0))
    for number, answer in enumerate(answers):
        if answer.body["source"] == "detected":
            assert answer.body["keypoints"][0]["y_3d"] == number % 250
    assert batch.status == 200
    check(batch.body["results"], expected(DROPPED[name], backfill=20))


def test_nobody_is_200_with_an_empty_list(home: Path, fake: Plan) -> None:
    fake(dropped=[0])
    with serving() as client:
        answer = client.hybrid(frame=0)
        alone = client.hybrid(frame=None)
    assert (answer.status, answer.body["keypoints"], answer.body["has_3d"]) == (200, [], False)
    assert answer.body["source"] == alone.body["source"] == "none"
    assert answer.body["mesh_vertices_data"] is None


RAW = base64.b64encode(bytes(range(256)) * 225).decode()
BAD: dict[str, tuple[Any, int, str]] = {
    "raw pixels": ({"image_base64": RAW, "frame_number": 0}, 400, "not raw pixels"),
    "cut off": ({"image_base64": picture(1, ".jpg")[:200], "frame_number": 0}, 400, "image_base64"),
    "no base64": ({"image_base64": "@@@", "frame_number": 0}, 400, "not base64"),
    "no picture": ({"frame_number": 0}, 400, "image_base64 is missing"),
    "a number": ({"image_base64": 5, "frame_number": 0}, 400, "image_base64 is missing"),
    "true": ({"image_base64": picture(1), "frame_number": True}, 400, "frame_number"),
    "text": ({"image_base64": picture(1), "frame_number": "1"}, 400, "frame_number"),
    "negative": ({"image_base64": picture(1), "frame_number": -1}, 400, "frame_number"),
    "path": ({"image_base64": picture(1), "frame_number": 1, "session_id": "../x"}, 400, "session"),
    "bytes": (b"\xff\xd8\xff\xe0not json", 400, "not JSON"),
    "deep": (b"[" * 200_000, 400, "not JSON"),
    "a list": ([1], 400, "not a JSON object"),
    "no frames": ({"frames": []}, 400, "frames is not a list"),
    "falling": ({"frames": [{"frame_number": 2}, {"frame_number": 2}]}, 400, "must rise"),
}


def test_what_is_wrong_with_a_request_is_a_clean_400_and_costs_nothing(
    home: Path, fake: Plan
) -> None:
    with serving() as client:
        for what, (content, status, words) in BAD.items():
            path = "/pose/batch" if "frames" in what or what == "falling" else "/pose/hybrid"
            answer = client.post(path, content)
            assert (answer.status, what) == (status, what)
            assert words in answer.body["error"], what
        wide = {"image_base64": picture(1, size=(20_000, 2_001)), "frame_number": 0}
        assert "megapixels" in client.post("/pose/hybrid", wide).body["error"]
        assert client.hybrid(frame=0).status == 200
        assert client.get("/nothing").status == 404
        assert client.get("/pose/hybrid").status == 405


def test_every_kind_of_picture_is_taken_with_or_without_a_data_url(home: Path, fake: Plan) -> None:
    grey = base64.b64encode(cv2.imencode(".png", cv2.imread(_photo(), 0))[1].tobytes()).decode()
    with serving() as client:
        for text in (
            *(picture(9, ".jpg"), "data:image/png;base64," + picture(9), grey),
            "data:image/jpeg;charset=utf-8;base64," + picture(9, ".jpg"),
            "\n".join(picture(9)[at : at + 76] for at in range(0, len(picture(9)), 76)),
        ):
            answer = client.post("/pose/hybrid", {"image_base64": text, "frame_number": 0})
            assert (answer.status, answer.body["source"]) == (200, "detected")


def test_a_request_that_is_too_large_is_413(
    home: Path, fake: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MOST_BYTES", 10_000)
    with serving() as client:
        assert client.post("/pose/hybrid", b" " * 20_000).status == 413
        assert client.hybrid().status == 200


def test_a_client_that_does_not_finish_its_request_does_not_keep_the_place(
    home: Path, fake: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "READ_SECONDS", 0.1)
    with serving(in_flight=1) as client:
        with socket.create_connection(("127.0.0.1", client.port)) as slow:
            slow.sendall(b"POST /pose/hybrid HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
            assert b"408" in slow.recv(100)
        assert client.hybrid().status == 200


def test_failures_of_the_engine_are_500_and_the_next_frame_is_answered(
    home: Path, fake: Plan
) -> None:
    fake(refuse=[1], raises=[2], die=[3])
    with serving() as client:
        assert client.hybrid(frame=0).status == 200
        refused = client.hybrid(frame=1)
        assert (refused.status, refused.body["error"]) == (500, "the network gave no number")
        raised = client.hybrid(frame=2)
        assert (raised.status, raised.body["error"]) == (500, "RuntimeError: CUDA out of memory")
        died = client.hybrid(frame=3)
        assert died.status == 500
        assert "code 9" in died.body["error"]
        while (answer := client.hybrid(frame=4)).status == 503:
            assert int(answer.headers["retry-after"]) >= 1
            assert client.get("/health").body["status"] == "warming_up"
        assert (answer.status, answer.body["source"]) == (200, "detected")


def test_a_batch_with_bad_frames_has_a_result_for_each_and_is_no_success(
    home: Path, fake: Plan
) -> None:
    fake(refuse=[3], mesh=True)
    frames: list[Any] = [{"image_base64": picture(n), "frame_number": 10 + n} for n in range(6)]
    frames[1] = {"image_base64": "AAAA", "frame_number": 11}
    frames[5] = {"frame_number": 15}
    with serving() as client:
        answer = client.post("/pose/batch", {"frames": frames, "session_id": "a"})
        good = client.post("/pose/batch", {"frames": frames[:1]})
    assert answer.status == 422
    assert answer.body["error"] == "frames that failed: 11, 13, 15"
    results = answer.body["results"]
    assert [r["frame_number"] for r in results] == [10, 11, 12, 13, 14, 15]
    assert [bool(r["error"]) for r in results] == [False, True, False, True, False, True]
    assert results[1]["source"] == "predicted"
    assert {r["mesh_faces_data"] and True for r in results} == {None}
    assert answer.body["mesh_faces_data"] == FACES
    assert (good.status, good.body["error"]) == (200, "")


def test_more_than_the_bound_is_503_with_retry_after_and_the_others_are_answered(
    home: Path, fake: Plan
) -> None:
    fake(seconds=0.05)
    with serving(queue=3) as client, ThreadPoolExecutor(12) as many:
        answers = list(many.map(lambda _: client.hybrid(frame=None), range(12)))
        statuses = Counter(answer.status for answer in answers)
        assert set(statuses) == {200, 503}
        assert statuses[200] >= 5
        for answer in answers:
            if answer.status == 503:
                assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert client.get("/health").body["waiting"] == 0


def test_two_frames_that_arrive_in_the_wrong_order_are_answered_in_the_right_one(
    home: Path, fake: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "GRACE", 5.0)
    fake(dropped=[1, 4])
    with serving() as client, ThreadPoolExecutor(2) as two:
        for even in (0, 2, 4):
            later = two.submit(client.hybrid, 0, even + 1)
            while client.get("/health").body["in_flight"] == 0:
                pass
            assert client.hybrid(0, even).body["source"] == _source(even)
            assert later.result().body["source"] == _source(even + 1)


def _source(frame: int) -> str:
    return "predicted" if frame in (1, 4) else "detected"


def test_a_frame_that_comes_too_late_stands_alone_and_changes_nothing(
    home: Path, fake: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "GRACE", 0.02)
    fake(dropped=[2, 7])
    with serving() as client:
        for frame in (0, 5, 6):
            assert client.hybrid(0, frame).body["track_id"] == "default:1"
        late = client.hybrid(0, 2).body
        assert (late["source"], late["track_id"]) == ("none", None)
        again = client.hybrid(0, 5).body
        assert (again["source"], again["track_id"]) == ("detected", "default:0")
        held = client.hybrid(0, 7).body
        assert (held["source"], held["source_frame"]) == ("predicted", 6)


def test_sessions_are_apart_and_begin_again_at_frame_0(home: Path, fake: Plan) -> None:
    fake(dropped=[1])
    with serving() as client:
        client.hybrid(0, 0, session_id="a")
        assert client.hybrid(0, 1, session_id="b").body["source"] == "none"
        assert client.hybrid(0, 1, session_id="a").body["source"] == "predicted"
        client.hybrid(0, 2, session_id="a")
        again = client.hybrid(0, 0, session_id="a").body
        assert (again["source"], again["track_id"]) == ("detected", "a:1")


def test_sessions_that_are_not_used_are_forgotten(
    home: Path, fake: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST", 4)
    with serving() as client:
        for number in range(20):
            assert client.hybrid(0, 0, session_id=f"s{number}").status == 200
        assert client.get("/health").body["sessions"] <= 5


def test_32_clients_get_their_own_answers_and_no_more_wait_than_may(home: Path, fake: Plan) -> None:
    """Four frames each, or as many as there are in POSE_LOAD_SECONDS."""
    lasting = float(os.environ.pop("POSE_LOAD_SECONDS", "0"))
    until = time.monotonic() + lasting
    wrong: list[str] = []
    statuses: Counter[int] = Counter()
    lock = threading.Lock()

    def work(client: Client, number: int) -> None:
        frame = 0
        while frame < 4 or time.monotonic() < until:
            grey = (number * 7 + frame) % 250
            answer = client.hybrid(grey, frame, session_id=f"c{number}")
            with lock:
                statuses[answer.status] += 1
            if answer.status == 503:
                time.sleep(0.02)
                continue
            body = answer.body
            seen = body["keypoints"][0]["y_3d"] if answer.status == 200 else None
            told = (body.get("frame_number"), seen, body.get("track_id"))
            if told != (frame, grey, f"c{number}:1"):
                wrong.append(json.dumps(body)[:300])
            frame += 1

    most = 0
    with serving(engine="fake") as client:
        threads = [threading.Thread(target=work, args=(client, n)) for n in range(32)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            health = client.get("/health").body
            most = max(most, health["waiting"])
            assert health["in_flight"] <= 2
            threads[0].join(0.05)
    assert wrong == []
    assert set(statuses) <= {200, 503}
    assert statuses[200] >= 32 * 4
    assert most <= ARGS["queue"]


def test_a_service_that_is_still_loading_says_so_and_one_that_cannot_ends(
    home: Path, fake: Plan
) -> None:
    fake(broken="no such file: w.ckpt")
    with serving(ready=False) as client:
        answer = client.hybrid()
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert client.get("/health").body["status"] == "warming_up"


def test_the_real_engine_behind_the_service_sees_the_photograph(
    home: Path, mediapipe: None
) -> None:
    data = base64.b64encode(Path(_photo()).read_bytes()).decode()
    with serving(engine="mediapipe") as client:
        answer = client.post("/pose/hybrid", {"image_base64": data, "frame_number": 0})
        assert client.get("/health").body["engine"] == "mediapipe"
    assert (answer.status, answer.body["keypoint_count"]) == (200, 33)
    nose = answer.body["keypoints"][0]
    assert (nose["x"], nose["y"]) == (pytest.approx(223, abs=6), pytest.approx(131, abs=6))


def test_the_service_declares_the_arguments_that_it_reads() -> None:
    file = Path(pose.__file__).with_name("service.toml")
    table = tomllib.loads(file.read_text())
    declared = {name: a.get("default") for name, a in table["args"].items()}
    assert declared == {**ARGS, "engine": "mediapipe"}
    assert host.SEE_SECONDS < 120  # how long the existing client waits


def _photo() -> str:
    return str(paths.data("templates") / "demo" / "astronaut.jpg")
