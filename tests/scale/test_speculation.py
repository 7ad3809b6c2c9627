"""`--speculate`: what a slow worker is late with counts where it is finished first, once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from devbox.jobs import catalogue
from devbox.model import PieceState
from devbox.scale import batch as batches
from devbox.scale.batch import Asked
from devbox.scale.team import Team
from devbox.wire.jobs import RoundDone
from devbox.workspace import Workspace
from tests.core.test_state import a_box
from tests.scale.conftest import Shop
from tests.scale.test_end_to_end import states


def test_an_idle_worker_finishes_what_a_slow_one_holds(workshop: Shop) -> None:
    workshop.texts(12)
    (workshop.root / "texts/t0005.txt").write_text("slow 5\n")
    words = ("--speculate", "--then", "down", "--", "--texts", "texts", "--seconds", "0.1")
    done = workshop.devbox("run", "copy", "--workers", "2", *words)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is finished elsewhere; its part ends") == 1
    made = {path.name for path in workshop.results.glob("*.out")}
    assert made == {f"t{n:04}.txt.out" for n in range(12)}
    assert not [path for path in workshop.results.rglob("*.out") if path.parent != workshop.results]
    assert Counter(workshop.trace.read_text().split())["t0005.txt"] == 1
    batch = workshop.batch()
    assert (batch["state"], batch["counts"]["done"]) == ("succeeded", 12)
    parts = batch["parts"]
    assert sorted(part["state"] for part in parts) == ["cancelled", "succeeded"]
    assert batch["cost_micro_dollars"] > sum(part["cost_micro_dollars"] for part in parts) > 0
    assert states(workshop) == {}


def test_results_of_the_second_are_dropped_and_told(workshop: Shop) -> None:
    source = workshop.texts(3)
    ws = Workspace.open(workshop.root)
    now = [1000.0]
    ws.clock = lambda: now[0]
    job = catalogue.find(ws.spec, "copy")
    asked = Asked("texts", str(source), 2, 2, speculate=True)
    batch = batches.create(ws, job, "w", {}, {"texts": source}, asked)

    def team() -> Team:
        return Team(ws, batch, asked, job, batches.files(job, "texts", source))

    def staged(name: str) -> Path:
        folder = batches.results(batch) / ".devbox" / name
        folder.mkdir(parents=True)
        (folder / "out.txt").write_text(name)
        return folder

    first = team()
    for number in (1, 2):
        assert first.start_worker().number == number
        first.placed(number, a_box("w"))
        first.opened(number, f"{batch.id}-w{number}")
    for number in (1, 2):
        given = first.turn(number, 0.0).give
        assert given
        first.heard(number, (1,), ())
        first.settle(number, RoundDone(1, 1.0, 1), staged(f"begin{number}"))
    assert first.turn(1, 0.0).give
    first.heard(1, (2,), ())
    assert not first.turn(2, 0.0).give
    now[0] += 60.0
    assert first.turn(2, 0.0).give
    first.end()

    second = team()  # as by `devbox attach`
    second.heard(1, (2,), ())
    second.heard(2, (2,), ())
    (kept, dropped) = staged("of2"), staged("of1")
    second.settle(2, RoundDone(2, 1.0, 1), kept)
    second.settle(1, RoundDone(2, 90.0, 1), dropped)
    said = [second.notes.get_nowait().text for _ in range(second.notes.qsize())]
    assert said[-1:] == ["w1-r2: another worker finished it first; these results are dropped"]
    assert not dropped.exists()
    written = {path.read_text() for path in batches.results(batch).glob("out*.txt")}
    assert written == {"begin1", "begin2", "of2"}
    assert {piece.state for piece in ws.store.batches.pieces(batch.id)} == {PieceState.DONE}
    assert second.is_finished()
    ws.store.close()


def test_it_is_refused_where_nobody_would_watch(workshop: Shop) -> None:
    workshop.texts(2)
    texts = ("--", "--texts", "texts")
    for words, why in (
        (("--workers", "2", "--speculate", "--detach", *texts), "with --detach nobody does"),
        (("--speculate", *texts), "--speculate is for a batch"),
    ):
        done = workshop.devbox("run", "copy", *words)
        assert done.returncode == 2, done.stderr
        assert why in done.stderr
    assert not (workshop.root / "results").exists()
