"""`devbox init`: three questions at a terminal, none with options; boxes without a devbox.toml."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devbox import spec
from tests.command_line import Devbox
from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator
from tests.terminal import type_at

INIT = [sys.executable, "-m", "devbox.cli.main", "init"]
ASKED = "answer [1]: "


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HfEmulator]:
    """A Hub whose prices anybody may ask for; there are no credentials, and no Docker engine."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{home}/none.sock")
    with HfEmulator(state_dir=home / "hub") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


def test_three_answers_make_a_box(hub: HfEmulator, project: Path) -> None:
    answers = [(ASKED, "hf-spce"), (ASKED, "hf-space"), (ASKED, "l40s"), (ASKED, "me/image:1")]
    done = type_at(INIT, answers)
    assert done.code == 0, done.screen
    assert "did you mean hf-space?" in done.screen
    row = next(line for line in done.screen.splitlines() if " L40S " in line)
    assert "$1.80/h" in row
    assert "hf-job $1.80/h, modal $" in row, "without credentials, as these prices are published"
    box = spec.load(project / "devbox.toml").boxes["project"]
    assert (box.provider, box.gpu, box.image) == ("hf-space", "L40S", "me/image:1")
    assert "next: devbox up" in done.screen

    again = type_at(INIT)
    assert again.code == 5, "an existing file is never overwritten, and nothing is asked"
    assert "Where?" not in again.screen


def test_enter_takes_the_first_answers(hub: HfEmulator, project: Path) -> None:
    done = type_at(INIT, [(ASKED, "")])
    assert done.code == 0, done.screen
    assert spec.load(project / "devbox.toml").boxes["project"].provider == "local"


def test_what_cannot_be_asked_is_unknown_and_not_free(hub: HfEmulator, project: Path) -> None:
    done = type_at(INIT, [(ASKED, "docker"), (ASKED, "")])
    assert done.code == 0, done.screen
    assert "docker: its hardware and prices are unknown for now: asking the engine" in done.screen
    assert "$0" not in done.screen


def test_options_ask_nothing(hub: HfEmulator, devbox: Devbox, project: Path) -> None:
    which = devbox("init", "--gpu", "L40S")
    assert which.code == 2
    assert "L40S is at hf-space for $1.80/h (" in which.err
    assert "hf-job for $1.80/h (" in which.err
    assert "fix: devbox init --provider hf-space --gpu L40S" in which.err
    for words, said in (
        (["--provider", "hf-space", "--gpu", "L40"], "offers nothing with L40: its GPUs are"),
        (["--provider", "ssh"], "say which one"),
        (["--provider", "local", "--host", "me@lab"], "host is a key of ssh boxes"),
        (["--provider", "nowhere"], "there is no provider"),
        (["sharp", "--gpu", "L40S"], "not both"),
    ):
        refused = devbox("init", *words)
        assert (refused.code in (2, 3, 4), said in refused.err) == (True, True), refused.err
        assert not (project / "devbox.toml").exists()
    done = devbox("init", "--provider", "hf-space", "--gpu", "A100-80GB")
    assert done.code == 0, done.err
    assert "hf-space a100-large: $2.50/h (" in done.err
    assert spec.load(project / "devbox.toml").boxes["project"].gpu == "A100-80GB"


def test_a_hub_that_fails_leaves_its_dated_prices(
    hub: HfEmulator, devbox: Devbox, project: Path
) -> None:
    hub.knobs.set("space_hardware", Fault.server_error(), times=None)
    done = devbox("init", "--provider", "hf-space", "--gpu", "L40S")
    assert done.code == 0, done.err
    assert "$1.80/h (catalogue" in done.err


def test_a_box_without_a_file_is_a_box_like_any_other(devbox: Devbox, project: Path) -> None:
    (project / "mine.txt").write_text("not to be sent")
    config = project.parent / ".devbox" / "config.toml"
    config.parent.mkdir(exist_ok=True)
    config.write_text('[defaults]\nmax_uptime = "3h"\n')
    refused = devbox("up")
    assert refused.code == 4
    made = devbox("up", "--provider", "local")
    assert made.code == 0, made.err
    assert "max_uptime 3h" in made.err, "[defaults] count"
    assert "no devbox.toml here, so no files are sent" in made.err
    (box,) = devbox("ls", "--json").data["boxes"]
    assert (box["name"], box["state"]) == ("project", "running")
    assert "mine.txt" not in devbox("exec", "project", "ls").out
    assert "is up already" in devbox("up").err
    assert devbox("pause").code == 0
    assert devbox("up").code == 0, "it is resumed with what it was made from"
    assert devbox("status", "project", "--json").data["state"] == "running"
    assert devbox("down", "--yes").code == 0
    assert list(project.iterdir()) == [project / "mine.txt"]
    named = devbox("up", "other", "--provider", "local", "--no-wait")
    assert named.code == 0, named.err
    assert devbox("down", "other", "--yes").code == 0
    assert devbox("up", "--provider", "ssh").code == 2
