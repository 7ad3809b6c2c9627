"""The docs site builds, no link on it is broken, and nothing on it comes from another server."""

from __future__ import annotations

import shutil
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import click
import pytest

from devbox.cli.main import cli
from tests.tui import browser
from tests.tui.waiting import until
from tools import docs_site

_ASKED = "return performance.getEntriesByType('resource').map(each => each.name)"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    assert docs_site.build(folder, ROOT) == []
    return folder / "build"


def test_every_page_is_on_the_site_and_in_its_contents(built: Path) -> None:
    home = (built / "site" / "index.html").read_text(encoding="utf-8")
    pages = [path.relative_to(built / "docs") for path in (built / "docs").rglob("*.md")]
    assert len(pages) > 40
    for page in pages:
        shown = page.with_stem("index") if page.stem == "README" else page
        address = shown.with_suffix(".html")
        assert (built / "site" / address).is_file()
        assert f'href="{address}' in home.replace('href="./', 'href="'), f"{page} cannot be found"


def test_the_reference_has_each_verb_with_each_option(built: Path) -> None:
    text = "".join(
        path.read_text(encoding="utf-8") for path in (built / "docs" / "reference").glob("cli-*")
    )
    root = click.Context(cli, info_name="devbox")
    for verb in cli.list_commands(root):
        command = cli.get_command(root, verb)
        assert command is not None
        section = text.split(f"## `devbox {verb}`\n")[1].split("\n## ")[0]
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.opts[-1] in section, (verb, option.opts)


def test_a_browser_that_shows_it_and_searches_asks_no_other_server(built: Path) -> None:
    files = partial(SimpleHTTPRequestHandler, directory=str(built / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), files) as server, browser.opened() as page:
        Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}/"
        page.open(f"{here}index.html")
        until(lambda: f"{here}search.json" in page.run(_ASKED))
        asked = page.run(_ASKED)
        assert [url for url in asked if not url.startswith((here, f"blob:{here}"))] == []
        server.shutdown()


def test_a_broken_link_heading_or_picture_is_found(tmp_path: Path) -> None:
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    for name in docs_site.OUTSIDE:
        (tmp_path / name).write_text("# A page\n\n[docs](docs/a.md#a-b)\n", encoding="utf-8")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "configuration.md").write_text("# The reference links here\n")
    page = tmp_path / "docs" / "a.md"
    page.write_text("# `a` (b)\n", encoding="utf-8")
    assert docs_site.build(tmp_path / "out", tmp_path) == []
    page.write_text("# `a` (b)\n\n[x](none.md) [x](index.md#no) ![x](none.svg)\n")
    said = docs_site.build(tmp_path / "out", tmp_path)
    for wrong in ("none.html leads to no page", "index.html#no leads", "none.svg leads"):
        assert any(wrong in line for line in said), wrong


def test_what_another_server_would_give_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="https://example.com">fine</a><a href="b.html#there">x</a>'
        '<a href="b.html#not">x</a><img src="none.png">'
        '<script src="https://example.com/x.js"></script>'
    )
    (tmp_path / "b.html").write_text('<p id="there"></p>')
    (tmp_path / "c.css").write_text("@font-face { src: url('https://example.com/f.woff') }")
    assert sorted(docs_site.problems(tmp_path)) == [
        "a.html: b.html#not leads to no heading",
        "a.html: loads https://example.com/x.js",
        "a.html: none.png leads to no page",
        "c.css: loads https://example.com/f.woff",
    ]


def test_a_list_right_after_a_paragraph_stays_one() -> None:
    github = "It refuses when\n- a\n  more\n- b\n\n```\nx\n- y\n```\n"
    assert docs_site.as_markdown(github) == github.replace("when\n", "when\n\n")
