"""Every `fix:` that the source can print names commands that exist, with arguments they take.

The texts are read off the source: the `fix` of each error, and the third field of each check. What
is filled in at run time is replaced by a sample of its kind."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

import devbox
from devbox import spec
from devbox.cli import main
from devbox.cli.main import cli

SOURCE = Path(devbox.__file__).parent
# In a text, a command ends where prose continues.
_COMMAND = re.compile(r"\bdevbox ((?:[a-z][a-z-]*|--help)(?: [^\s;,()'\"]+)*)")
_PROSE = re.compile(
    r" (?:and|or|shows|prints|tries|ends|finishes|checks|keeps|does|again|with|for|to|of|in|on|"
    r"there|is|has|then|rebuilds|lists|tells|says|brings|once|asks|after|from|it|them|into|as|puts|"
    r"makes|looks|deeper)\b.*"
)
_NOT_VERBS = {"process", "itself", "on", "in", "is", "has", "processes", "cannot", "will", "writes"}
_SAMPLES = {"number": "1", "duration": "2h", "port": "8000"}


class Fix(NamedTuple):
    where: str
    text: str


def _text(node: ast.AST) -> str | None:
    """A string as it could be printed, with X for what is filled in; None for what is none."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left), _text(node.right)
        return None if left is None else left + (right or "")
    return None


def _strings(node: ast.AST) -> Iterator[str]:
    found = _text(node)
    if found is not None:
        yield found
        return
    for child in ast.iter_child_nodes(node):
        yield from _strings(child)


def fixes() -> list[Fix]:
    found = []
    for file in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            values: list[ast.AST] = []
            if isinstance(node, ast.Call):
                values += [k.value for k in node.keywords if k.arg == "fix"]
                if isinstance(node.func, ast.Name) and node.func.id == "Check":
                    values += node.args[2:3]
            if isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id in ("fix", "_fix") for t in node.targets
            ):
                values.append(node.value)
            if isinstance(node, ast.Tuple) and len(node.elts) == 3:
                first = _text(node.elts[0])
                if first in ("ok", "warn", "fail"):
                    values.append(node.elts[2])
            found += [
                Fix(f"{file.relative_to(SOURCE)}:{getattr(node, 'lineno', 0)}", text)
                for value in values
                for text in _strings(value)
                if text
            ]
    return found


def commands(text: str) -> list[list[str]]:
    """The devbox commands in a text."""
    out = []
    for match in _COMMAND.finditer(re.sub(r"\n|`|&&|>", " ; ", text)):
        said = _PROSE.sub("", " " + match[1]).strip().rstrip(".:…")
        if said and said.split()[0] not in (*_NOT_VERBS, "x"):  # x: the verb that was typed
            out.append(shlex.split(said))
    return out


