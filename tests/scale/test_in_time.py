"""Workers' own threads on a clock that the test moves: when what a lost worker held is given again,
while the ssh of that worker hangs. Boxes work off their rounds by that clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from devbox.model import Batch, Piece, PieceState, Run, RunState
from devbox.scale import worker as workers
from devbox.scale.batch import Asked
from devbox.scale.losses import lose
from devbox.scale.team import Ended, Team
from devbox.spec import BoxSpec, JobSpec, Spec
from devbox.wire.jobs import Attempt, JobStatus, RoundDone, RoundsAnswer, RoundsAsked
from devbox.workspace import Workspace
from tests.core.test_state import a_box

PIECES = 300  # of one second each
KNOWN = 30.0  # seconds from when a loss is known until all that was held is given


class Time:
    """It stands still while any thread works, and then moves to when the first is due."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.changed = threading.Condition()
        self.wakes: dict[int, Wake] = {}

    def read(self) -> float:
        return self.now

    def step(self) -> None:
        with self.changed:
            self.changed.wait_for(lambda: all(wake.rests for wake in self.wakes.values()))
            due = [wake.due for wake in self.wakes.values() if wake.due is not None]
            self.now = min(due, default=self.now)
            self.changed.notify_all()

    def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(10_000):
            if condition():
                return
            self.step()
        raise AssertionError("it never came")


class Wake(threading.Event):
    """What a worker's thread waits for. over: its thread has ended, or hangs."""

    def __init__(self, time: Time) -> None:
        super().__init__()
        self._time = time
        self.due: float | None = None
        self.over = False

    @property
    def rests(self) -> bool:
        waits = self.due is not None and self._time.now < self.due and not self.is_set()
        return self.over or waits

    def set(self) -> None:
        with self._time.changed:
            super().set()
            self._time.changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        with self._time.changed:
            self.due = due = self._time.now + (timeout or 0.0)
            self._time.changed.notify_all()
            self._time.changed.wait_for(lambda: self.is_set() or self._time.now >= due)
            self.due = None
            return self.is_set()

    def end(self) -> None:
        with self._time.changed:
            self.over, self.due = True, None
            self._time.changed.notify_all()


class Box:
    """It works off its rounds one after the other, a piece in a second."""

    def __init__(self, time: Time, run: str) -> None:
        self._time, self._run = time, run
        self._ends: dict[int, tuple[float, float]] = {}  # round → when it begins and ends
        self._closed = False
        self._began = time.now

    def answer(self, asked: RoundsAsked) -> RoundsAnswer:
        now, self._closed = self._time.now, self._closed or asked.close
        for each in asked.add:
            begins = max([now, *(end for _, end in self._ends.values())])
            self._ends.setdefault(each.number, (begins, begins + len(each.pieces)))
        back = tuple(n for n in asked.withdraw if self._ends.get(n, (now, now))[0] > now)
        for number in back:
            self._ends.pop(number, None)
        done = [(n, ends - begins) for n, (begins, ends) in self._ends.items() if ends <= now]
        at_work = [(n, begins <= now) for n, (begins, ends) in self._ends.items() if ends > now]
        ended = self._closed and not at_work
        return RoundsAnswer(
            waiting=tuple(n for n, begun in at_work if not begun),
            begun=tuple(n for n, begun in at_work if begun),
            withdrawn=back,
            finished=tuple(RoundDone(n, took, int(took)) for n, took in done[asked.seen :]),
            closed=self._closed,
            status=JobStatus(
                id=self._run,
                state="succeeded" if ended else "running",
                attempts=(Attempt(self._began, now if ended else None),),
            ),
            now=now,
        )


