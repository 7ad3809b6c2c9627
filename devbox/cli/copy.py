"""`devbox cp`: files to a box, or from one, that sync rules know nothing of."""

from __future__ import annotations

import os
import sys

import click

from devbox.cli.connect import on_this_terminal, reachable


@click.command("cp")
@click.argument("paths", nargs=-1, required=True, metavar="SOURCE... TARGET")
def cp_command(paths: tuple[str, ...]) -> None:
    """Copy files and folders to or from a box; a path there is BOX:PATH.

    \b
    devbox cp weights.pt train:work/
    devbox cp -- train:work/out train:log.txt .

    By rsync: what is there already in the same state is not sent, a copy that was cut continues.
    A path on the box that is not absolute begins in its login folder.
    """
    from devbox import process
    from devbox.errors import UsageError
    from devbox.remote import command
    from devbox.sync import rsync_dialect

    *sources, target = paths
    boxes = {box for box, _ in map(_split, sources)}
    there, _ = _split(target)
    if not sources or len(boxes) != 1 or bool(there) == bool(boxes - {""}):
        raise UsageError(
            "name files here and one place on a box, or files of one box and one place here",
            fix="for example: devbox cp weights.pt train:work/",
        )
    name = there or boxes.pop()
    program = process.require("rsync")
    kind = rsync_dialect.detect(program)
    host = reachable(name)

    def place(text: str) -> str:
        box, path = _split(text)
        return kind.remote(host.alias, path) if box else _absolute(path)

    options = ["-a", "--partial", *(["-s"] if kind.secluded else [])]
    options += kind.receiving() if not there else []
    options += ["--info=progress2"] if kind.informs and sys.stderr.isatty() else []
    line = [program, *options, "-e", command.rsh(), *map(place, sources), place(target)]
    sys.exit(on_this_terminal(line))


def _split(text: str) -> tuple[str, str]:
    """Box and path; no box for a path here. As with scp, a colon behind a slash names no host."""
    before, colon, path = text.partition(":")
    return (before, path or ".") if colon and before and "/" not in before else ("", text)


def _absolute(path: str) -> str:
    """As it is typed, its last slash too, and never an option nor a host."""
    return os.path.join(os.getcwd(), path)
