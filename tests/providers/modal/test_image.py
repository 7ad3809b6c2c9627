"""What a spec says about the image, as Modal's client is told it."""

from __future__ import annotations

from pathlib import Path

from devbox import paths
from devbox.providers.modal.image import image_for
from devbox.spec import BoxSpec


def test_build_arguments_are_defaults_of_the_dockerfile(home: Path) -> None:
    del home
    image_for(BoxSpec(image="cpu", build_args={"PIP_INDEX": "https://h/packages"}))
    (file,) = (paths.cache_dir() / "images").glob("cpu-*/Dockerfile")
    assert '\nARG PIP_INDEX="https://h/packages"\n' in file.read_text()