class Crew:
    """A batch of three workers, each in its thread. hung: those whose ssh hangs."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = Time()
        project = Spec(project="p", root=home, boxes={"w": BoxSpec(provider="local")})
        self.ws = Workspace(project, clock=self.time.read)
        asked = Asked("clips", str(home), 3, 3)
        request = msgspec.json.encode(asked)
        self.batch = Batch(
            "b", "j", "w", str(home), RunState.RUNNING, self.time.now, request=request
        )
        pieces = [Piece(f"p{n:03}", 1.0) for n in range(PIECES)]
        self.ws.store.batches.insert(self.batch, pieces)
        self.team = Team(self.ws, self.batch, asked, JobSpec(name="j"), {})
        monkeypatch.setattr("devbox.jobs.fetch.outputs", lambda *_: None)
        self.hung: set[int] = set()
        self._released = threading.Event()
        self._threads = [self._start(monkeypatch) for _ in range(3)]

    def _start(self, monkeypatch: pytest.MonkeyPatch) -> threading.Thread:
        worker = self.team.start_worker()
        number, name = worker.number, worker.box_name
        at = a_box(name, created=self.time.now)
        self.ws.store.boxes.insert(at, "running", {}, self.time.now)
        run = Run(f"b-w{number}", at.id, name, "j", RunState.RUNNING, self.time.now, batch="b")
        self.ws.store.runs.put(run)
        self.team.placed(number, at)
        self.team.opened(number, run.id)
        wake = self.time.wakes[number] = self.team._wakes[number] = Wake(self.time)
        box = Box(self.time, run.id)
        member = workers._Member(self.team, worker)
        member.box, member._run = at, run

        def said(asked: RoundsAsked) -> RoundsAnswer:
            if number in self.hung:
                wake.end()
                self._released.wait()
            answer = box.answer(asked)
            member._known.update(answer.waiting, answer.begun, answer.withdrawn)
            member._known.update(done.number for done in answer.finished)
            return answer

        def run_it() -> None:
            with suppress(Ended, workers.Lost):
                member.rounds()
                self.team.over(number)
            wake.end()

        monkeypatch.setattr(member, "_said", said)
        monkeypatch.setattr(member, "_send", lambda _: True)
        thread = threading.Thread(target=run_it, daemon=True)
        thread.start()
        return thread

    def of(self, number: int, state: PieceState = PieceState.GIVEN) -> set[str]:
        """Pieces of a worker, by what is written down."""
        found = self.ws.store.batches.pieces("b")
        return {p.name for p in found if p.state is state and p.worker == number}

    def waiting(self) -> bool:
        return self.ws.store.batches.counts("b").waiting > 0

    def release(self) -> None:
        """What hung is answered; until nothing is left to do."""
        for number in self.hung:
            self.time.wakes[number].over = False
        self.hung.clear()
        self._released.set()
        self.time.until(lambda: all(wake.over for wake in self.time.wakes.values()))
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        assert self.ws.store.batches.counts("b").done == PIECES


def test_what_a_lost_worker_held_is_given_to_others_within_half_a_minute(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = Crew(home, monkeypatch)
    time, team = crew.time, crew.team
    time.until(lambda: not crew.waiting())
    held = crew.of(2)
    assert held, "what it works on"
    crew.hung.add(2)
    time.until(lambda: time.wakes[2].over)
    lose(team, crew.ws, 2, crew.ws.store.runs.get("b-w2"), "its box is terminated")
    known = time.now
    time.until(lambda: not crew.waiting())
    assert time.now <= known + KNOWN
    assert held <= crew.of(1) | crew.of(3) | crew.of(1, PieceState.DONE) | crew.of(
        3, PieceState.DONE
    )
    time.until(lambda: team.board.finished)
    crew.release()
    assert [str(w.state) for w in crew.ws.store.batches.workers("b")] == ["over", "lost", "over"]


def test_a_worker_that_hangs_has_what_it_held_and_others_the_rest(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = Crew(home, monkeypatch)
    time = crew.time
    time.until(lambda: crew.ws.store.batches.counts("b").done > 30)
    crew.hung.add(2)
    time.until(lambda: time.wakes[2].over)
    held = crew.of(2)
    began, rest = time.now, PIECES - len(held)
    time.until(lambda: crew.ws.store.batches.counts("b").done == rest)
    assert crew.of(2) == held
    assert time.now <= began + rest / 2 + KNOWN, "two work on as if it were not there"
    crew.release()
    assert held <= crew.of(2, PieceState.DONE)
