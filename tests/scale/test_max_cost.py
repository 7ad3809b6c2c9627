"""--max-cost where a price is not known: refused before anything is started."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from devbox.model import Batch, Hardware, Offer, Piece, Price, RunState
from devbox.providers.local.provider import Local
from devbox.scale.batch import Asked
from devbox.workspace import Workspace
from tests.command_line import Devbox
from tests.core.test_state import a_box

TOML = """
[boxes.w]
provider = "local"

[jobs.copy]
command = ["cp", "{texts}", "{out}"]
inputs.texts = { patterns = ["*.txt"], spread = "files" }
"""
RUN = ("run", "copy", "--workers", "2", "--max-cost", "1", "--", "--texts", "a.txt")


@pytest.fixture
def ws(project: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A project, and hardware without a price."""
    (project / "devbox.toml").write_text(TOML)
    (project / "a.txt").write_text("a")
    offer(monkeypatch, None)
    return Workspace.open()


def offer(monkeypatch: pytest.MonkeyPatch, price: int | None) -> None:
    found = Offer("local", Hardware("cpu"), Price(price, "live"), 1.0)
    monkeypatch.setattr(Local, "offers", lambda _: [found])


def require_refused(devbox: Devbox, *words: str, what: str) -> None:
    done = devbox(*words)
    assert done.code == 2, done.err
    assert f"the price of {what} is unknown, so that --max-cost cannot be kept" in done.err
    assert "nothing was started" in done.err
    assert "fix: choose hardware with a known price (devbox offers)" in done.err


def a_batch(ws: Workspace, ceiling: int | None) -> Batch:
    """One that ended with a piece left."""
    asked = Asked("texts", str(ws.spec.root / "a.txt"), 2, 2, ceiling=ceiling)
    request = msgspec.json.encode(asked)
    batch = Batch("b", "copy", "w", ws.here.root, RunState.FAILED, 10.0, 20.0, request=request)
    ws.store.batches.insert(batch, [Piece("a.txt", 1.0)])
    return batch


def test_hardware_without_a_price_makes_no_box(ws: Workspace, devbox: Devbox) -> None:
    require_refused(devbox, *RUN, what="local cpu")
    assert ws.store.boxes.all(over=True) == []
    assert ws.store.batches.latest() == []
    assert not (ws.spec.root / "results").exists()


def test_a_box_that_is_there_without_a_price_is_no_worker(
    ws: Workspace, devbox: Devbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, 1_000_000)
    box = a_box("w-2", price=Price(None, "unknown"), root=ws.here.root, project=ws.spec.project)
    ws.store.boxes.insert(box, "running", {}, 1.0)
    require_refused(devbox, *RUN, what="w-2")
    assert [each.name for each in ws.store.boxes.all(over=True)] == ["w-2"]
    assert ws.store.batches.latest() == []


@pytest.mark.parametrize("ceiling", [None, 5_000_000])
def test_a_batch_is_not_worked_on_again(ws: Workspace, devbox: Devbox, ceiling: int | None) -> None:
    batch = a_batch(ws, ceiling)
    words = ("--max-cost", "1") if ceiling is None else ()
    require_refused(devbox, "retry", "b", *words, what="local cpu")
    assert ws.store.batches.latest() == [batch]
    assert ws.store.boxes.all(over=True) == []


def test_nobody_would_keep_it_for_a_batch_that_is_left_alone(ws: Workspace, devbox: Devbox) -> None:
    a_batch(ws, 5_000_000)
    told = "--max-cost watches the workers, and with --detach nobody does"
    for words in ((*RUN[:4], "--detach", *RUN[4:]), ("retry", "b", "--detach")):
        done = devbox(*words)
        assert done.code == 2, done.err
        assert told in done.err
        assert "nothing was started" in done.err
    assert ws.store.boxes.all(over=True) == []
