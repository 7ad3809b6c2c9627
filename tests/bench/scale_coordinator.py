"""The coordinator of a batch of the current project's texts, over 8 workers that answer at once: a
process of its own, which prints its processor time and its memory as JSON."""

from __future__ import annotations

import json
import resource
from pathlib import Path

from devbox.jobs import catalogue
from devbox.scale import batch as batches
from devbox.scale.batch import Asked
from devbox.scale.team import Team
from devbox.wire.jobs import RoundDone
from devbox.workspace import Workspace
from tests.core.test_state import a_box

_WORKERS = 8
_RATE = 20.0  # pieces a second


def main() -> None:
    ws = Workspace.open(Path.cwd())
    job = catalogue.find(ws.spec, "wait")
    source = Path.cwd() / "texts"
    asked = Asked("texts", str(source), _WORKERS, _WORKERS)
    batch = batches.create(ws, job, "w", {}, {"texts": source}, asked)
    team = Team(ws, batch, asked, job, batches.files(job, "texts", source))
    ready = a_box("w")
    for _ in range(_WORKERS):
        worker = team.start_worker()
        team.placed(worker.number, ready)
        team.opened(worker.number, f"{batch.id}-w{worker.number}")
    rounds = 0
    staged = batches.results(batch) / "staged"
    staged.mkdir()
    while team.board.workers and not team.board.finished:
        for worker in team.board.workers:
            number = worker.number
            turn = team.turn(number, 1.0)
            rounds += turn.give is not None
            if held := team.held(number):
                first = held[0]
                team.heard(number, (first.number,), ())
                size = len(first.pieces)
                team.settle(number, RoundDone(first.number, size / _RATE, size), staged)
    assert ws.store.batches.counts(batch.id).done == ws.store.batches.counts(batch.id).total
    used = resource.getrusage(resource.RUSAGE_SELF)
    told = {"cpu": used.ru_utime + used.ru_stime, "rss": used.ru_maxrss / 1024, "rounds": rounds}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
