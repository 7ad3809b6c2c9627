"""Each project template is one that works as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from devbox import spec, templates
from devbox.cli.main import cli
from devbox.images import templates as images
from devbox.jobs import catalogue
from devbox.spec import Spec

NAMES = [template.name for template in templates.catalogue()]
_VERB = re.compile(r"^ *(devbox [^#\n]*)", re.MULTILINE)


@pytest.fixture(params=NAMES)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "walk"
    folder.mkdir()
    templates.write(templates.get(request.param), folder)
    return folder


@pytest.fixture
def loaded(project: Path) -> Spec:
    return spec.load(project / spec.FILE_NAME)


def test_it_is_named_by_its_folder_and_holds_no_placeholder(project: Path, loaded: Spec) -> None:
    assert "{project}" not in (project / spec.FILE_NAME).read_text()
    assert loaded.boxes, "a template has a box"


def test_its_images_and_settings_exist(loaded: Spec) -> None:
    known = {template.name for template in images.catalogue()}
    for box in loaded.boxes.values():
        assert box.image in {"", *known}


def test_a_bundled_job_that_it_names_finds_its_checkpoints(project: Path, loaded: Spec) -> None:
    jobs = catalogue.all_jobs(loaded)
    readme = project / "README.md"
    text = (project / spec.FILE_NAME).read_text() + (readme.read_text() if readme.exists() else "")
    for name in re.findall(r"devbox (?:run|serve) ([a-z][a-z0-9-]*) ?--", text):
        if name in jobs:
            lacking = [each for each in jobs[name].checkpoints if not loaded.checkpoint(each)]
            assert not lacking


def test_its_commands_are_verbs(project: Path) -> None:
    texts = [path.read_text() for path in project.iterdir() if path.suffix in (".md", ".toml")]
    verbs = cli.list_commands(click.Context(cli))
    for line in _VERB.findall("\n".join(texts).replace("# ", "\n")):
        assert line.split()[1] in verbs, line
