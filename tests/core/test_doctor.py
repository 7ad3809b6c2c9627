"""Doctor's side of this computer: what is found, how grave it is, and the fix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from devbox import doctor, paths
from devbox.errors import ProviderError
from devbox.providers import registry
from devbox.providers.base import Finding
from devbox.spec import BoxSpec, load
from devbox.wire.messages import Check
from devbox.workspace import Workspace


class Unwell:
    """A provider with one broken thing; `message` None: it cannot even be asked."""

    def __init__(self, message: str | None) -> None:
        self._message = message

    def checks(self, wanted: Sequence[BoxSpec]) -> list[Finding]:
        if self._message is None:
            raise ProviderError("Ill: its answer makes no sense", fix="look again")
        return [("ok", "awake", ""), ("fail", self._message, "a pill")]


def report(home: Path, toml: str, monkeypatch: pytest.MonkeyPatch, ill: Unwell) -> list[Check]:
    (home / "devbox.toml").write_text(toml)
    ws = Workspace(load(home / "devbox.toml"))
    monkeypatch.setattr(registry, "NAMES", ("ssh",))
    monkeypatch.setattr(ws, "provider", lambda name: ill)
    try:
        return doctor.laptop(ws)
    finally:
        ws.store.close()


def test_what_nothing_uses_is_no_failure(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unused = report(home, "[boxes.a]\n", monkeypatch, Unwell("no engine"))
    assert Check("warn", "ssh: no engine", "a pill") in unused
    toml = '[boxes.a]\nprovider = "ssh"\nhost = "lab"\n'
    used = report(home, toml, monkeypatch, Unwell("SSH: no engine"))
    assert Check("fail", "SSH: no engine", "a pill") in used
    assert Check("ok", "ssh: awake") in used


def test_a_provider_that_cannot_be_asked_is_told_not_raised(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = report(home, "[boxes.a]\n", monkeypatch, Unwell(None))
    assert Check("warn", "ssh: Ill: its answer makes no sense", "look again") in found


def test_a_key_and_a_config_that_others_could_use(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = paths.identity()
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text("key")
    key.chmod(0o640)
    config = home / ".ssh" / "config"
    config.parent.mkdir(mode=0o700)
    config.write_text("")
    config.chmod(0o666)
    found = report(home, "[boxes.a]\n", monkeypatch, Unwell("x"))
    assert Check("fail", f"{key} can be read by others", f"chmod 600 {key}") in found
    assert Check("fail", f"{config} can be written by others", f"chmod go-w {config}") in found
    assert any("does not include devbox's hosts" in c.what and c.level == "warn" for c in found)
