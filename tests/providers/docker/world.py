"""A real engine with an image that boxes can start from, and a name space in it for one test."""

from __future__ import annotations

import atexit
import functools
import io
import uuid
from contextlib import ExitStack
from typing import Any

import docker
from docker.errors import ImageNotFound, NotFound
from filelock import FileLock

from tests.images.engine import BASE, Engine, _cache, _import_base, running

IMAGE = "devbox-tests/box:1"
PLAIN = "devbox-tests/plain:1"
_PACKAGES = "openssh-server python3 rsync procps"
_DOCKERFILE = f"""\
FROM {BASE}
RUN apt-get update \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {_PACKAGES} \\
 && rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_*
RUN useradd --create-home --uid 1000 --shell /bin/bash person
ENV PATH=/opt/ours/bin:/usr/local/bin:/usr/bin:/bin FROM_IMAGE=yes
"""


@functools.cache
def engine() -> str:
    """The address of an engine that holds IMAGE (root), PLAIN (user 1000) and the bare base; it
    runs as long as this process."""
    stack = ExitStack()
    atexit.register(stack.close)
    host = stack.enter_context(running())
    with FileLock(_cache() / "base.lock"):
        _import_base(Engine(host, BASE))
    with FileLock(_cache() / "box.lock"):
        client = docker.APIClient(host, timeout=600)
        for tag, more in ((IMAGE, ""), (PLAIN, "USER 1000\n")):
            try:
                client.inspect_image(tag)
            except ImageNotFound:
                _build(client, tag, _DOCKERFILE + more)
        client.close()
    return host


def _build(client: Any, tag: str, dockerfile: str) -> None:
    """Boxes are named by what they start from, so that a failed one leaves none."""
    lines = client.build(
        fileobj=io.BytesIO(dockerfile.encode()), tag=tag, rm=True, network_mode="host", decode=True
    )
    said = [str(line.get("stream", line.get("error", ""))) for line in lines]
    assert any("Successfully tagged" in line for line in said), "".join(said[-20:])


class Space:
    """The containers of one name space, seen behind the provider's back."""

    def __init__(self) -> None:
        self.namespace = f"t{uuid.uuid4().hex[:12]}"
        self.client = docker.APIClient(engine(), timeout=120)

    def containers(self, *, every: bool = True) -> list[dict[str, Any]]:
        """As `docker ps`, with those that do not run too."""
        labels = {"label": f"devbox.namespace={self.namespace}"}
        found: list[dict[str, Any]] = self.client.containers(all=every, filters=labels)
        return found

    def inspect(self, handle: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.inspect_container(handle)
        return found

    def close(self) -> None:
        self.clear()
        self.client.close()

    def clear(self) -> None:
        """Remove all of them."""
        for each in self.containers():
            try:
                self.client.remove_container(each["Id"], v=True, force=True)
            except NotFound:
                continue  # why: gone meanwhile
