"""What people type: words of other tools, mistyped ones, and errors of one look."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from devbox.cli.main import _ELSEWHERE, GROUPS, cli
from devbox.model import UNKNOWN_PRICE, Hardware, Offer
from devbox.money import known

DEVBOX = [sys.executable, "-m", "devbox.cli.main"]
Typed = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def typed(project: Path) -> Typed:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*DEVBOX, *words], capture_output=True, text=True, check=False, cwd=project
        )

    return call


def test_a_word_of_another_tool_works_and_teaches_ours(typed: Typed) -> None:
    ours, theirs = typed("ls", "--json"), typed("list", "--json")
    assert (theirs.returncode, theirs.stdout) == (0, ours.stdout)
    assert theirs.stderr == "devbox list is: devbox ls\n"


def test_each_of_them_stands_for_a_verb() -> None:
    verbs = cli.list_commands(click.Context(cli))
    for word, ours in _ELSEWHERE.items():
        assert word not in verbs
        assert ours[0] in (*verbs, "--help", "--version")


def test_help_and_version(typed: Typed) -> None:
    assert typed("help").stdout == typed("--help").stdout
    assert typed("help", "up").stdout == typed("up", "--help").stdout
    assert typed("version").stdout == typed("--version").stdout


def test_a_word_inside_a_command_is_left_alone(typed: Typed) -> None:
    assert "name a box" in typed("ssh").stderr
    assert "devbox ls" not in typed("exec", "nowhere", "list").stderr.split("\n")[0]


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["stauts"], "did you mean devbox status?"),
        (["ls", "--jsno"], "did you mean --json?"),
        (["run", "trakc"], "did you mean track?"),
        (["serve", "poes"], "did you mean pose?"),
        (["image", "render", "sharpp"], "did you mean sharp?"),
    ],
)
def test_a_mistyped_word_gets_the_nearest(typed: Typed, words: list[str], near: str) -> None:
    done = typed(*words)
    assert done.returncode in (2, 4)
    assert near in done.stderr.split("fix: ")[1]


def test_mistyped_hardware_gets_the_nearest(typed: Typed, project: Path) -> None:
    (project / "devbox.toml").write_text('[boxes.b]\nhardware = "cpuu"\n')
    done = typed("up", "b")
    assert done.returncode == 4
    assert "did you mean cpu?" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpu", "L40S"], "provider local offers nothing with L40S"),
        (["--vram", "24"], "is not a size"),
        (["--max-uptime", "8"], "is not a duration"),
        (["--provider", "nowhere"], "there is no provider 'nowhere'"),
        (["--max-price", "-1"], "is not in the range"),
    ],
)
def test_options_of_up_are_checked_as_devbox_toml_is(
    typed: Typed, project: Path, words: list[str], said: str
) -> None:
    (project / "devbox.toml").write_text("[boxes.b]\n")
    done = typed("up", *words)
    assert done.returncode in (2, 3, 4)
    assert said in done.stderr
    assert json.loads(typed("ls", "--json").stdout)["boxes"] == []


def test_a_gpu_that_the_provider_lacks_is_looked_for_at_all(typed: Typed, project: Path) -> None:
    (project / "devbox.toml").write_text("[boxes.b]\n")
    done = typed("up", "--gpu", "L40S", "--vram", "40GB")
    fix = done.stderr.rpartition("compare with: devbox ")[2].splitlines()[0]
    assert fix == "offers --gpu L40S --vram 40.0GB"
    found = json.loads(typed(*fix.split(), "--json").stdout)["offers"]
    assert found
    assert {offer["hardware"]["gpu"] for offer in found} == {"L40S"}


@pytest.mark.parametrize(
    "words", [["nonsense"], ["ls", "extra"], ["exec"], ["up", "--nope"], ["cp", "a"], ["down"]]
)
def test_every_error_has_one_look(typed: Typed, words: list[str]) -> None:
    lines = typed(*words).stderr.splitlines()
    assert lines[0].startswith("error: ")
    assert lines[-1].startswith("fix: ")
    assert not any(line.startswith(("Usage:", "Error:", "Try ")) for line in lines)


@pytest.mark.parametrize(
    ("words", "code"), [(["status", "nobody", "--json"], 4), (["ls", "--json", "--nope"], 2)]
)
def test_an_error_with_json_is_json(typed: Typed, words: list[str], code: int) -> None:
    done = typed(*words)
    told = json.loads(done.stderr)
    assert done.stdout == ""
    assert (done.returncode, told["code"], told["kind"]) == (code, code, "error")
    assert told["what"]
    assert told["fix"]


def test_json_of_a_program_on_the_box_is_not_ours(typed: Typed) -> None:
    assert typed("exec", "nobody", "prog", "--json").stderr.startswith("error: ")
    assert typed("run", "--box", "nobody", "--", "prog", "--json").stderr.startswith("error: ")


def _commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    context = click.Context(cli)
    for verb in (verb for verbs in GROUPS.values() for verb in verbs):
        command = cli.get_command(context, verb)
        found.append((verb,))
        if isinstance(command, click.Group):
            found += [(verb, name) for name in command.list_commands(context)]
    return found


def test_help_fits_80_columns() -> None:
    wide = []
    for words in _commands():
        context, command = click.Context(cli, info_name="devbox"), cli
        for word in words:
            command = command.get_command(context, word)  # type: ignore[assignment]
            context = click.Context(command, parent=context, info_name=word)
        text = command.get_help(context)
        wide += [f"{words}: {line}" for line in text.splitlines() if len(line) > 80]
    assert not wide


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("run --box ", "train"),
        ("offers --provider hf-", "hf-space"),
        ("runs --box t", "train"),
        ("up --hardware a10g", "a10g-small"),
        ("up train --hardware a10g", "a10g-large"),
        ("up --provider modal --hardware A100-8", "A100-80GB:2"),
        ("up other --hardware known", "known-of-docker"),
        ("resize other ", "known-of-docker"),
        ("up --gpu l40", "L40S"),
        ("offers --gpu h2", "H200"),
    ],
)
def test_names_are_completed(project: Path, words: str, offered: str) -> None:
    """From what is known here: nothing is asked over a network, also for hardware."""
    toml = '[boxes.train]\nprovider = "hf-space"\n[boxes.other]\nprovider = "docker"\n'
    (project / "devbox.toml").write_text(toml)
    known.remember([Offer("docker", Hardware("known-of-docker"), UNKNOWN_PRICE, 0.0)])
    line = f"devbox {words}"
    env = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", "import os, sys; sys.argv[0]='devbox'; "
         "sys.addaudithook(lambda event, _: event == 'socket.connect' and os._exit(9)); "
         "from devbox.cli.main import cli; cli(prog_name='devbox')"],
        env={**os.environ, **env, "_DEVBOX_COMPLETE": "bash_complete"},
        capture_output=True, text=True, check=False, cwd=project,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"plain,{offered}" in done.stdout.splitlines(), done.stderr
