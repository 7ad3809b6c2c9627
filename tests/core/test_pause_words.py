"""What a pause keeps is said alike by the providers, the help, the guide and the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from devbox.cli.stop import pause_command
from devbox.providers.abilities import CanPause
from devbox.providers.base import Provider
from devbox.providers.docker.provider import Docker
from devbox.providers.hf.job import HfJob
from devbox.providers.hf.space import HfSpace
from devbox.providers.host.provider import Host
from devbox.providers.local.provider import Local
from devbox.providers.modal.provider import Modal
from devbox.spec import BoxSpec, Volume

DOCS = Path(__file__).parents[2]
PROVIDERS: list[type[Provider]] = [Local, Host, Docker, Modal, HfSpace, HfJob]


def rows(text: str, name: str) -> list[str]:
    return [
        line for line in text.splitlines() if re.match(rf"(\| .*`{name}`|  .*\b{name}\b)", line)
    ]


@pytest.mark.parametrize("kind", PROVIDERS)
def test_help_and_guide_tell_what_a_pause_keeps(kind: type[Provider]) -> None:
    provider = object.__new__(kind)
    kept = provider.pause_keeps(BoxSpec())
    says = "volumes" if not kept.disk else "its files"
    says = says if issubclass(kind, CanPause) else "cannot be paused"
    help_ = CliRunner().invoke(pause_command, ["--help"]).output
    guide = (DOCS / "docs" / "sync.md").read_text()
    for text in (help_, guide):
        found = rows(text, kind.name)
        assert found
        assert says in found[-1], (kind.name, found)


def test_a_space_names_the_volumes_that_a_pause_keeps() -> None:
    space = object.__new__(HfSpace)
    assert space.pause_keeps(BoxSpec()).words == "none of its files"
    volume = Volume(source="me/data", mount="/data")
    words = space.pause_keeps(BoxSpec(volumes={"d": volume})).words
    assert words == "only its volumes: /data (me/data)"
