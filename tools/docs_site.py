"""The docs site: `make docs`. The pages are the Markdown files of this project, and what
docs_reference.py generates; Zensical builds them into build/site; then every link is checked.

The site asks no other server for anything, so that it works without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tools import docs_reference

ROOT = Path(__file__).parents[1]
#: pages that are outside docs/, and their names on the site
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}


def build(folder: Path, sources: Path = ROOT) -> list[str]:
    """Build the site of `sources` in folder/build/site. What is wrong with it, one line each."""
    stage(folder / "build" / "docs", sources)
    if folder != sources:
        shutil.copy(sources / "zensical.toml", folder)
    shutil.rmtree(folder / "build" / "site", ignore_errors=True)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr).partition("Traceback")[0]
    # Zensical shows where a link stands in its page; it does not look at pictures.
    said = (plain.splitlines() or [done.stderr]) if done.returncode else []
    return [*said, *sorted(problems(folder / "build" / "site"))]


def stage(docs: Path, sources: Path) -> None:
    """All pages as one tree of Markdown."""
    shutil.rmtree(docs, ignore_errors=True)
    shutil.copytree(sources / "docs", docs)
    for name, page in OUTSIDE.items():
        text = (sources / name).read_text(encoding="utf-8")
        for other, there in OUTSIDE.items():
            text = text.replace(f"]({other}", f"]({there}")
        (docs / page).write_text(text.replace("](docs/", "]("), encoding="utf-8")
    (docs / "reference").mkdir()
    for name, text in docs_reference.pages().items():
        (docs / "reference" / name).write_text(text, encoding="utf-8")
    for path in docs.rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        above = "../" * (len(path.relative_to(docs).parts) - 1)
        for name, page in OUTSIDE.items():
            text = text.replace(f"](../{above}{name}", f"]({above}{page}")
        path.write_text(as_markdown(text), encoding="utf-8")


def as_markdown(text: str) -> str:
    """GitHub begins a list in the line after a paragraph; Python-Markdown wants an empty one."""
    out: list[str] = []
    fenced = False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        before = out[-1] if out else ""
        begins = re.match(r"(- |\d+\. |\|)", line) and before.strip()
        if begins and not fenced and not re.match(r"(\s|- |\d+\. |\||```)", before):
            out.append("")
        out.append(line)
    return "\n".join(out) + "\n"


class _Page(HTMLParser):
    """Links and anchors of one page, and what a browser would load with it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif "src" in given or (tag == "link" and "href" in given):
            self.loaded.append(given.get("src") or given.get("href", ""))


def problems(site: Path) -> Iterator[str]:
    """Links that lead nowhere, and what comes from another server."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    anchors = {path: page.anchors for path, page in pages.items()}
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # why: served at any address, its links begin at the top of the site
        here = path.relative_to(site)
        for link in {*page.links, *page.loaded}:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loaded:
                    yield f"{here}: loads {link}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                yield f"{here}: {link} leads to no page"
            elif parts.fragment and unquote(parts.fragment) not in anchors.get(target, ()):
                yield f"{here}: {link} leads to no heading"
    for path in site.rglob("*.css"):
        for link in re.findall(r"(?:url\(|@import )[\"']?(https?:[^)\"']*)", path.read_text()):
            yield f"{path.relative_to(site)}: loads {link}"


def main() -> int:
    wrong = build(ROOT)
    for line in wrong:
        print(line, file=sys.stderr)
    if not wrong:
        print("build/site/index.html; or: python3 -m http.server -d build/site")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
