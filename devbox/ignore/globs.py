"""One glob of an ignore file → the same thing as rsync patterns and as a regular expression.

Git and rsync share one matching engine ("wildmatch") but wrap it differently: in git a name without
a slash matches at any depth, `**` needs its own path component (or a start that is plain text:
`a**/b` is `a`, any folders, `b`, also `ab`) and the last matching line wins; in rsync `**` spans
slashes anywhere and the first match wins. In Docker `**` and `**/` mean any folders anywhere, and
only `^` negates a class. Here a glob is taken apart into components
and written out again in both forms, so that rsync and our own matcher decide alike. Everything is
bytes, as names on disk are.

Facts: gitignore(5); git's wildmatch.c and dir.c; rsync(1), "PATTERN MATCHING RULES"; moby's
patternmatcher.go.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from devbox.errors import SyncError
from devbox.text import clean

#: More `**/` in one glob than this is refused: each doubles the rsync patterns.
MAX_DOUBLE = 6
#: rsync refuses a longer filter rule, and no path is longer.
MAX_BYTES = 4000
_CLASSES = {
    b"alnum": rb"[0-9A-Za-z]", b"alpha": rb"[A-Za-z]", b"blank": rb"[ \t]",
    b"cntrl": rb"[\x00-\x1f\x7f]", b"digit": rb"[0-9]", b"graph": rb"[!-~]",
    b"lower": rb"[a-z]", b"print": rb"[ -~]", b"punct": rb"[!-/:-@\[-`{-~]",
    b"space": rb"[ \t-\r]", b"upper": rb"[A-Z]", b"xdigit": rb"[0-9A-Fa-f]",
}  # fmt: skip


class Token(NamedTuple):
    """A piece of one path component: rsync's spelling where wildcards are on, where they are
    off (None: this is a wildcard), and the regular expression."""

    wild: bytes
    plain: bytes | None
    regex: bytes


Part = tuple[Token, ...]
#: A component `**`: any number of folders.
DOUBLE: Part = (Token(b"**", None, b""),)
_STAR = Token(b"*", None, rb"[^/]*")
_ANY_ONE = Token(b"?", None, rb"[^/]")
# `**` after plain text, which git compares by itself: at the end of a glob, and before a slash.
_SPAN = Token(b"**", None, rb".*")
_OPEN = Token(b"**", None, rb"(?:.*/)?")


class Glob(NamedTuple):
    """parts: the components from the root of the synced tree down (`DOUBLE` for `**`).
    folders_only: matches folders alone. contents: matches everything below instead."""

    parts: tuple[Part, ...]
    folders_only: bool = False

    def regex(self) -> bytes:
        """Matches a whole path without a leading or trailing slash."""
        out, last = b"", len(self.parts) - 1
        for at, part in enumerate(self.parts):
            if part is not DOUBLE:
                ends = at == last or part[-1] is _OPEN
                out += _regex(part) + (b"" if ends else b"/")
            else:
                out += rb".+" if at == last else rb"(?:.*/)?"
        return out

    def rsync(self) -> list[bytes]:
        """Patterns for rsync which together match the same paths."""
        tail = b"/" if self.folders_only else b""
        if len(self.parts) == 2 and self.parts[0] is DOUBLE and self.parts[1] is not DOUBLE:
            return [_spell((self.parts[1],)) + tail]
        return [b"/" + _spell(choice) + tail for choice in _choices(self.parts)]

    def below(self) -> Glob:
        """Everything inside what this matches."""
        return Glob((*self.parts, DOUBLE)) if self.parts[-1] is not DOUBLE else Glob(self.parts)

    def above(self) -> list[Glob]:
        """The folders on the way to it, as far as they are written out (not below a `**`)."""
        out: list[Glob] = []
        for at, part in enumerate(self.parts[:-1]):
            if part is DOUBLE or part[-1] in (_OPEN, _SPAN):
                break
            out.append(Glob(self.parts[: at + 1], folders_only=True))
        return out

    def inside(self, folder: bytes) -> list[Glob]:
        """What remains of this glob for the paths within `folder` (one component). Used for the
        ignore files of folders above the synced one."""
        if not self.parts:
            return []
        head, rest = self.parts[0], self.parts[1:]
        if head[-1] in (_OPEN, _SPAN):
            if not re.match(_regex(head[:-1]), folder):
                return []
            joined = Glob(((*head[:-1], *rest[0]), *rest[1:]), self.folders_only) if rest else None
            below = Glob((DOUBLE, *rest), self.folders_only)
            return [below, *(joined.inside(folder) if joined else [])]
        out = [self, *Glob(rest, self.folders_only).inside(folder)] if head is DOUBLE else []
        if head is not DOUBLE and re.fullmatch(_regex(head), folder, re.DOTALL):
            out.append(Glob(rest, self.folders_only))
        return [glob for glob in out if glob.parts]


def parse(text: bytes, *, under: bytes = b"", docker: bool = False) -> Glob | None:
    """A glob in gitignore syntax, without '!' and trailing blanks. None when it can match nothing,
    SyncError when it is too tangled to hand to rsync.

    under: the folder of its ignore file, relative to the root. docker: in dockerignore syntax,
    where a glob without a slash matches only at the top.
    """
    folders_only = text.endswith(b"/")
    text = text[:-1] if folders_only else text
    free = not docker and b"/" not in text
    text = text.removeprefix(b"/")
    if not text or len(text) > MAX_BYTES or b"\0" in text:
        return None
    parts = _parts(text, docker)
    if parts is None or not all(parts):
        return None
    parts = parts if free or docker else _with_text_before_double(text, parts)
    if free:
        name = (_STAR,) if parts[0] is DOUBLE else parts[0]
        parts = [DOUBLE, name]
    prefix = [literal(name) for name in under.split(b"/") if name]
    squeezed = [p for at, p in enumerate(parts) if p is not DOUBLE or parts[at - 1 : at] != [p]]
    if sum(part is DOUBLE for part in squeezed) > MAX_DOUBLE:
        raise SyncError(
            f"the pattern {clean(text.decode(errors='replace'), 60)!r} has more than "
            f"{MAX_DOUBLE} '**'",
            fix="write it as several simpler patterns",
        )
    return Glob((*prefix, *squeezed), folders_only)


def _with_text_before_double(text: bytes, parts: list[Part]) -> list[Part]:
    """git compares plain text at the start of a pattern by itself, so that a `**` right after it
    begins its own pattern, where it stands for any folders (dir.c, match_pathname)."""
    found = re.match(rb"([^*?\[\\]*[^*?\[\\/])\*\*+(?=/|$)", text)
    if not found:
        return parts
    at = found[1].count(b"/")
    rest = parts[at + 1 :]
    while rest and rest[0] is DOUBLE:
        rest = rest[1:]
    return [*parts[:at], (*parts[at][:-1], _OPEN if rest else _SPAN), *rest]


def literal(name: bytes) -> Part:
    """A component that matches exactly `name`."""
    return tuple(map(_literal, (name[i : i + 1] for i in range(len(name)))))


def _literal(byte: bytes) -> Token:
    return Token(b"\\" + byte if byte in b"*?[\\" else byte, byte, re.escape(byte))


def _regex(part: Part) -> bytes:
    return b"".join(token.regex for token in part)


def _spell(parts: tuple[Part, ...]) -> bytes:
    """rsync reads a backslash as an escape only in a pattern that holds one of `*?[`."""
    plain = b"/".join(b"".join(t.plain or b"" for t in part) for part in parts)
    tokens = [token for part in parts for token in part]
    wild = DOUBLE in parts or any(t.plain is None for t in tokens) or re.search(rb"[*?\[]", plain)
    if not wild:
        return plain
    return b"/".join(b"".join(t.wild for t in part) for part in parts)


def _choices(parts: tuple[Part, ...]) -> list[tuple[Part, ...]]:
    """rsync's `a/**/b` wants at least one folder between; git's also means none."""
    if not parts:
        return [()]
    head, rest = parts[0], _choices(parts[1:])
    out = [(head, *tail) for tail in rest]
    if head[-1] is _OPEN:
        return out + [((*head[:-1], *tail[0]), *tail[1:]) for tail in rest]
    return out + rest if head is DOUBLE and parts[1:] else out


def _parts(text: bytes, docker: bool) -> list[Part] | None:
    """Components of a glob; None when a class or an escape is not closed (never matches)."""
    parts: list[Part] = []
    now: list[Token] = []
    stars = at = 0

    def close(last: Token | None = None) -> None:
        nonlocal stars
        ends = last or (_STAR if stars else None)
        is_double = not now and (stars > 1 or last is not None)
        parts.append(DOUBLE if is_double else (*now, *([ends] if ends else [])))
        now.clear()
        stars = 0

    while at < len(text):
        byte = text[at : at + 1]
        escaped = byte == b"\\"
        if docker and text.startswith(b"**", at):
            at += 3 if text.startswith(b"/", at + 2) else 2
            close(_OPEN if at < len(text) else _SPAN)
            if at == len(text):
                return parts
        elif text.startswith(b"/", at + escaped):
            at += 1 + escaped
            close()
        elif byte == b"*" and not docker:
            stars, at = stars + 1, at + 1
        else:
            found = _token(text, at, docker)
            if found is None:
                return None
            now += [_STAR, found[0]] if stars else [found[0]]
            stars, at = 0, found[1]
    close()
    return parts


def _token(text: bytes, at: int, docker: bool) -> tuple[Token, int] | None:
    """What stands at `at`, and where it ends."""
    byte = text[at : at + 1]
    if byte == b"[":
        return _class(text, at + 1, docker)
    if byte == b"\\":
        at += 1
        byte = text[at : at + 1]
        return (_literal(byte), at + 1) if byte else None
    return {b"*": _STAR, b"?": _ANY_ONE}.get(byte) or _literal(byte), at + 1


def _class(text: bytes, at: int, docker: bool) -> tuple[Token, int] | None:
    """The character class that begins before `at`, and where it ends."""
    start = at
    negated = text[at : at + 1] in ((b"^",) if docker else (b"!", b"^"))
    at += negated
    quote = b"\\" if text[at : at + 1] == b"!" and not negated else b""
    members: set[int] = set()
    previous, first = 0, True
    while first or text[at : at + 1] != b"]":
        member = _member(text, at, previous)
        if member is None:
            return None
        found, previous, at = member
        members |= found
        first = False
    chosen = set(range(256)) - members if negated else members
    chosen.discard(ord("/"))
    body = b"".join(b"\\x%02x" % i for i in sorted(chosen))
    regex = b"[" + body + b"]" if body else rb"(?!)"
    return Token(b"[" + quote + text[start:at] + b"]", None, regex), at + 1


def _member(text: bytes, at: int, previous: int) -> tuple[set[int], int, int] | None:
    """One member of a class: its bytes, the byte that a following '-' would range from (0: none)
    and where it ends. None for one that is not closed."""
    byte = text[at : at + 1]
    if byte == b"-" and previous and text[at + 1 : at + 2] not in (b"", b"]"):
        end = _one(text, at + 1)
        return (set(range(previous, text[end] + 1)), 0, end + 1) if end else None
    if byte == b"[" and text[at + 1 : at + 2] == b":":
        end = text.find(b"]", at + 2)
        if end < 0:
            return None
        if text[end - 1 : end] == b":" and end - 1 >= at + 2:
            known = _CLASSES.get(text[at + 2 : end - 1])
            return (
                None
                if known is None
                else ({i for i in range(256) if re.match(known, bytes([i]))}, 0, end + 1)
            )
    else:
        plain = _one(text, at)
        if not plain:
            return None
        at = plain
    return {text[at]}, text[at], at + 1


def _one(text: bytes, at: int) -> int:
    """Where the byte at `at` stands once a backslash before it is passed; 0: nowhere."""
    at += text[at : at + 1] == b"\\"
    return at if at < len(text) else 0
