"""The command line's surface: cheap to start, clear to read, safe against hostile arguments."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from devbox import paths
from devbox.cli import main
from devbox.cli.main import GROUPS
from devbox.money import offers
from tests.command_line import Devbox
from tests.core.hostile import ALL

VERBS = [verb for verbs in GROUPS.values() for verb in verbs]

# What `devbox --help` and `--version` may load beyond Python's own and click.
_ALLOWED = {"devbox", "devbox.cli", "devbox.cli.main"}


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_load_nothing_but_click(flag: str) -> None:
    code = (
        "import sys, json\n"
        f"sys.argv = ['devbox', '{flag}']\n"
        "from devbox.cli import main\n"
        "try: main.main()\n"
        "except SystemExit: pass\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stderr.splitlines()[-1])
    ours = {name for name in loaded if name.split(".")[0] == "devbox"}
    heavy = {"rich", "msgspec", "fabric", "paramiko", "asyncssh", "huggingface_hub", "sqlite3"}
    assert ours <= _ALLOWED | {"devbox.errors"}
    assert not heavy & set(loaded)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(devbox: Devbox, verb: str) -> None:
    done = devbox(verb, "--help")
    assert done.code == 0
    assert "Usage:" in done.out


def test_help_shows_groups_and_examples(devbox: Devbox) -> None:
    out = devbox("--help").out
    assert [f"{group}:" in out for group in GROUPS] == [True] * len(GROUPS)
    assert "Examples:" in out


@pytest.mark.parametrize(
    "verb", ["up", "pause", "resume", "down", "status", "events", "exec", "ssh"]
)
def test_hostile_box_names_are_refused_and_leave_nothing(devbox: Devbox, verb: str) -> None:
    before = _files(paths.home())
    extra = ["true"] if verb == "exec" else []
    for text in ALL:
        done = devbox(verb, "--", text, *extra)
        assert done.code in (2, 3, 4), (verb, text, done)
        assert not any(ord(c) < 32 and c not in "\n\t" for c in done.err + done.out), text
        assert len(done.err) < 2000, text
    assert _files(paths.home()) - before <= {"state.db", "state.db-wal", "state.db-shm"}


def test_hostile_durations_and_templates_are_refused(devbox: Devbox, project: Path) -> None:
    for text in ALL:
        assert devbox("keep", "--", "b", text).code in (2, 4), text
        assert devbox("init", "--", text).code in (2, 4), text
    assert list(project.iterdir()) == []


def test_init_writes_a_file_that_loads_and_never_overwrites(devbox: Devbox, project: Path) -> None:
    assert devbox("init").code == 0
    shown = devbox("config", "show", "--json").data
    assert {
        "key": "boxes.project.provider",
        "value": "local",
        "from": str(project / "devbox.toml"),
    } in (shown["values"])
    (project / "devbox.toml").write_text("# mine\n")
    done = devbox("init")
    assert done.code == 5
    assert "nothing was written" in done.err
    assert (project / "devbox.toml").read_text() == "# mine\n"


def test_an_empty_installation_answers_every_question(devbox: Devbox) -> None:
    assert devbox("ls", "--json").data == {"version": 1, "kind": "boxes", "boxes": []}
    assert "devbox init" in devbox("ls").err
    assert devbox("cost", "--json").data["rows"] == []
    assert devbox("reconcile").out.startswith("everything agrees")
    assert (
        devbox("offers", "--provider", "local", "--json").data["offers"][0]["provider"] == "local"
    )
    assert devbox("status").code == 4


def test_completion_scripts(devbox: Devbox) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_DEVBOX_COMPLETE" in devbox("completion", shell).out


def test_a_question_without_a_terminal_is_an_error_not_a_hang(devbox: Devbox) -> None:
    done = devbox("reconcile", "--remove")
    assert done.code == 2
    assert "pass --yes" in done.err
    assert devbox("reconcile", "--remove", "--yes").code == 0


def test_output_into_a_closed_pipe_is_quiet(project: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "devbox.cli.main", "offers", "--provider", "local"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_pipe_to_another_program_that_broke_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(offers, "gather", broken)
    monkeypatch.setattr(sys, "argv", ["devbox", "offers", "--provider", "local"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 1
    assert "Broken pipe" in capfd.readouterr().err


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("before", "now"),
    [("hardware", ["resize"]), ("succeed", ["renew"]), ("refresh", ["restart", "--keep-edits"])],
)
def test_an_old_word_does_what_its_verb_does(
    before: str, now: list[str], devbox: Devbox, project: Path
) -> None:
    assert devbox(before, "--help").out == devbox(*now, "--help").out
    assert f"\n  {before} " not in devbox("--help").out
    (project / "devbox.toml").write_text("[boxes.b]\n")
    words = ["b", "t4"] if before == "hardware" else ["b"]
    assert devbox(before, *words) == devbox(*now, *words)
    assert "no box" in devbox(before, *words).err


def test_an_old_name_of_a_key_is_told_once(devbox: Devbox, project: Path) -> None:
    (project / "devbox.toml").write_text('[boxes.b.idle]\nstuck_after = "1h"\n')
    assert devbox("status", "b").err.count("idle.stuck_after is idle_vram_after now") == 1
    assert devbox("config", "show").err.count("idle.stuck_after is idle_vram_after now") == 1
