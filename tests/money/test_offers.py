"""Several providers are asked for their offers at once, and none keeps a user waiting unawares."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from devbox import spec
from devbox.errors import Unavailable
from devbox.model import Hardware, Offer, Price
from devbox.money import offers
from devbox.workspace import Workspace

OFFER = Offer("p", Hardware("h"), Price(0), 0.0)

_HANGS = """
import threading
from devbox import spec
from devbox.money import offers
from devbox.workspace import Workspace
ws = Workspace(spec.Spec(), narrate=lambda line: print(line, flush=True))
ws.tell_every = 0.05
offers.ask(ws, {"far": threading.Event().wait})
"""


def test_all_are_asked_at_once_and_who_is_silent_is_told_of() -> None:
    met, told = threading.Barrier(2), threading.Event()
    said: list[str] = []

    def narrate(line: str) -> None:
        said.append(line)
        told.set()

    def quick() -> list[Offer]:
        met.wait(60)
        raise Unavailable("the Hub does not answer")

    def slow() -> list[Offer]:
        met.wait(60)
        assert told.wait(60)
        return [OFFER]

    ws = Workspace(spec.Spec(), narrate=narrate)
    ws.tell_every = 0.05
    found = offers.ask(ws, {"slow": slow, "quick": quick})
    assert found["slow"] == [OFFER]
    assert isinstance(found["quick"], Unavailable)
    assert "waiting for the offers of" in said[0]
    assert "nothing was started" in said[0]
    assert "slow" in said[0]


def test_what_is_no_answer_is_raised() -> None:
    def wrong() -> list[Offer]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        offers.ask(Workspace(spec.Spec()), {"p": wrong})


def test_ctrl_c_waits_for_no_provider() -> None:
    child = subprocess.Popen([sys.executable, "-c", _HANGS], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    assert "offers of far" in child.stdout.readline()
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode
