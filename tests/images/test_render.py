"""Templates as Dockerfiles: every one, for every target."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox.errors import NotFound, UsageError
from devbox.images import dockerfile, lint, render, templates
from devbox.images.render import Target

NAMES = [each.name for each in templates.catalogue()]
TARGETS: list[Target] = ["docker", "space", "modal"]


def test_what_there_is() -> None:
    assert set(NAMES) >= {
        *("cuda12.1", "cuda12.1-runtime", "cuda12.6", "cuda12.6-runtime", "cpu"),
        *("sam-body4d", "4d-humans", "depth-anything-3", "sharp", "stick-gen"),
    }
    assert templates.get("cuda12.1-runtime").base.split("-")[2] == "runtime"
    with pytest.raises(NotFound, match="no image template"):
        templates.get("cuda12")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NAMES)
def test_every_template_is_without_findings(name: str, target: Target) -> None:
    template = templates.get(name)
    made = render.render(name, target)
    assert "{{" not in made.dockerfile
    found = lint.lint(
        made.dockerfile,
        requirements=templates.requirements(template),
        systems=template.systems,
        dev_mode=target != "modal",
    )
    assert found == []


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NAMES)
def test_what_it_copies_is_among_its_files(name: str, target: Target) -> None:
    made = render.render(name, target)
    copied = {
        each.text.split()[0]
        for each in dockerfile.parse(made.dockerfile)
        if each.word == "COPY" and each.text.split()[0] != "."
    }
    assert copied <= set(made.files)
    assert set(made.files) - copied <= {
        f"{render.FOLDER}/{name}" for name in ("serve.py", "supervise.py")
    }


def test_the_project_comes_last_and_runs_as_uid_1000() -> None:
    for target in ("docker", "space"):
        steps = dockerfile.parse(render.render("sam-body4d", target).dockerfile)
        assert (steps[-1].word, steps[-1].text) == ("COPY", ". /app")
        assert [each.text for each in steps if each.word == "USER"][-1] == "1000"
    modal = dockerfile.parse(render.render("sam-body4d", "modal").dockerfile)
    assert [each.text for each in modal if each.word == "USER"][-1] == "root"
    assert not any(each.text == ". /app" for each in modal)


def test_a_layer_can_be_left_out_with_its_files() -> None:
    without = render.render("4d-humans", without=["torch", "sources", "box", "code"])
    assert "TORCH_INDEX" not in without.dockerfile
    assert "detectron2" not in without.dockerfile
    assert not any(path.endswith(".pyz") for path in without.files)
    bare = render.render("4d-humans", without=["python"]).dockerfile
    assert "uv " not in bare
    with pytest.raises(UsageError, match="no layer 'toch'"):
        render.render("cpu", without=["toch"])


def test_the_base_is_an_argument_with_another_default_on_demand() -> None:
    text = render.render("cpu", base="debian:bookworm-slim").dockerfile
    assert "ARG BASE=debian:bookworm-slim\nFROM ${BASE}\n" in text


@pytest.mark.parametrize("target", TARGETS)
def test_arguments_for_a_builder_that_takes_none(target: Target) -> None:
    odd = 'a "b" $C \\\n'
    args = {"PIP_INDEX": "https://h/packages", "BASE": "debian:12", "PYTHON": odd, "NO_SUCH": "x"}
    text = render.render("cpu", target, args=args).dockerfile
    assert text.splitlines()[1:3] == ['ARG BASE="debian:12"', "FROM ${BASE}"]
    assert 'ARG PIP_INDEX="https://h/packages"\n' in text
    assert "NO_SUCH" not in text
    told = [each.raw for each in dockerfile.parse(text) if each.raw.startswith("PYTHON=")]
    assert told == ['PYTHON="a \\"b\\" \\$C \\\\ "']


def test_written_files_are_left_alone_when_equal(home: Path) -> None:
    made = render.render("cpu", "modal")
    render.write(made, home / "out")
    file = home / "out" / "Dockerfile"
    before = file.stat().st_mtime_ns
    render.write(made, home / "out")
    assert file.stat().st_mtime_ns == before
    assert file.read_text() == made.dockerfile


def test_the_same_template_is_the_same_bytes() -> None:
    assert render.render("sharp") == render.render("sharp")
