"""`devbox trust`: which settings of a project's devbox.toml may take effect."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from devbox import spec
from devbox.cli.common import confirm, echo, json_option, narrate, print_json, yes_option
from devbox.errors import NotFound, NotTrusted, UsageError
from devbox.spec import trust


@click.command("trust")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--show", "showing", is_flag=True, help="Only show them.")
@click.option("--revoke", is_flag=True, help="Trust nothing of this project any more.")
@yes_option
@json_option
def trust_command(
    folder: Path | None, showing: bool, revoke: bool, yes: bool, as_json: bool
) -> None:
    """Trust the settings in FOLDER's devbox.toml that need it (default: this folder).

    \b
    These take effect only from your own ~/.devbox/config.toml, or from a
    project you trust:
      - where credentials go: endpoint, git_endpoint, ssh_gateway, server_url,
        docker_host, host, secrets, pause_token, the secret of a checkpoint
      - what reaches outside the project: sync.path, image and volume paths
      - commands devbox runs by itself: pause_command, idle.save_command
    Changing one of these lines asks again; changing anything else does not.
    """
    if showing and revoke:
        raise UsageError("--show and --revoke exclude each other", fix="devbox trust --show")
    file = _file(folder)
    if revoke:
        known = trust.revoke(file)
        narrate(f"{file} is not trusted any more" if known else f"{file} was not trusted")
        if as_json:
            print_json("trust", file=str(file), trusted=False, lines={})
        return
    lines = spec.asked(file)
    if not showing and lines:
        if not as_json:
            _list(file, lines)
        confirm("Trust these lines?", yes=yes)
        trust.record(file, lines)
    trusted = trust.is_trusted(file, lines)
    if as_json:
        print_json("trust", file=str(file), trusted=trusted, lines=lines)
    elif not lines:
        narrate(f"{file} has nothing that needs trust")
    elif showing:
        _list(file, lines)
        narrate("trusted" if trusted else "not trusted; to trust these lines: devbox trust")
    else:
        narrate("trusted; take it back with: devbox trust --revoke")


def ask(error: NotTrusted) -> bool:
    """With a terminal: show the lines and ask. Whether the project is trusted now."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    lines = spec.asked(error.file)
    narrate(error.what)
    for key, value in lines.items():
        narrate(f"  {key} = {value}")
    if not click.confirm("Trust these lines?", default=False, err=True):
        return False
    trust.record(error.file, lines)
    return True


def _list(file: Path, lines: trust.Lines) -> None:
    echo(f"# {file}")
    for key, value in lines.items():
        echo(f"{key} = {value}")


def _file(folder: Path | None) -> Path:
    start = (folder or Path.cwd()).absolute()
    file = start if start.is_file() else spec.find(start)
    if file is None or file.name != spec.FILE_NAME:
        raise NotFound(f"there is no {spec.FILE_NAME} in {start} or above", fix="devbox init")
    return file
