"""Which paths are kept in step: the spec, the ignore files and the defaults as one ordered list.

The first rule that matches decides, and a folder that is excluded is not entered, as in rsync:

1. devbox's own files: out.
2. `include` of the spec, and the folders on the way to it: in.
3. what a user never wants on the other machine, and secrets (`defaults`): out.
4. what lies inside an included folder: in.
5. `exclude` of the spec: out.
6. `.gitignore` files, the deepest first, as git reads them; then a `.dockerignore` at the root,
   as Docker reads it. The first of the two that has a matching line decides.

`include` and `exclude` are written in gitignore syntax. An include reaches into an excluded
folder when it is written with its path (`data/sample.csv`), not by its bare name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

from devbox import spec
from devbox.ignore import defaults
from devbox.ignore.defaults import JUNK
from devbox.ignore.globs import Glob, literal, parse
from devbox.wire import files as wire

DOCKERIGNORE = ".dockerignore"


class Rule(NamedTuple):
    """source: 'spec', 'default', 'secret', 'git', or the path of an ignore file. text: its line."""

    keep: bool
    glob: Glob
    source: str
    text: str = ""


class Rules:
    """An ordered list of rules. Two with the same rules decide alike."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)

    def filters(self) -> bytes:
        """For rsync's --exclude-from, ended by NULs (--from0)."""
        return b"".join(
            (b"+ " if rule.keep else b"- ") + pattern + b"\0"
            for rule in self.rules
            for pattern in rule.glob.rsync()
        )

    def decide(self, path: bytes, *, folder: bool) -> Rule | None:
        """The rule that decides about `path` itself, all folders above it being kept."""
        found = (self._folders if folder else self._files).match(path)
        if not found or not found.lastindex:
            return None
        return (self.rules if folder else self._for_files)[found.lastindex - 1]

    def keeps(self, path: bytes, *, folder: bool) -> bool:
        """Whether `path` is in, asking also for each folder above it."""
        at = path.find(b"/")
        while at >= 0:
            rule = self.decide(path[:at], folder=True)
            if rule and not rule.keep:
                return False
            at = path.find(b"/", at + 1)
        rule = self.decide(path, folder=folder)
        return rule is None or rule.keep

    def regexes(self) -> tuple[wire.Rules, wire.Rules]:
        """The rules for folders and those for files, as the box half applies them."""
        return _rows(self.rules), _rows(self._for_files)

    @cached_property
    def _for_files(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if not rule.glob.folders_only)

    @cached_property
    def _folders(self) -> re.Pattern[bytes]:
        return _first(self.rules)

    @cached_property
    def _files(self) -> re.Pattern[bytes]:
        return _first(self._for_files)


class Base(NamedTuple):
    """The rules that do not depend on ignore files. opens: an include lies inside a folder that
    may be excluded, so every exclusion must also be said of what is inside."""

    rules: tuple[Rule, ...]
    opens: bool
    tracked: tuple[Rule, ...] = ()

    def tracking(self, paths: Iterable[bytes]) -> Base:
        """With these files, and the folders they lie in, kept whatever an ignore file says: git
        ignores no file that it tracks."""
        kept: dict[Rule, None] = {}
        for path in paths:
            glob = exactly(path)
            kept |= {Rule(True, each, "git"): None for each in (glob, *glob.above())}
        return self._replace(tracked=tuple(kept))

    def with_ignored(self, ignored: Iterable[Rule]) -> Rules:
        """These rules, then those of the ignore files."""
        opens = self.opens or self.tracked
        return Rules([*self.rules, *self.tracked, *(_and_below(ignored) if opens else ignored)])


def whole(sync: spec.Sync) -> Rules:
    """All but devbox's own files and what is made again on each machine: what a box may hold that
    someone would miss, whether it is synced or not."""
    return base(sync, fetched=(), secrets=(), excludes=()).with_ignored(())


def base(
    sync: spec.Sync,
    *,
    fetched: Iterable[str] = defaults.FETCHED,
    secrets: Iterable[str] = defaults.SECRETS,
    excludes: Iterable[str] | None = None,
) -> Base:
    """The rules before the ignore files' (1-5). excludes: in place of the spec's. SyncError for a
    pattern rsync cannot be told."""
    includes = [rule.glob for rule in _lines(sync.include, "spec") if not rule.keep]
    left_out = _lines(sync.exclude if excludes is None else excludes, "spec")
    opened = [above for glob in includes for above in glob.above()]
    junk = [*_lines([*JUNK, *fetched], "default"), *_lines(secrets, "secret")]
    rules = [
        *_lines(defaults.OURS, "default"),
        *(Rule(True, glob, "spec") for glob in [*includes, *opened]),
        *junk,
        *(Rule(True, glob.below(), "spec") for glob in includes),
        *(_below(rule) for rule in junk if opened and not rule.keep),
        *(_and_below(left_out) if opened else left_out),
    ]
    return Base(tuple(rules), bool(opened))


