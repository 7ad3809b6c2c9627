"""The engine fixture itself: a container of the base image runs."""

from __future__ import annotations

from tests.images.engine import Engine


def test_a_container_of_the_base_image_runs(engine: Engine) -> None:
    client = engine.client()
    try:
        said = client.containers.run(engine.base, ["cat", "/etc/debian_version"], remove=True)
    finally:
        client.close()
    assert said.startswith(b"12.")
