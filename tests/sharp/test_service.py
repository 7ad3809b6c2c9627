"""The SHARP service on the stand-in, over real HTTP: answers, caps, and every status that is not
200."""

from __future__ import annotations

import io
import json
import math
import socket
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
import uvicorn
from PIL import Image

from devbox.box.jobs.sharp import worker
from devbox.box.jobs.sharp.model import Gaussians
from devbox.box.service import Service
from devbox.box.services import sharp as room
from devbox.box.services.sharp import create_app
from tests.media.test_pictures import exif
from tests.sharp.conftest import jpeg, small
from tests.sharp.test_job import HEADER

# The head of a multipart body that is sent piece by piece, with no length told.
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


def service_args(**changes: Any) -> dict[str, Any]:
    """The defaults that service.toml declares."""
    table = tomllib.loads(Path(room.__file__).with_name("service.toml").read_text())
    return {**{name: arg["default"] for name, arg in table["args"].items()}, **changes}


class Server:
    """An app under uvicorn on a port of its own."""

    def __init__(self, app: Any) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="error")
        self._server = uvicorn.Server(config)
        listen = {"sockets": [self._socket]}
        self._thread = threading.Thread(target=self._server.run, kwargs=listen, daemon=True)
        self._thread.start()
        port = self._socket.getsockname()[1]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=180)

    def health(self) -> dict[str, Any]:
        return dict(self.client.get("/health").raise_for_status().json())

    def until(self, status: str) -> dict[str, Any]:
        deadline = time.monotonic() + 180
        while (health := self.health())["status"] != status:
            assert time.monotonic() < deadline, health
        return health

    def post(self, path: str, image: bytes, **fields: Any) -> httpx.Response:
        return self.client.post(path, files={"file": ("a.jpg", image)}, data=fields)

    def close(self) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture
def serve(checkpoint: Path) -> Iterator[Callable[..., Server]]:
    opened: list[Server] = []

    def serve(path: Path = checkpoint, **changes: Any) -> Server:
        service = Service(args=service_args(**changes), checkpoints={"sharp": path})
        opened.append(Server(create_app(service)))
        return opened[-1]

    yield serve
    for each in opened:
        each.close()