def gitignore(content: bytes, *, under: bytes = b"", below: tuple[bytes, ...] = ()) -> list[Rule]:
    """The rules of one .gitignore, first match first. under: its folder, relative to the root.
    below: for one above the root, the names of the folders that lead from it down to the root."""
    name = (under + b"/.gitignore").removeprefix(b"/").decode(errors="replace")
    out: list[Rule] = []
    for line in _git_lines(content):
        keep = line.startswith(b"!")
        glob = parse(line[1:] if keep else line, under=under)
        globs = [glob] if glob else []
        for folder in below:
            globs = [rest for each in globs for rest in each.inside(folder)]
        out += [Rule(keep, each, name) for each in globs]
    return out[::-1]


def dockerignore(content: bytes) -> list[Rule]:
    """The rules of the root's .dockerignore, first match first. Unlike in git, a name counts
    from the root, and an exception reaches into an excluded folder."""
    out: list[Rule] = []
    for raw in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        line = raw.strip()
        keep = line.startswith(b"!")
        words = [part for part in line[keep:].strip().split(b"/") if part not in (b"", b".")]
        glob = parse(b"/".join(words), docker=True)
        if glob is None or line.startswith(b"#"):
            continue
        text = "!" * keep + b"/".join(words).decode(errors="replace")
        rule = Rule(keep, glob, DOCKERIGNORE, text)
        above = glob.above() if keep else ()
        out += [*(rule._replace(glob=each) for each in above), _below(rule), rule]
    return out[::-1]


def image(content: bytes) -> Rules:
    """What a build leaves out, by the content of a .dockerignore. Ask of a path alone, with
    `decide`: an exception may bring back what lies in any folder."""
    junk = _lines([*JUNK, *defaults.OURS], "default")
    return Rules([*dockerignore(content), *_and_below(junk)])


def without(rules: Rules, paths: Iterable[bytes]) -> Rules:
    """`rules` with exactly these paths left out, and what is in them."""
    return Rules([*(Rule(False, exactly(path), "spec") for path in paths), *rules.rules])


def exactly(path: bytes) -> Glob:
    return Glob(tuple(literal(name) for name in path.split(b"/")))


def selection(patterns: Iterable[str]) -> Rules:
    """Chooses what matches one of `patterns`, or lies in a folder that does: such paths are the
    ones that these rules do *not* keep."""
    return Rules(_lines(patterns, "spec"))


def _and_below(rules: Iterable[Rule]) -> list[Rule]:
    return [r for rule in rules for r in (rule, *(() if rule.keep else (_below(rule),)))]


def _below(rule: Rule) -> Rule:
    return rule._replace(glob=rule.glob.below())


def _lines(patterns: Iterable[str], source: str) -> list[Rule]:
    """Patterns of a list where, as in gitignore, the last match wins: first match first."""
    out: list[Rule] = []
    for pattern in patterns:
        keep = pattern.startswith("!")
        glob = parse(pattern[1:].encode() if keep else pattern.encode())
        if glob:
            out.append(Rule(keep, glob, source, pattern))
    return out[::-1]


def _git_lines(content: bytes) -> Iterable[bytes]:
    for raw in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        line = raw.partition(b"\0")[0].removesuffix(b"\r")  # git reads no further than a NUL
        if line.startswith(b"#"):
            continue
        # Trailing blanks go, unless a backslash keeps them.
        end = re.search(rb"(?:\\.|[^\\ ]| +(?=[^ ]))*", line, re.DOTALL)
        assert end
        kept = line[: end.end()] if not line.endswith(b"\\") else line
        if kept:
            yield kept


def _rows(rules: Iterable[Rule]) -> wire.Rules:
    return tuple((rule.glob.regex().decode("latin-1"), rule.keep) for rule in rules)


def _first(rules: tuple[Rule, ...]) -> re.Pattern[bytes]:
    """One expression whose `lastindex` is the number (from 1) of the first rule that matches."""
    return re.compile(
        b"|".join(b"(%s\\Z)" % rule.glob.regex() for rule in rules) or rb"(?!)", re.DOTALL
    )