def parse(words: list[str]) -> None:
    """Read a command line as `devbox` does, without running it. UsageError when it is wrong."""
    group: click.Command = cli
    context = click.Context(cli, info_name="devbox")
    rest = words
    if words[0].startswith("-"):  # such as `devbox --version`
        with contextlib.suppress(click.exceptions.Exit):
            cli.make_context("devbox", list(words)).close()
        return
    while isinstance(group, click.Group):
        name, command, rest = group.resolve_command(context, rest)
        assert command is not None, f"there is no verb {name}"
        group = command
        if isinstance(group, click.Group) and not rest:
            return
    try:
        group.make_context(group.name, list(rest), parent=context).close()
    except (click.exceptions.MissingParameter, click.exceptions.BadOptionUsage):
        return  # such as `devbox image build --secret`: what comes next is the user's to say
    except (click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
        return


FIXES = [fix for fix in fixes() if commands(fix.text)]


def test_the_source_has_fixes_to_look_at() -> None:
    assert len(FIXES) > 100
    assert len({c[0] for fix in FIXES for c in commands(fix.text)}) > 15


@pytest.mark.parametrize("fix", FIXES, ids=lambda fix: fix.where)
def test_a_fix_is_a_command_line_that_devbox_takes(fix: Fix) -> None:
    for words in commands(fix.text):
        try:
            parse(words)
        except click.UsageError as error:
            known = ("Duration", "not a valid", "does not exist")
            if not any(part.lower() in error.format_message().lower() for part in known):
                raise AssertionError(f"{fix.text!r}: {words}: {error.format_message()}") from error


#: what a user would have to fill in
_BLANK = re.compile(
    r"(?:\bdevbox (?:[a-z-]+ )[^;,()]*|\[[a-z]+\.)\b"
    r"(?:BOX|NAME|JOB|FILE|COMMAND|ARGUMENTS|PROVIDER|DURATION|HARDWARE|RUN|PATH|PORT)\b(?!=)"
)


def texts() -> list[Fix]:
    """Every text of the source but docstrings and what click shows as help."""
    found = []
    for file in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        shown = {
            id(inner)
            for node in ast.walk(tree)
            for value in _help(node)
            for inner in ast.walk(value)
        }
        for node in ast.walk(tree):
            text = None if id(node) in shown else _text(node)
            if text:
                where = f"{file.relative_to(SOURCE)}:{getattr(node, 'lineno', 0)}"
                found.append(Fix(where, text))
    return found


def _help(node: ast.AST) -> Iterator[ast.AST]:
    """Docstrings, and the `help` and `metavar` of options."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        yield node.value
    if isinstance(node, ast.keyword) and node.arg in ("help", "metavar"):
        yield node.value


def test_nothing_that_is_said_leaves_a_word_of_a_command_to_be_filled_in() -> None:
    assert _BLANK.search("end it: devbox down BOX")
    assert _BLANK.search("edit [boxes.NAME.env]")
    assert not _BLANK.search("a build gets a secret with devbox image build --secret NAME=env:VAR")
    left = [each for each in texts() if _BLANK.search(each.text)]
    assert not left, "\n".join(f"{each.where}: {each.text}" for each in left)


#: They end when they are interrupted, or change this machine: parsed above, and run elsewhere.
_NOT_RUN = {"ui", "guard", "forward", "top", "demo", "logs", "serve"}
_FOR = {"x:x": "8000:8000", "apt-get": "true", "JOB": "hi", "FILE": "a.txt", "COMMAND": "true"}


def test_a_fix_can_be_followed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is typed where there is a box x, which is up, and a job. It is done, or refused for a
    reason of its own: never for being unknown or misspelt, and never by a fault of devbox."""
    (project / "devbox.toml").write_text(
        'project = "p"\n[boxes.x]\n[jobs.hi]\ncommand = ["true"]\n[jobs.x]\ncommand = ["true"]\n'
    )
    (project / "main.py").write_text("print('main')\n")
    (project / "a.txt").write_text("a")
    spec.trust_file(project / "devbox.toml")
    wanted = sorted({tuple(words) for fix in FIXES for words in commands(fix.text)})
    done = []
    for words in wanted:
        if words[0] in _NOT_RUN:
            continue
        typed = [_FOR.get(word, word) for word in words]
        for line in (["up", "x", "--no-sync"], typed):
            code, said = run(monkeypatch, *line)
            assert code < 70, (line, code, said)
            assert "Traceback" not in said, (line, said)
            assert "No such" not in said or code != 2, (line, said)
        done.append(typed)
    assert len(done) > 40
    code, said = run(monkeypatch, "down", "x", "--yes", "--no-save")
    assert code == 0, said


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str]:
    """Exit code and all that is printed, of a verb without a terminal."""
    shown = io.StringIO()
    monkeypatch.setattr(sys, "argv", ["devbox", *words])
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        try:
            code = main._run()
        except SystemExit as error:
            code = int(error.code or 0)
    return code, shown.getvalue()
