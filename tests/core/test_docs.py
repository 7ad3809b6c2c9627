"""What the docs give to be copied works as it stands: TOML blocks load, commands are command lines
that devbox takes, and no example sends a reader to a server or account of the example's. An error
that they explain is one of the code, and a test that they name is one of ours."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from devbox import spec
from devbox.errors import SpecError
from tests.cli.test_fixes import SOURCE, parse

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LIVE = re.compile(
    r"^\s*(endpoint|git_endpoint|ssh_gateway|server_url|docker_host|namespace|environment|pause_token)\s*=",
    re.MULTILINE,
)
#: what an example leaves to the reader, and a value of its kind
_FILLED = {"BOX": "train", "RUN": "r1", "PROVIDER": "local", "DURATION": "2h", "PORT": "8000"}


class Block(NamedTuple):
    page: str
    kind: str
    text: str


def blocks() -> Iterator[Block]:
    """Fenced blocks, and those indented by four spaces after an empty line."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        name = str(page.relative_to(ROOT))
        for match in _FENCE.finditer(text):
            yield Block(name, match[1], match[2])
        for part in re.split(r"\n\n+", _FENCE.sub("\n\n", text)):
            lines = part.splitlines()
            if lines and all(line.startswith("    ") for line in lines):
                yield Block(name, "", "\n".join(line[4:] for line in lines) + "\n")


def commands(text: str) -> Iterator[list[str]]:
    lines = text.replace("\\\n", " ").splitlines()
    # Columns stand two or more spaces apart: a command, and what it does or another command.
    for column in (each for line in lines for each in re.split(r"\s{2,}", line.strip())):
        words: list[str] = []
        for word in [*_words(column), ";"]:
            if set(word) <= set(";&|<>()"):
                if words[:1] == ["devbox"]:
                    yield [_FILLED.get(each, each) for each in words[1:]]
                words = []
            else:
                words.append(re.sub(r"[\[\]]", "", word))


def _words(line: str) -> list[str]:
    """A line as a shell splits it; none for one that is no command."""
    line = line.strip().removeprefix("$ ")
    if "devbox " not in line or re.search(r"…|\.\.\.", line):
        return []
    try:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>()")
        lexer.whitespace_split = True
        return list(lexer)
    except ValueError:
        return []  # why: prose with an apostrophe, in a drawing of a screen


ALL = list(blocks())
#: the dashboard's own settings are another file (tests/tui)
TOML = [b for b in ALL if b.kind == "toml" and b.page != "docs/dashboard.md"]
COMMANDS = [
    (block.page, words) for block in ALL if block.kind != "toml" for words in commands(block.text)
]


def test_there_is_something_to_try() -> None:
    assert len(TOML) > 5
    assert len(COMMANDS) > 30


@pytest.mark.parametrize("block", TOML, ids=lambda block: block.page)
def test_a_toml_block_is_a_devbox_toml_that_loads(block: Block, home: Path) -> None:
    if "job.toml" in block.text.splitlines()[0]:
        (home / "job.toml").write_text(block.text)
        spec.decode_job(spec.read_toml(home / "job.toml"), home / "job.toml")
        return
    file = home / "devbox.toml"
    file.write_text(block.text)
    try:
        spec.load(file, home / "none.toml")
    except SpecError as error:
        raise AssertionError(f"{block.page}: {error.render()}\n{block.text}") from error


@pytest.mark.parametrize("block", TOML, ids=lambda block: block.page)
def test_no_example_leads_to_a_place_of_its_own(block: Block) -> None:
    assert not _LIVE.search(block.text), f"comment it out, as `devbox init` does: {block.text}"


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=lambda each: str(each)[:60])
def test_a_command_is_one_that_devbox_takes(page: str, words: list[str]) -> None:
    try:
        parse(words)
    except click.UsageError as error:
        if not any(part in error.format_message() for part in ("not a valid", "does not exist")):
            raise AssertionError(f"{page}: devbox {words}: {error.format_message()}") from error


def test_the_architecture_shows_each_room_and_no_other() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = [
        path.name + "/" * path.is_dir()
        for path in (ROOT / "devbox").iterdir()
        if not path.name.startswith("__") and (path.suffix == ".py" or any(path.rglob("*.py")))
    ]
    assert [room for room in rooms if f"`{room}`" not in text] == []
    named = re.findall(r"`((?:devbox/)?[a-z_]+/[a-z_/]*(?:\.py)?)`", text)
    roots = [ROOT, ROOT / "devbox", ROOT / "devbox" / "box"]
    lost = [name for name in named if not any((root / name).exists() for root in roots)]
    assert lost == []


def _errors() -> set[str]:
    """What errors of the source say has happened, with … for what is filled in."""
    said = set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                said |= {_filled_in(node.args[0])}
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "what":
                said |= {_filled_in(node.value)}
    return said


def _filled_in(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_filled_in, node.values))
    if isinstance(node, ast.BinOp):
        return _filled_in(node.left) + _filled_in(node.right)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "…"


def _errors_explained() -> list[tuple[str, str]]:
    """Heading and section of each."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    sections = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    return [(part.split("\n")[0], part.split("\n", 1)[1]) for part in sections]


def test_an_error_that_is_explained_is_one_of_the_code() -> None:
    said = _errors()
    explained = [heading for heading, _ in _errors_explained()]
    assert len(explained) > 30
    assert [
        heading for heading in explained if not any(each.startswith(heading) for each in said)
    ] == []


@pytest.mark.parametrize(("heading", "section"), _errors_explained(), ids=lambda each: each[:40])
def test_an_error_that_is_explained_has_a_command(heading: str, section: str) -> None:
    # That devbox takes it is the test of all commands above.
    del heading
    lines = re.findall(r"^    (.*)$", section, re.MULTILINE)
    assert any(words for line in lines for words in commands(line))


def test_a_test_that_the_docs_name_exists() -> None:
    named = {
        name for page in PAGES for name in re.findall(r"tests/[\w/]+\.py::\w+", page.read_text())
    }
    assert len(named) > 40
    for name in named:
        file, function = name.split("::")
        assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), name