def test_it_answers_as_json_and_as_ply_and_says_what_is_wrong(
    serve: Callable[..., Server], photo: Image.Image
) -> None:
    server = serve(max_gaussians=500, max_mb=1)
    assert server.until("ready") == {
        "status": "ready", "ready": True, "model": "sharp", "device": "cpu", "error": "",
    }  # fmt: skip
    about = server.client.get("/").json()
    assert (about["service"], about["max_gaussians"]) == ("sharp", 500)

    image = jpeg(small(photo, (64, 96)), exif=exif(6, film=26))
    answer = server.post("/predict", image)
    assert answer.status_code == 200, answer.text
    told, gaussians = answer.json()["metadata"], answer.json()["gaussians"]
    assert {each: len(value) for each, value in gaussians.items()} == dict.fromkeys(
        [*("mean_vectors", "singular_values", "quaternions", "colors"),
         *("opacities", "opacity_logits")], 500
    )  # fmt: skip
    assert (told["gaussians"], told["returned"], told["max_gaussians"]) == (1152, 500, 500)
    assert (told["decimation"], told["left_out"], told["clamped"]) == ("even", 0, 0)
    assert (told["width"], told["height"], told["orientation"]) == (96, 64, 6)
    assert told["focal_rule"] == "exif"
    fewer = server.post("/predict", image, f_px="80.5", max_gaussians="7").json()
    assert len(fewer["gaussians"]["opacities"]) == 7
    assert (fewer["metadata"]["focal_px"], fewer["metadata"]["focal_rule"]) == (80.5, "given")
    more = server.post("/predict", image, max_gaussians="9999").json()
    assert more["metadata"]["returned"] == 500

    ply = server.post("/predict/ply", image)
    assert ply.content.startswith(HEADER.encode())
    assert len(ply.content) == len(HEADER) + 1152 * 56 + 128
    assert json.loads(ply.headers["X-Sharp-Metadata"])["gaussians"] == 1152

    wrong: list[tuple[int, str, Any]] = [
        (400, "is not a picture", server.post("/predict", b"hello")),
        (400, "damaged or cut off", server.post("/predict/ply", image[: len(image) // 2])),
        (400, "f_px must be", server.post("/predict", image, f_px="wide")),
        (400, "f_px must be", server.post("/predict", image, f_px="nan")),
        (400, "f_px must be", server.post("/predict", image, f_px="0")),
        (400, "send the picture", server.client.post("/predict", data={"file": "text"})),
        (400, "send the picture", server.client.post("/predict", content=image)),
        (413, "more than 1 MB", server.post("/predict", image + bytes(2_000_000))),
        (413, "more than 1 MB", server.client.post(
            "/predict", content=iter([PART, *[bytes(600_000)] * 2]),
            headers={"Content-Type": "multipart/form-data; boundary=b"})),
        (413, "megapixels", server.post("/predict", _bomb())),
        (405, "", server.client.get("/predict")),
        (404, "", server.client.get("/nowhere")),
    ]  # fmt: skip
    for status, said, given in wrong:
        assert (given.status_code, said in given.json()["error"]) == (status, True), given.text
    assert server.post("/predict", image).status_code == 200


def test_until_the_model_is_loaded_and_when_it_cannot_be_it_says_503(
    serve: Callable[..., Server], tmp_path: Path, photo: Image.Image
) -> None:
    (tmp_path / "torn.pt").write_bytes(b"PK")
    server = serve(tmp_path / "torn.pt")
    answer = server.post("/predict", jpeg(small(photo)))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    health = server.until("failed")
    assert health["ready"] is False
    assert "torn.pt cannot be read" in health["error"]
    assert server.post("/predict", jpeg(small(photo))).status_code == 503


def test_many_clients_at_once_get_their_own_answer_or_a_503(
    serve: Callable[..., Server], photo: Image.Image
) -> None:
    server = serve(max_gaussians=3, queue=4)
    server.until("ready")
    image = jpeg(small(photo, (48, 32)))

    def ask(number: int) -> list[httpx.Response]:
        return [server.post("/predict", image, f_px=str(100 + number)) for _ in range(4)]

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, range(32)))
    good = 0
    for number, each in enumerate(answers):
        for answer in each:
            assert answer.status_code in (200, 503), answer.text
            if answer.status_code == 503:
                assert int(answer.headers["Retry-After"]) >= 1
            else:
                good += 1
                assert answer.json()["metadata"]["focal_px"] == 100 + number
    assert 6 <= good < 128
    assert server.post("/predict", image).status_code == 200


def test_json_holds_only_numbers_that_json_has() -> None:
    count = 1000
    chance = np.random.default_rng(1)
    opacities = np.full(count, 0.5, np.float32)
    opacities[:3] = 1.0, 0.0, 1.5
    means = chance.normal(size=(count, 3)).astype(np.float32)
    means[10, 2], means[11, 0] = np.nan, np.inf
    rest = (np.ones((count, 3), np.float32), np.ones((count, 4), np.float32))
    colors = np.full((count, 3), 0.25, np.float32)
    gaussians = Gaussians(means, *rest, colors, opacities)
    lists, counts = worker.as_lists(gaussians, 2000)
    assert counts == {
        "returned": 998, "max_gaussians": 2000, "decimation": "none", "left_out": 2, "clamped": 3,
    }  # fmt: skip
    assert lists["opacity_logits"][:3] == [worker.LOGIT, -worker.LOGIT, worker.LOGIT]
    assert all(map(math.isfinite, lists["opacity_logits"]))
    json.dumps(lists, allow_nan=False)
    lists, counts = worker.as_lists(gaussians, 100)
    assert (len(lists["colors"]), counts["decimation"]) == (100, "even")
    first = means[np.isfinite(means).all(1)]
    assert lists["mean_vectors"][0] == pytest.approx(first[0], abs=1e-6)
    assert lists["mean_vectors"][-1] == pytest.approx(first[-1], abs=1e-6)


def _bomb() -> bytes:
    out = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(out, "PNG")
    return out.getvalue()
