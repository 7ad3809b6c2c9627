"""A Space guards itself where it has a pause token: the page it serves, run against the Hub."""

from __future__ import annotations

import importlib.util
import socket
import threading
import time
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from devbox import paths
from devbox.model import BoxState
from devbox.providers.hf import tags
from devbox.providers.hf.space import HfSpace
from devbox.spec import BoxSpec, HfSettings, Idle, Seconds
from tests.boxes import request_for, wait_for_state
from tests.emulators.hf import HfEmulator
from tests.providers.hf.conftest import PAUSE_TOKEN


class Enough(Exception):
    """Ends the guard's loop after one round."""


@pytest.fixture
def serve(home: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The page's program, with its marks in a folder of the test."""
    place = importlib.util.spec_from_file_location("serve", paths.data("images") / "files/serve.py")
    assert place
    assert place.loader
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    monkeypatch.setattr(module, "ARMED", str(home / "armed"))
    monkeypatch.setattr(module, "BEGAN", str(home / "began"))
    return module


def one_round(serve: ModuleType, monkeypatch: pytest.MonkeyPatch, later: float) -> None:
    """One look of the guard, that many seconds after the box began."""
    serve.began()
    now = time.time()

    def enough(_: float) -> None:
        raise Enough

    with monkeypatch.context() as patch:
        patch.setattr(serve.time, "time", lambda: now + later)
        patch.setattr(serve.time, "sleep", enough)
        with pytest.raises(Enough):
            serve.guard()


def test_a_space_that_nobody_came_back_to_is_paused_by_its_own_page(
    hub: HfEmulator,
    config: HfSettings,
    serve: ModuleType,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.account.add_token(PAUSE_TOKEN, repos=["me/devbox-b"])
    space = HfSpace(msgspec.structs.replace(config, pause_token="env:PAUSE_TOKEN_OF_TEST"))
    wanted = BoxSpec(provider="hf-space", idle=Idle(after=Seconds(1200)), max_uptime=Seconds(9000))
    request = request_for("b", wanted, hardware="t4-small")
    handle = space.create(request)
    wait_for_state(space, handle, BoxState.RUNNING)
    given = {key: each.value for key, each in hub.spaces[handle].variables.items()}
    assert given[tags.UNARMED] == "1200"
    recipe = space.watchdog(handle)
    assert recipe
    assert given[tags.PAUSE_URL] == recipe.url
    for key, value in {**given, tags.PAUSE_TOKEN: PAUSE_TOKEN}.items():
        monkeypatch.setenv(key, value)
    one_round(serve, monkeypatch, 1100.0)
    assert hub.meter.billing() == [handle]
    (home / "armed").touch()
    one_round(serve, monkeypatch, 1300.0)
    assert hub.meter.billing() == [handle], "someone armed it"
    one_round(serve, monkeypatch, 9200.0)
    assert hub.meter.billing() == [], "its watchdog let max_uptime pass"
    wait_for_state(space, handle, BoxState.PAUSED)


@pytest.mark.parametrize(
    ("lived", "armed", "unarmed", "longest", "why"),
    [
        (100, False, 200, 900, ""),
        (200, False, 200, 900, "nobody armed this box"),
        (200, True, 200, 900, ""),
        (950, True, 200, 900, ""),  # the watchdog has a moment to do it itself
        (1020, True, 200, 900, "its max_uptime is over"),
        (10**6, False, 0, 0, ""),
    ],
)
def test_when_a_space_is_overdue(
    serve: ModuleType, lived: float, armed: bool, unarmed: float, longest: float, why: str
) -> None:
    assert serve.overdue(lived, armed, unarmed, longest) == why


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b""])
def test_an_answer_that_is_no_http_does_not_end_the_guard(
    serve: ModuleType, answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reply() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        assert not serve.pause(f"http://127.0.0.1:{server.getsockname()[1]}/pause", "token")
        thread.join()
    assert "it was not paused" in capsys.readouterr().out


def test_without_a_token_a_space_asks_nothing(space: HfSpace, hub: HfEmulator) -> None:
    handle = space.create(request_for("b", BoxSpec(provider="hf-space"), hardware="t4-small"))
    assert tags.PAUSE_URL not in hub.spaces[handle].variables
