"""`devbox image` as typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import docker
import pytest

from tests import warm
from tests.images.engine import Engine
from tests.images.registry import registry

__all__ = ["registry"]
Devbox = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def devbox(root: Path) -> Devbox:
    """devbox("image", …, code=0, host="") runs it in the project's folder."""
    (root / "devbox.toml").write_text('project = "demo"\n[boxes.b]\n')

    def run(*argv: str, code: int = 0, host: str = "") -> subprocess.CompletedProcess[str]:
        done = warm.run(
            [sys.executable, "-m", "devbox.cli.main", *argv],
            cwd=root,
            env={**os.environ, **({"DOCKER_HOST": host} if host else {})},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


def test_ls_render_and_lint(devbox: Devbox, root: Path) -> None:
    listed = json.loads(devbox("image", "ls", "--json").stdout)
    assert (listed["version"], listed["kind"]) == (1, "images")
    assert "cuda12.1" in {each["name"] for each in listed["templates"]}
    assert "cuda12.6" in devbox("image", "ls").stdout
    text = devbox("image", "render", "sharp", "--target", "space").stdout
    assert text.startswith("# Made by devbox")
    assert "EXPOSE 7860" in text
    devbox("image", "render", "cpu", "--write", "out")
    assert (root / "out" / ".devbox-image" / "boot").is_file()
    (root / "README.md").write_text("# Mine\n")
    devbox("image", "render", "cpu", "--target", "space", "--write", ".")
    assert (root / ".devbox-image" / "serve.py").is_file()
    readme = (root / "README.md").read_text()
    assert readme.startswith("---\ntitle: demo\n")
    assert "sdk: docker" in readme
    assert readme.endswith("---\n# Mine\n")
    devbox("image", "render", "cpu", "--target", "space", "--write", ".")
    assert (root / "README.md").read_text() == readme
    assert devbox("image", "lint", "cpu", "sharp", "sam-body4d").stdout == ""
    (root / "Dockerfile").write_text("FROM x\nENV API_TOKEN=abc\n")
    found = devbox("image", "lint", "./Dockerfile", code=1).stdout
    assert "./Dockerfile: error secret: line 2: ENV API_TOKEN" in found
    rows = json.loads(devbox("image", "lint", "./Dockerfile", "--json", code=1).stdout)["findings"]
    assert {"image", "level", "rule", "line", "message"} == set(rows[0])
    assert "no image template" in devbox("image", "render", "nope", code=4).stderr


@pytest.mark.xdist_group("docker")
def test_build_push_and_prune(
    devbox: Devbox, root: Path, engine: Engine, client: docker.DockerClient, registry: str
) -> None:
    args = ["./Dockerfile", "--arg", f"BASE={engine.base}"]
    (root / "Dockerfile").write_text("ARG BASE=x:1\nFROM ${BASE}\nCOPY . /app\n")
    (root / "main.py").write_text(f"print({os.getpid()})\n")
    built = devbox("image", "build", *args, host=engine.host)
    reference = built.stdout.strip()
    assert reference.startswith("devbox/demo/project:")
    assert "COPY . /app" in built.stderr
    again = devbox("image", "build", *args, "--json", host=engine.host)
    said = json.loads(again.stdout)
    assert (said["reference"], said["fresh"]) == (reference, False)
    pushed = devbox("image", "push", f"{registry}/demo/cpu", *args, "-q", host=engine.host)
    assert pushed.stdout.startswith(f"{registry}/demo/cpu@sha256:")
    client.images.remove(f"{registry}/demo/cpu:{reference.rpartition(':')[2]}")
    removed = devbox("image", "prune", "--keep", "0", "--yes", host=engine.host)
    assert reference in removed.stdout


@pytest.mark.xdist_group("docker")
def test_what_only_a_space_needs_stops_only_a_space(
    devbox: Devbox, root: Path, engine: Engine, client: docker.DockerClient
) -> None:
    (root / "Dockerfile").write_text(f"FROM {engine.base}\nCOPY . /app\n")
    built = devbox("image", "build", "./Dockerfile", host=engine.host)
    assert "lint: error dev-mode" in built.stderr
    client.images.remove(built.stdout.strip())
    box = '[boxes.b]\nprovider = "hf-space"\nimage = "./Dockerfile"\n'
    (root / "devbox.toml").write_text(f'project = "demo"\n{box}')
    refused = devbox("image", "build", host=engine.host, code=3)
    assert "--no-lint" in refused.stderr


@pytest.mark.xdist_group("docker")
def test_a_build_stops_before_the_engine(devbox: Devbox, root: Path, engine: Engine) -> None:
    (root / "Dockerfile").write_text(f"FROM {engine.base}\nARG API_TOKEN\n")
    refused = devbox("image", "build", "./Dockerfile", host=engine.host, code=3)
    assert "lint: error secret" in refused.stderr
    assert "--no-lint" in refused.stderr
    (root / ".env").write_text("A=1\n")
    stopped = devbox("image", "build", "cpu", host=engine.host, code=2)
    assert ".env" in stopped.stderr
    assert "nothing was sent or built" in stopped.stderr


def test_no_engine_and_no_value(devbox: Devbox) -> None:
    nobody = devbox("image", "build", "cpu", host="unix:///tmp/no-engine-here", code=6)
    assert "there is no Docker engine" in nobody.stderr
    for option in ("--arg", "--secret"):
        assert "NAME=VALUE" in devbox("image", "build", "cpu", option, "x", code=2).stderr
    plain = devbox("image", "build", "cpu", "--secret", "t=hf_thesecretitself", code=2)
    assert "thesecretitself" not in plain.stderr
