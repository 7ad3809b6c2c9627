"""The SHARP service as a Modal app: `devbox deploy --modal` through Modal's own client to the
emulator, then what it deployed run here as a container would: the module and function by their
names, with the environment that was sent, fetching the checkpoint first."""

from __future__ import annotations

import functools
import hashlib
import http.server
import importlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from devbox import spec
from devbox.box.services import hosted
from tests.command_line import Devbox, devbox, project
from tests.contract.harness_modal import ModalHarness
from tests.emulators.modal import ModalEmulator
from tests.sharp.conftest import jpeg, small
from tests.sharp.test_service import Server

__all__ = ["devbox", "project"]


@pytest.fixture
def emulator(home: Path) -> Iterator[ModalEmulator]:
    harness = ModalHarness(home)
    yield harness.emulator
    harness.close()


@pytest.fixture
def source(checkpoint: Path) -> Iterator[str]:
    """Where the checkpoint is fetched from."""
    handler = functools.partial(_Quiet, directory=str(checkpoint.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{checkpoint.name}"
        server.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def walk(project: Path, devbox: Devbox, source: str, checkpoint: Path) -> Path:
    """`devbox init sharp`, with the weights from here and the Volume in the project's folder."""
    assert devbox("init", "sharp").code == 0
    toml = (project / "devbox.toml").read_text()
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    upstream = "https://ml-site.cdn-apple.com/models/sharp/sharp_2572gikvuh.pt"
    assert upstream in toml
    toml = toml.replace(f'"{upstream}"', f'"{source}"\nsha256 = "{digest}"')
    (project / "devbox.toml").write_text(toml.replace('"/checkpoints', f'"{project}/volume'))
    spec.trust_file(project / "devbox.toml")
    return project


def container(emulator: ModalEmulator, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The function as Modal's runtime finds it, its environment set."""
    definition = emulator.functions[name].definition
    for secret in definition.secret_ids:
        for key, value in emulator.world.secrets[secret].values.items():
            monkeypatch.setenv(key, value)
    monkeypatch.setattr(hosted, "_direct", None)
    return getattr(importlib.import_module(definition.module_name), definition.implementation_name)


def test_the_template_becomes_an_app_that_answers_as_the_service_does(
    walk: Path,
    devbox: Devbox,
    emulator: ModalEmulator,
    photo: Image.Image,
    upstream: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = devbox("deploy", "--modal", "--check")
    assert looked.out.splitlines()[0] == "would deploy project-sharp"
    assert "L4, about $" in looked.out
    assert emulator.world.apps == {}
    done = devbox("deploy", "--modal", "--arg", "max-gaussians=300", "--json")
    assert done.code == 0, done.err
    assert {key: done.data[key] for key in ("service", "app", "hardware", "function", "url")} == {
        "service": "sharp",
        "app": "project-sharp",
        "hardware": "L4",
        "function": "predict",
        "url": "https://emulated--project-sharp-web.modal.run",
    }
    web = emulator.functions["project-sharp/web"].definition
    assert web.resources.gpu_config.gpu_type == "L4"
    assert [mount.mount_path for mount in web.volume_mounts] == [f"{walk}/volume"]
    assert list(emulator.volumes) == ["devbox-checkpoints"]

    weights = walk / "volume" / "sharp_2572gikvuh.pt"
    assert not weights.exists()
    app = container(emulator, "project-sharp/web", monkeypatch)()
    assert weights.exists()
    server = Server(app)
    try:
        assert server.until("ready")["device"] == "cpu"
        image = jpeg(small(photo))
        over_http = server.post("/predict/ply", image)
        assert over_http.status_code == 200, over_http.text
        assert server.post("/predict", image).json()["metadata"]["returned"] == 300
    finally:
        server.close()

    predict = container(emulator, "project-sharp/predict", monkeypatch)
    assert predict(image, kind="ply") == over_http.content
    told = json.loads(predict(image, f_px=90.0, max_gaussians=5))["metadata"]
    assert (told["focal_px"], told["returned"]) == (90.0, 5)
    assert upstream.LOG.count("create") == 1
    with pytest.raises(ValueError, match="not a picture"):
        predict(b"hello")


def test_what_cannot_be_deployed_says_so_before_anything_is_sent(
    project: Path, devbox: Devbox, emulator: ModalEmulator
) -> None:
    toml = project / "devbox.toml"
    box = '[boxes.b]\nprovider = "local"\n'
    weights = '[checkpoints.sharp]\nsource = "hf://a/b/c.pt"\npath = "%s"\n'
    for text, words, said in (
        (box, (), "which service?"),
        (box, ("--service", "sharp", "--gpu", "L4"), "needs the checkpoint sharp"),
        (box + weights % "/w/c.pt", (), "no hardware is named"),
        (box + weights % "c.pt", ("--gpu", "L4"), "path is relative"),
        (box + weights % "/c.pt", ("--gpu", "L4"), "no folder in common"),
        (box + weights % "/w/c.pt", ("--gpu", "GTX1080"), "no hardware 'GTX1080'"),
        (box + weights % "/w/c.pt", ("--gpu", "L4", "--app", "A B"), "not a valid app name"),
        (box + weights % "/w/c.pt", ("--gpu", "L4", "--arg", "focal=wide"), "guide"),
    ):
        toml.write_text(text)
        spec.trust_file(toml)
        done = devbox("deploy", "--modal", *words)
        assert done.code != 0
        assert said in done.err
    for given, option in (
        (("--modal", "--prune"), "--prune is not for --modal"),
        (("--gpu", "L4"), "--gpu is for --modal"),
        (("--arg", "a=b"), "--arg is for --modal"),
    ):
        done = devbox("deploy", *given)
        assert (done.code, option in done.err) == (2, True), done.err
    assert emulator.world.apps == {}
