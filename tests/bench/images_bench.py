"""Image builds against plain `docker build`, on a real engine: unchanged, after a one-line edit;
and hashing a large context. Ours is the whole `devbox image build` process unless said

The peer builds the same Dockerfile and files with the docker command line, with BuildKit where
one that has it is installed. The base image stands for the template's, which needs a registry.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from devbox.images import build, context, plan, prune, render
from devbox.providers.docker.engine import Engine
from tests.bench.rows import Row, median, ms, paired
from tests.images.engine import BASE, with_base
from tests.images.engine import Engine as BaseEngine

_FILES = 300  # of the project that is built
_HASHED = 50_000
_PYTHON = "3.11"
_PEER = "devbox-tests/peer"
_OURS = ("--label", "devbox.image=peer", "--label", "devbox.project=bench")


def rows(home: Path) -> list[Row]:
    """home: an empty folder that is HOME and holds DEVBOX_HOME."""
    with with_base() as engine:
        environment = {**os.environ, "DOCKER_HOST": engine.host, "DOCKER_BUILDKIT": "1"}
        found = [_unchanged(home, environment), *_edited(home, environment)]
        _clean(engine)
    return [*found, _hash(home)]


def _clean(engine: BaseEngine) -> None:
    """What was built goes; the engine's cache keeps the layers, and with them the next run."""
    client = engine.client()
    prune.prune(client.api, project="bench", keep=0)
    client.close()


def _unchanged(home: Path, environment: dict[str, str]) -> Row:
    took = median(_ours(_project(home), environment), runs=7)
    return Row("image build, unchanged", ms(took), "", ms(took), "≤ 1 s", took <= 1)


def _edited(home: Path, environment: dict[str, str]) -> list[Row]:
    """The build by itself, and the whole command beside `docker build` and the start of a Python
    that has imported the docker package, which no Python program gets around."""
    mine, theirs = _project(home), _project(home)
    render.write(render.render("cpu", "docker"), theirs)
    docker, builder = _docker(theirs, environment)
    args = ["--build-arg", f"BASE={BASE}", "--build-arg", f"PYTHON={_PYTHON}"]
    plain = _after_edit(
        theirs, _run([docker, "build", *args, "-t", _PEER, *_OURS, "."], theirs, environment)
    )
    engine = Engine(environment["DOCKER_HOST"])

    def build_it() -> object:
        args = {"BASE": BASE, "PYTHON": _PYTHON}
        wanted = plan.plan("cpu", mine, project="bench", args=args)
        return engine.call("building", lambda api: build.build(api, wanted))

    name = f"image build after a one-line edit, {_FILES} files"
    ours, peer, ratio = paired(_after_edit(mine, build_it), plain, runs=9)
    beside = f"docker build ({builder}) {ms(peer)}"
    found = [Row(name, ms(ours), beside, f"{ratio:.2f}×", "≤ 1.3×", ratio <= 1.3)]
    start = median(_run([sys.executable, "-c", "import docker"], home, environment), runs=7)
    whole, peer, _ = paired(_after_edit(mine, _ours(mine, environment)), plain, runs=7)
    beside = f"docker build + import docker {ms(peer + start)}"
    ratio = whole / (peer + start)
    found.append(Row("… as a command", ms(whole), beside, f"{ratio:.2f}×", "", None))
    return found


def _hash(home: Path) -> Row:
    root = Path(tempfile.mkdtemp(dir=home))
    for number in range(_HASHED):
        folder = root / f"d{number % 500}"
        folder.mkdir(exist_ok=True)
        (folder / f"f{number}.py").write_text(f"value = {number}\n" * 40)
    took = median(lambda: context.collect(root), runs=5)
    return Row(
        f"hash a context of {_HASHED:,} files", ms(took), "", ms(took), "≤ 1.5 s", took <= 1.5
    )


def _project(home: Path) -> Path:
    root = Path(tempfile.mkdtemp(dir=home))
    (root / "devbox.toml").write_text('project = "bench"\n[boxes.b]\n')
    (root / "main.py").write_text("print(0)\n")
    for number in range(_FILES):
        (root / f"module_{number}.py").write_text(f"value = {number}\n" * 100)
    return root


def _ours(root: Path, environment: dict[str, str]) -> Callable[[], object]:
    devbox = str(Path(sys.executable).parent / "devbox")
    args = ["--arg", f"BASE={BASE}", "--arg", f"PYTHON={_PYTHON}"]
    return _run([devbox, "image", "build", "cpu", "-q", *args], root, environment)


def _after_edit(root: Path, action: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        (root / "main.py").write_text(f"print({os.urandom(8).hex()!r})\n")
        return action()

    return run


def _run(argv: list[str], root: Path, environment: dict[str, str]) -> Callable[[], object]:
    return lambda: subprocess.run(argv, cwd=root, env=environment, check=True, capture_output=True)


def _docker(root: Path, environment: dict[str, str]) -> tuple[str, str]:
    """A docker command line and the builder it uses: one with BuildKit, else any."""
    folders = [*os.get_exec_path(), "/usr/bin"]
    found = [path for folder in folders if (path := shutil.which("docker", path=folder))]
    for path in found:
        probe = subprocess.run(
            [path, "build", "-q", "--build-arg", f"BASE={BASE}", "-f", "-", str(root)],
            input=f"FROM {BASE}\n",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if probe.returncode == 0:
            return path, "BuildKit"
    environment["DOCKER_BUILDKIT"] = "0"
    return found[0], "classic"
