"""Where a checkpoint comes from. Pure; both halves read it.

./PATH  ~/PATH  /PATH                a file or folder (PATH/) of the user's computer, which sends it
hf://OWNER/REPO[@REVISION][/FILE]   a file of a model repository; FOLDER/ or nothing for all in it
gs://BUCKET/OBJECT                  an object; PREFIX/ for all below it
https://…                           a file; http:// only where its sha256 is known
"""

from __future__ import annotations

import re
from typing import Callable, NamedTuple, Optional
from urllib.parse import quote, urlsplit

HUB, BUCKET, WEB, FILE = "hf", "gs", "https", "file"
_REVISION = r"refs/(?:pr|convert)/\w+|[\w.-]+"
_HUB = re.compile(rf"hf://([\w.-]+/[\w.-]+)(?:@({_REVISION}))?(?:/([^@]*))?\Z", re.ASCII)
_BUCKET = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220})/(.*)\Z", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x20\x7f]")


#: told how many bytes there are, before the first one arrives; raises where they do not fit
Room = Callable[[int], None]


def any_size(_: int) -> None:
    """A disk that takes everything."""


class Source(NamedTuple):
    """kind: HUB, BUCKET, WEB or FILE. place: repository, bucket, URL or local path. path: inside
    it, "" for all. revision: of a repository, "" for its main one."""

    kind: str
    place: str
    path: str = ""
    revision: str = ""

    @property
    def is_folder(self) -> bool:
        if self.kind in (WEB, FILE):
            return self.kind == FILE and self.place.endswith("/")
        return not self.path or self.path.endswith("/")


def parse(text: str, *, sha256: str = "") -> Source:
    """ValueError says what is wrong with it."""
    if text.startswith(("./", "../", "~/", "/")) and len(text) < 1000 and "\0" not in text:
        return Source(FILE, text)
    if len(text) > 2000 or _CONTROL.search(text):
        raise ValueError("it is too long, or holds a space or a control character")
    if text.startswith("hf://"):
        found = _HUB.match(text)
        if not found:
            raise ValueError("write hf://OWNER/REPO/FILE, or hf://OWNER/REPO@REVISION/FILE")
        return Source(HUB, found[1], _inner(found[3] or ""), found[2] or "")
    if text.startswith("gs://"):
        found = _BUCKET.match(text)
        if not found:
            raise ValueError("write gs://BUCKET/OBJECT, or gs://BUCKET/PREFIX/ for all below it")
        return Source(BUCKET, found[1], _inner(found[2]))
    if text.startswith(("https://", "http://")):
        if not urlsplit(text).hostname:
            raise ValueError("the address names no host")
        if text.startswith("http://") and not sha256:
            raise ValueError("http:// can be tampered with: use https://, or give its sha256")
        return Source(WEB, text)
    raise ValueError("write hf://OWNER/REPO/FILE, gs://BUCKET/OBJECT, https://… or ./FILE")


def web_address(source: Source, hub: str) -> Optional[str]:
    """Where a web client finds a file of the Hub, or of a bucket that everybody can read. hub: the
    Hub's address."""
    path = quote(source.path)
    if source.kind == HUB and not source.is_folder:
        return f"{hub}/{source.place}/resolve/{quote(source.revision or 'main', safe='')}/{path}"
    if source.kind == BUCKET and not source.is_folder:
        return f"https://storage.googleapis.com/{source.place}/{path}"
    return None


def with_revision(text: str, revision: str) -> str:
    """A source of the Hub with a revision in it: `hf://a/b/c` and `v1` give `hf://a/b@v1/c`. Any
    other one as it is. ValueError when it has one already, or is not of the Hub."""
    if not revision:
        return text
    found = re.match(r"(hf://[^/@]*/[^/@]*)(@?)(.*)\Z", text, re.DOTALL)
    if not found:
        raise ValueError("only hf:// sources have a revision")
    if found[2]:
        raise ValueError("it has a revision already: leave one of the two out")
    return f"{found[1]}@{revision}{found[3]}"


def shown(text: str) -> str:
    """Without what follows '?': a signed address is a secret."""
    return text.split("?", 1)[0]


def _inner(path: str) -> str:
    parts = path[:-1].split("/") if path.endswith("/") else path.split("/")
    if path and any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{path!r} is no path inside it")
    return path
