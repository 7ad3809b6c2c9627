"""`devbox sync` as a user and a script see it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from devbox.cli.main import cli
from devbox.cli.sync import sync_command
from devbox.errors import Conflict, UsageError
from tests.sync.conftest import Pair, files, write

Run = Callable[..., Result]


@pytest.fixture
def run(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run("up", "--json") in the project folder."""
    (pair.here / "devbox.toml").write_text('project = "project"\n[boxes.b]\n')
    monkeypatch.chdir(pair.here)

    def invoke(*arguments: str, given: str = "", fails: bool = False) -> Result:
        done = CliRunner().invoke(cli, ["sync", *arguments], input=given)
        if not fails and done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return invoke


def test_up_and_down_say_what_they_did_and_print_nothing_on_stdout(pair: Pair, run: Run) -> None:
    write(pair.here / "a.txt", "a" * 2048)
    write(pair.here / ".env", "TOKEN=x")
    done = run("up", "b")
    assert done.exit_code == 0
    assert done.stdout == ""
    assert "b: 2 files (2.0 KB) sent" in done.stderr
    assert "secrets: .env" in done.stderr
    write(pair.there / "out.txt", "o")
    assert "b: 1 file (1 B) fetched" in run("down").stderr
    assert run("down", "--quiet").output == ""


def test_json_is_one_documented_object(pair: Pair, run: Run) -> None:
    write(pair.here / "a.txt", "a")
    body = json.loads(run("up", "--json").stdout)
    assert (body["version"], body["kind"], body["direction"]) == (1, "sync", "up")
    assert set(body["moved"]) == {"a.txt", "devbox.toml"}
    assert body["deleted"] == body["kept"] == []
    write(pair.there / os.fsdecode(b"bad\xff"), "x")
    body = json.loads(run("status", "--json").stdout)
    assert body["kind"] == "sync-status"
    assert [file["path"] for file in body["only_there"]] == ["bad\ufffd"]


def test_dry_run_lists_on_stdout(pair: Pair, run: Run) -> None:
    write(pair.here / "a.txt", "a")
    done = run("up", "--dry-run")
    assert done.stdout.splitlines() == ["a.txt", "devbox.toml"]
    assert "would be sent" in done.stderr
    assert files(pair.there) == {}


def test_deletion_is_shown_and_needs_a_yes(pair: Pair, run: Run) -> None:
    write(pair.here / "a.txt", "a")
    run("up")
    (pair.here / "a.txt").unlink()
    done = run("up", "--delete", fails=True)
    assert isinstance(done.exception, UsageError)
    assert "to delete on b (1):\n  a.txt" in done.stderr
    assert "--yes" in done.exception.fix
    assert (pair.there / "a.txt").exists()
    done = run("up", "--delete", "--yes")
    assert "  a.txt" in done.stderr
    assert "1 file deleted" in done.stderr
    assert not (pair.there / "a.txt").exists()


def test_files_changed_on_both_sides_end_in_exit_code_5(pair: Pair, run: Run) -> None:
    write(pair.here / "a.txt", "a", age=60)
    run("up")
    write(pair.here / "a.txt", "mine", age=30)
    write(pair.there / "a.txt", "theirs")
    write(pair.there / "new.txt", "n")
    done = run("down", fails=True)
    assert isinstance(done.exception, Conflict)
    assert done.exception.exit_code == 5
    assert "a.txt: changed here and on the box" in done.stderr
    assert "1 file (1 B) fetched" in done.stderr
    assert run("down", "--force", "--path", "a.txt").exit_code == 0
    assert (pair.here / "a.txt").read_text() == "theirs"


def test_status_reads_in_both_directions(pair: Pair, run: Run) -> None:
    write(pair.here / "same.txt", "s")
    write(pair.here / "both.txt", "1", age=100)
    write(pair.here / ".gitignore", "*.ckpt\n")
    run("up")
    assert run("status").stdout.endswith("are in step\n")
    write(pair.here / "mine.txt", "m")
    write(pair.there / "result.bin", "r" * 3000)
    write(pair.there / "model.ckpt", "c")
    write(pair.there / "both.txt", "22")
    text = run("status").stdout
    assert "only on b (devbox sync down): 1 file, 2.9 KB\n  result.bin" in text
    assert "only here (devbox sync up): 1 file, 1 B\n  mine.txt" in text
    assert "ignored by your ignore files: 1 file, 1 B\n  model.ckpt" in text
    assert "both.txt  newer on b" in text


def test_a_missing_folder_and_an_unknown_box_are_clear(pair: Pair, run: Run) -> None:
    pair.there.rmdir()
    assert "nothing to fetch" in run("down").stderr
    assert "no box nope" in str(run("up", "nope", fails=True).exception)
    assert run("up", "--path", "nothere", fails=True).exception
    assert "does not exist" in str(_without_root(pair, run).exception)


def _without_root(pair: Pair, run: Run) -> Result:
    toml = pair.here / "devbox.toml"
    toml.write_text('project = "project"\n[boxes.b.sync]\npath = "missing"\n')
    return run("up", fails=True)


def test_help_has_examples_for_every_verb() -> None:
    text = CliRunner().invoke(sync_command, ["--help"]).output
    for verb in ("up", "down", "watch", "status"):
        assert f"devbox sync {verb}" in text or f"  {verb} " in text
    assert Path(__file__).exists()
