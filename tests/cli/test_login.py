"""`devbox login`: asks without showing it, keeps only what the provider took, says the rest."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import Devbox
from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator
from tests.emulators.modal import ModalEmulator
from tests.providers.host.machine import Machine
from tests.terminal import Typed, type_at

TOKEN = "hf_never_shown_0123456789"
_MODULE = [sys.executable, "-m", "devbox.cli.main"]


def login(*words: str, answers: list[tuple[str, str]] | None = None) -> Typed:
    return type_at([*_MODULE, "login", *words], answers or [])


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HfEmulator]:
    """A Hub that the client would find, and no token."""
    with HfEmulator(state_dir=home / "hub") as hub:
        for key, value in hub.env().items():
            monkeypatch.setenv(key, value)
        monkeypatch.delenv("HF_TOKEN")
        hub.account.add_token(TOKEN)
        yield hub


def test_a_token_is_asked_for_checked_and_kept(hub: HfEmulator, project: Path, home: Path) -> None:
    wrong = login("hf-space", answers=[("not shown: ", "hf_wrong")])
    assert wrong.code == 7, wrong.screen
    assert "make one at https://huggingface.co/settings/tokens" in wrong.screen
    assert not any(b"hf_wrong" in each.read_bytes() for each in _files(home))

    done = login("hf-space", answers=[("not shown: ", TOKEN)])
    assert done.code == 0, done.screen
    assert TOKEN not in done.screen
    assert "has PRO, which Dev Mode needs" in done.screen
    assert "ZeroGPU time left: 23m" in done.screen
    assert "unknown  hf-space: credits left" in done.screen
    key = (home / ".devbox/ssh/id_ed25519.pub").read_text().split()[1]
    assert key in done.screen.replace("\n", ""), "the key to add at the account is said"
    assert done.screen.rstrip().endswith("next: devbox init --provider hf-space")
    kept = [each for each in _files(home) if TOKEN.encode() in each.read_bytes()]
    assert kept
    assert all(each.stat().st_mode & 0o077 == 0 for each in kept)

    hub.account.pro = False
    again = login("hf-space")  # nothing is asked: there is a token
    assert "no PRO" in again.screen
    assert again.code == 0


def test_a_token_is_not_asked_for_without_a_terminal(hub: HfEmulator, devbox: Devbox) -> None:
    done = devbox("login", "hf-job", input=f"{TOKEN}\n")
    assert done.code == 7
    assert "fix: in a terminal: devbox login hf-job" in done.err


def test_a_token_goes_to_no_other_hub_than_the_clients(hub: HfEmulator, project: Path) -> None:
    (project / "devbox.toml").write_text(
        '[boxes.b]\nprovider = "hf-job"\n[providers.hf]\nendpoint = "https://hub.example"\n'
    )
    from devbox import spec

    spec.trust_file(project / "devbox.toml")
    done = login("hf-job", answers=[("not shown: ", TOKEN)])
    assert done.code == 2, done.screen
    assert "export HF_ENDPOINT=https://hub.example" in done.screen


def test_modals_token_has_two_parts(
    home: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = [("id (ak-…), not shown: ", "ak-shy"), ("secret (as-…), not shown: ", "as-shy")]
    with ModalEmulator() as emulator:
        monkeypatch.setenv("MODAL_SERVER_URL", emulator.url)
        emulator.knobs.set("WorkspaceNameLookup", Fault.unauthorized(), times=1)
        refused = login("modal", answers=pair)
        assert refused.code == 7, refused.screen
        assert not (home / ".modal.toml").exists()
        done = login("modal", answers=pair)
        assert done.code == 0, done.screen
        assert "workspace emulated-workspace" in done.screen
        assert "$0.00 used, $0.00 billed" in done.screen
        assert "as-shy" in (home / ".modal.toml").read_text()
        assert (home / ".modal.toml").stat().st_mode & 0o077 == 0
        assert "as-shy" not in done.screen
        assert emulator.unexpected == []


def test_a_machine_of_the_users_is_reached_or_named(home: Path, devbox: Devbox) -> None:
    machine = Machine(home, "lab")
    try:
        done = devbox("login", "ssh", "--host", "lab")
        assert done.code == 0, done.err
        assert "lab answers at 127.0.0.1" in done.out
        assert "next: devbox init --provider ssh --host lab" in done.err
        machine.off()
        off = devbox("login", "ssh", "--host", "lab", "--json")
        assert off.code == 1
        assert [check["level"] for check in off.data["checks"]] == ["fail"]
    finally:
        machine.close()


def test_providers_without_credentials_are_checked_too(devbox: Devbox) -> None:
    done = devbox("login", "local")
    assert done.code == 0, done.err
    assert "local boxes can listen on 127.0.0.1" in done.out
    assert devbox("login", "local", "--again").code == 2
    assert devbox("login", "nowhere").code == 2


def _files(home: Path) -> list[Path]:
    folders = [home / ".cache", home / ".devbox"]
    return [Path(at, f) for each in folders for at, _, names in os.walk(each) for f in names]
