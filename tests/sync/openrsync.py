#!/usr/bin/env python3
"""Stands in for macOS's openrsync: says its version, refuses what its getopt table lacks, and
otherwise runs the real rsync without the argument protection that openrsync does not have.

The tables are those of openrsync's main.c as macOS 15.4 ships it; the version text was recorded
there by others (see devbox/sync/rsync_dialect.py). Written by hand: no openrsync runs here.
"""

from __future__ import annotations

import os
import sys

VERSION = "openrsync: protocol version 29\nrsync version 2.6.9 compatible\n"
SHORT = set("0468CDEFHIKLOPRSVWabcdghiklnopqrtuvxyz")
SHORT_WITH_VALUE = set("BefT")
# fmt: off
_FLAGS = """8-bit-output append archive backup blocking-io cache no-cache checksum compress
    copy-dirlinks copy-links copy-unsafe-links cvs-exclude no-D daemon del delete delete-before
    delete-during delete-delay delete-after delete-excluded devices no-devices dry-run
    executability existing extended-attributes force fuzzy group no-group hard-links help
    human-readable ignore-errors ignore-existing ignore-non-existing ignore-times inplace ipv4
    ipv6 keep-dirlinks links list-only motd no-motd no-links numeric-ids omit-dir-times owner
    no-owner one-file-system partial no-partial perms no-perms quiet recursive no-recursive
    safe-links sender server size-only specials no-specials sparse stats super no-super times
    no-times update verbose no-verbose whole-file no-whole-file progress no-progress relative
    no-relative remove-source-files version dirs no-dirs no-implied-dirs from0 itemize-changes
    delay-updates"""
_SETTINGS = """address backup-dir block-size bwlimit checksum-seed chmod compare-dest copy-dest
    link-dest compress-level contimeout exclude exclude-from filter include include-from
    max-delete max-size min-size password-file partial-dir port protocol read-batch rsh
    rsync-path sockopts suffix temp-dir timeout only-write-batch write-batch files-from
    out-format log-format modify-window"""
# fmt: on
LONG = frozenset(_FLAGS.split())
LONG_WITH_VALUE = frozenset(_SETTINGS.split())


def refuse(option: str) -> None:
    print(f"rsync: unrecognized option `{option}'", file=sys.stderr)
    sys.exit(1)


def check(arguments: list[str]) -> None:
    rest = iter(arguments)
    for argument in rest:
        if argument.startswith("--"):
            name, has_value, _ = argument[2:].partition("=")
            if name not in LONG | LONG_WITH_VALUE or (has_value and name in LONG):
                refuse(argument)
            if name in LONG_WITH_VALUE and not has_value:
                next(rest)
        elif argument.startswith("-"):
            for at, letter in enumerate(argument[1:], 2):
                if letter in SHORT_WITH_VALUE:
                    if at == len(argument):
                        next(rest)
                    break
                if letter not in SHORT:
                    refuse(argument)


def main() -> None:
    if sys.argv[1:] == ["--version"]:
        print(VERSION, end="")
        return
    check(sys.argv[1:])
    real = os.environ["REAL_RSYNC"]
    os.execv(real, [real, "--old-args", *sys.argv[1:]])


if __name__ == "__main__":
    main()
