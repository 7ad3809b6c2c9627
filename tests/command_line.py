"""The command line run in this process: output, error text and exit code as a user gets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from devbox.cli.main import cli
from devbox.errors import DevboxError


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        loaded = json.loads(self.out)
        assert isinstance(loaded, dict)
        return loaded


Devbox = Callable[..., Outcome]


@pytest.fixture
def project(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, and the current one."""
    folder = home / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def devbox(project: Path) -> Devbox:
    """devbox("ls", "--json") → Outcome."""

    def call(*args: str, input: str | None = None) -> Outcome:
        done = CliRunner().invoke(cli, args, input=input)
        error = done.exception
        if isinstance(error, DevboxError):
            return Outcome(error.exit_code, done.stdout, done.stderr + error.render())
        if error is not None and not isinstance(error, SystemExit):
            raise error
        return Outcome(done.exit_code, done.stdout, done.stderr)

    return call
