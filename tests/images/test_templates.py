"""Every template really builds, boots, accepts ssh, and its doctor answers; every line of it runs.

What a GPU vendor's registry would give is swapped through the templates' own arguments: the base,
for one made on this machine, and with it the version of Python, since only the base's own is at
hand; PyTorch's wheels and the systems' sources, for packages of the same names and versions
(tests/images/standins.py). The rest is the template as it is, with the pinned packages it names.
"""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import docker
import pytest

from devbox.images import build, plan, render, templates
from devbox.remote import agent_bootstrap
from devbox.remote.config import ssh_config
from devbox.remote.connection import Connection, connect
from tests.images import standins
from tests.images.conftest import PYTHON, started
from tests.images.engine import Engine
from tests.remote.sshd import wait_until

pytestmark = pytest.mark.xdist_group("docker")
NAMES = [each.name for each in templates.catalogue()]
#: what an image must be able to run, by its template's settings
_TOOLS = {"video": "ffmpeg", "compiler": "gcc"}
#: a ball, drawn without a display: by Mesa where there is no GPU
_RENDER = """
import numpy, pyrender, trimesh
scene = pyrender.Scene()
scene.add(pyrender.Mesh.from_trimesh(trimesh.creation.icosphere()))
at = numpy.eye(4)
at[2, 3] = 3
scene.add(pyrender.PerspectiveCamera(yfov=1.0), pose=at)
print((pyrender.OffscreenRenderer(64, 64).render(scene)[1] > 0).sum())
"""
#: where a system takes another version than one of its packages asks for, or a wheel's own tag is
#: wrong: PHALP's PyOpenGL, OpenCV without a display, decord
_MEANT = re.compile("pyopengl==|requires `opencv-python`|`decord` was built")


@pytest.mark.parametrize("name", NAMES)
def test_it_builds_boots_and_its_doctor_answers(
    engine: Engine, client: docker.DockerClient, name: str
) -> None:
    template = templates.get(name)
    wanted = plan.plan(name, None, args=standins.args(engine, PYTHON))
    made = build.build(client.api, wanted)
    with started(client, made.reference) as box:
        ssh_config.publish([box])
        with connect(box) as connection:
            remote = agent_bootstrap.install(connection)
            before = client.images.get(made.id).attrs["Created"]
            assert before  # the image itself brought it:
            baked = connection.run(["readlink", agent_bootstrap.LINK]).out.strip()
            assert remote.endswith(baked)
            doctor = connection.run(agent_bootstrap.command("doctor"), timeout=120)
            levels = {row["what"]: row["level"] for row in json.loads(doctor.out)["checks"]}
            failed = [what for what, level in levels.items() if level == "fail"]
            assert failed == [f"{each} but sees no GPU" for each in _blind(template)]
            assert "rsync found" in levels
            assert connection.run(["id", "-u"]).out == "1000\n"
            assert connection.run(["sh", "-c", "touch /app/x && pip --version"]).out
            python = connection.run(["python3", "-c", "import sys; print(sys.prefix)"])
            assert python.out == "/opt/venv\n"
            for field, tool in _TOOLS.items():
                if getattr(template, field):
                    connection.run(["sh", "-c", f"command -v {tool}"])
            told = connection.run(["sh", "-c", "echo $PYOPENGL_PLATFORM"]).out.strip()
            assert told == ("egl" if template.egl else "")
            if template.egl:
                connection.run(["sh", "-c", "ldconfig -p | grep -q libEGL.so.1"])
            pins = _pins(template)
            assert pins <= _installed(connection)
            if any(pin.startswith("pyrender==") for pin in pins):
                assert int(connection.run(["python3", "-c", _RENDER], timeout=120).out) > 0
            modules = standins.modules(wanted.dockerfile)
            assert bool(modules) == template.sources
            connection.run(["python3", "-c", f"import {', '.join(['sys', *modules])}"])
            agreed = connection.run(["uv", "pip", "check"], check=False)
            odd = [line for line in agreed.err.splitlines() if line.startswith("The package")]
            assert [line for line in odd if not _MEANT.search(line)] == []
        ssh_config.forget(box)


@pytest.mark.parametrize("name", ["cpu", "stick-gen"])
def test_a_spaces_dockerfile_builds_and_serves_its_port(
    engine: Engine, client: docker.DockerClient, root: Path, name: str
) -> None:
    render.write(render.render(name, "space", args=standins.args(engine, PYTHON)), root)
    made = build.build(client.api, plan.plan("./Dockerfile", root, project="space"))
    served = client.containers.run(
        made.reference, detach=True, ports={"7860/tcp": ("127.0.0.1", 0)}, init=True
    )
    try:
        served.reload()
        port = int(served.ports["7860/tcp"][0]["HostPort"])
        wait_until(lambda: b"A dev box is running" in _page(port), f"{name} answers", 60)
        assert served.exec_run("stat -c '%u %n' /app /app/main.py /opt/venv").output == (
            b"1000 /app\n1000 /app/main.py\n1000 /opt/venv\n"
        )
        assert served.exec_run("sh -c 'id -u; command -v sshd rsync git-lfs wget'").output[:5] == (
            b"1000\n"
        )
    finally:
        served.remove(force=True)


def _page(port: int) -> bytes:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return bytes(answer.read())
    except OSError:
        return b""


def _blind(template: templates.Template) -> list[str]:
    """What the doctor says of torch where there is no GPU."""
    version = (template.torch or ("",))[0].partition("==")[2]
    return [f"torch {version} is built for CUDA {template.cuda}"] if version else []


def _pins(template: templates.Template) -> set[str]:
    lines = templates.requirements(template).decode().splitlines()
    return {_normal(line) for line in [*lines, *template.torch]}


def _installed(connection: Connection) -> set[str]:
    listed = connection.run(["pip", "list", "--format", "freeze", "--disable-pip-version-check"])
    return {_normal(line) for line in listed.out.splitlines()}


def _normal(line: str) -> str:
    """name==version with the name as indexes compare it."""
    name, _, version = line.partition("==")
    return f"{re.sub('[-_.]+', '-', name.lower())}=={version}"


def test_no_image_holds_a_host_key(engine: Engine, client: docker.DockerClient) -> None:
    wanted = plan.plan("cpu", None, args=standins.args(engine, PYTHON))
    made = build.build(client.api, wanted)
    search = ["find", "/", "-xdev", "-name", "ssh_host_*", "-o", "-xdev", "-name", "host_key"]
    assert client.containers.run(made.reference, search, user="root", remove=True) == b""
