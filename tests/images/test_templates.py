"""Every template really builds, boots, accepts ssh, and its doctor answers.

Swapped: the base, for one made on this machine, and with it the version of Python, since only the
base's own is at hand. Left out: torch's wheels and what is compiled or installed against them
(requirements and sources of the GPU images). The rest is the template as it is.
"""

from __future__ import annotations

import json

import docker
import pytest

from devbox.images import build, plan, templates
from devbox.ssh import boxhalf, config
from devbox.ssh.connection import connect
from tests.images.conftest import PYTHON, started
from tests.images.engine import Engine

pytestmark = pytest.mark.xdist_group("docker")
GPU_LAYERS = ("torch", "requirements", "sources")
NAMES = [each.name for each in templates.catalogue()]
#: what an image must be able to run, by its template's settings
_TOOLS = {"video": "ffmpeg", "compiler": "gcc"}


@pytest.mark.parametrize("name", NAMES)
def test_it_builds_boots_and_its_doctor_answers(
    engine: Engine, client: docker.DockerClient, name: str
) -> None:
    template = templates.get(name)
    wanted = plan.plan(
        name,
        None,
        args={"BASE": engine.base, "PYTHON": PYTHON},
        without=GPU_LAYERS if template.torch else (),
    )
    made = build.build(client.api, wanted)
    with started(client, made.reference) as box:
        config.publish([box])
        with connect(box) as connection:
            remote = boxhalf.install(connection)
            before = client.images.get(made.id).attrs["Created"]
            assert before  # the image itself brought it:
            baked = connection.run(["readlink", boxhalf.LINK]).out.strip()
            assert remote.endswith(baked)
            doctor = connection.run(boxhalf.command("doctor"), timeout=120)
            levels = {row["what"]: row["level"] for row in json.loads(doctor.out)["checks"]}
            assert "fail" not in levels.values(), levels
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
        config.forget(box)


def test_no_image_holds_a_host_key(engine: Engine, client: docker.DockerClient) -> None:
    wanted = plan.plan("cpu", None, args={"BASE": engine.base, "PYTHON": PYTHON})
    made = build.build(client.api, wanted)
    search = ["find", "/", "-xdev", "-name", "ssh_host_*", "-o", "-xdev", "-name", "host_key"]
    assert client.containers.run(made.reference, search, user="root", remove=True) == b""
