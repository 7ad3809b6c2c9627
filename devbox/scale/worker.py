"""One worker of a batch, in a thread of its own: its box brought up, its part started, rounds sent
and their results fetched until nothing is left for it.

What a box is asked for may be asked again: a lost reply, a cut connection and a computer that comes
back all continue where it stands. Only its provider says that a box is gone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from devbox.errors import DevboxError, NoAnswer, SshError, SyncError
from devbox.jobs import fetch, queue, setup, status, submit
from devbox.jobs.fetch import NOTES
from devbox.jobs.submit import Part
from devbox.jobs.transfer import transfer
from devbox.lifecycle import then as after_run
from devbox.lifecycle.down import down
from devbox.lifecycle.observe import refresh
from devbox.lifecycle.pause import pause
from devbox.lifecycle.up import up
from devbox.model import Box, BoxState, Run, Worker, WorkerState
from devbox.remote import agent
from devbox.remote.agent_bootstrap import FOLDER
from devbox.remote.exec import Exec
from devbox.scale import batch as batches
from devbox.scale import losses
from devbox.scale.slot import Round
from devbox.scale.team import Cancelled, Ended, Team
from devbox.sync import before, rsync_process
from devbox.wire import jobs as wire
from devbox.wire.jobs import RoundsAnswer, RoundsAsked
from devbox.workspace import Workspace

_SOON, _LATE = 0.3, 5.0  # seconds between two looks at a box that works
_TROUBLE = (0.5, 1.0, 2.0, 5.0, 10.0)  # between looks at one that does not answer
_AGAIN = 2  # times that an interrupted part is started again on its box
_SOON_AFTER = 120.0  # seconds for which a box that is coming up is tried again after a cut
_LAG = 5.0  # seconds until a round that is given can begin, before that was measured


class Lost(DevboxError):
    """The worker cannot go on; its pieces wait for others."""


def work(team: Team, worker: Worker) -> None:
    """To its end, whatever that is. What is wrong with this program, and not with a worker, is left
    in `team.broken`."""
    try:
        member = _Member(team, worker)
        try:
            member.begin()
            if team.leaving:
                member.hand_over()
                return
            if member.is_needed:
                member.rounds()
                member.finish()
            else:
                member.stop()
        except Cancelled:
            team.cancelled = True
            member.cancel()
        except DevboxError as error:
            member.lose(losses.line(error))
    except Ended:
        return  # why: another process may be at work on the batch by now
    except BaseException as error:
        team.broken = team.broken or error
    finally:
        team.wake_all()


class _Member:
    """What its thread knows: its box, its run, and which rounds the box has."""

    def __init__(self, team: Team, worker: Worker) -> None:
        self.team, self.number, self.name = team, worker.number, worker.box_name
        self.ws: Workspace = team.workspace(worker.box_name)
        self.closed = worker.state is WorkerState.CLOSED
        self._run_id = worker.run
        self._is_old = bool(worker.run)  # its part was begun by another process
        self._known: set[int] = set()  # rounds that its box has
        self._seen = self._tries = 0
        self._lag, self._sent = _LAG, 0.0  # when it was given something last
        self._trouble = 0
        self.box: Box
        self._run: Run | None = None

    def begin(self) -> None:
        """Its box up, and its part running on it: a new one, or the one that was begun."""
        team, ws = self.team, self.ws
        run = ws.store.runs.get(self._run_id) if self._run_id else None
        if run is not None:
            self._run = run
            self.box = self._continued(run)
            team.placed(self.number, self.box)
            return
        began = ws.clock()
        while not self._brought_up(began):
            ws.sleep(_TROUBLE[0])
        self._check()
        if not self.is_needed:
            return
        asked = team.asked
        order = None
        if asked.then:
            order = after_run.order(ws, asked.then, self.box, self.name, stays=not asked.detached)
        part = Part(
            batches.part_id(team.batch, self.number),
            team.batch.id,
            asked.input,
            batches.names_file(team.batch),
        )
        self._run = submit.submit(
            ws,
            self.box,
            team.job,
            asked.args,
            {name: Path(path) for name, path in asked.sources.items()},
            then=order.then if order else None,
            part=part,
            queue=queue.wanted(self.box, team.job),
        )
        team.opened(self.number, self.run.id)
        team.board.starts = max(1.0, ws.clock() - began)

    def _brought_up(self, began: float) -> bool:
        """Its box up and ready for its part, or not needed; False where a connection was cut, soon
        after it began: what is done already takes no time again."""
        asked, ws = self.team.asked, self.ws
        try:
            self.box = up(ws, self.name)
            self.team.placed(self.number, self.box)
            self._check()
            if self.is_needed and not asked.no_sync:
                before.send(ws, self.box)
            if self.is_needed and not asked.no_setup:
                setup.require(ws, self.box)
            return True
        except NoAnswer as error:
            if ws.clock() - began > _SOON_AFTER:
                raise
            self.team.say(f"{self.name}: {error.what}; trying again")
            return False

    def rounds(self) -> None:
        """Until it is told that no more come, and its part has ended; or until all that it works on
        was finished by others. Lost."""
        while True:
            self._check()
            if self.team.is_spare(self.number):
                self.team.say(f"{self.name}: what it works on is finished elsewhere; its part ends")
                self._run = losses.cancel(self.ws, self.run)
                return
            try:
                answer = self._ask()
                self._take(answer)
                self._trouble = 0
                self.team.reach(self.number, reachable=True)
            except (SshError, SyncError) as error:
                self._in_trouble(error)
                continue
            if answer.status.is_over and self._ended(answer):
                return
            if not answer.status.is_over:
                self.team.wait(self.number, self._pause(answer))

    def finish(self) -> None:
        """Its log fetched and what was ordered with it done."""
        team, ws = self.team, self.ws
        notes = batches.results(team.batch) / NOTES / self.name_of_part
        with after_run.fetching(ws, self.run):
            notes.mkdir(parents=True, exist_ok=True)
            with suppress(DevboxError):  # why: neither is a reason to keep a box
                fetch.log(ws, self.box, self.run, notes)
                self._said(RoundsAsked(seen=self._seen))  # the last results go there too
            fetch.mark_fetched(ws, self.run)
        team.over(self.number)
        with self._told():
            after_run.carry_out(ws, self.run)

    def hand_over(self) -> None:
        """Give it its share, all at once, and leave it alone."""
        self.team.shared.wait()
        self.closed = True
        for wait in (*_TROUBLE, None):
            try:
                self._ask()
                return
            except (SshError, SyncError):
                if wait is None:
                    raise
                self.ws.sleep(wait)

    @property
    def is_needed(self) -> bool:
        """Not one that came up when all was done."""
        return self._run is not None or not self.team.is_finished()

    def stop(self) -> None:
        """Its box came up for nothing."""
        self.team.over(self.number)
        self.team.say(f"{self.name} is up, and nothing is left for it")
        self._let_go()

    def lose(self, why: str) -> None:
        losses.lose(self.team, self.ws, self.number, self._run, why)
        self._let_go()

    def _let_go(self) -> None:
        """Do at once with its box what is ordered for after the work, where it was made for this.
        Also one that is up half-way, or whose part cannot go on, may cost."""
        asked, box = self.team.asked, self.ws.store.boxes.own(self.name, self.ws.here)
        if asked.then and box and not box.state.is_over and box.created >= self.team.batch.created:
            with self._told():
                (down if asked.then == "down" else pause)(self.ws, box)

    def cancel(self) -> None:
        """End its part, where it has one."""
        if self._run:
            losses.cancel(self.ws, self._run)
            self.team.over(self.number)
        else:
            self.stop()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """A stop that fails is told, and is no reason to lose what was done."""
        try:
            yield
        except DevboxError as error:
            self.team.say(f"{self.name}: {losses.line(error)}")

    @property
    def run(self) -> Run:
        """Its part."""
        assert self._run
        return self._run

    @property
    def name_of_part(self) -> str:
        return f"w{self.number}"

    # Rounds

    def _ask(self) -> RoundsAnswer:
        """Send what it is to have next, and ask how it is with all of it."""
        if self._is_old:  # what it has is not sent again
            self._said(RoundsAsked())
            self._is_old = False
        began = self.ws.clock()
        turn = self.team.turn(self.number, self._lag)
        self.closed = self.closed or turn.close
        add = []
        for each in self.team.held(self.number):
            if each.number not in self._known and each.pieces and self._send(each):
                add.append(wire.Round(each.number, self._place(each.number), each.pieces))
        if add:
            self._sent = self.ws.clock()
            self._lag = self._sent - began
        answer = self._said(RoundsAsked(tuple(add), turn.withdraw, self.closed, self._seen))
        self._learn(answer)
        self.team.heard(self.number, answer.begun, answer.withdrawn, answer.waiting)
        return answer

    def _said(self, asked: RoundsAsked) -> RoundsAnswer:
        answer = agent.job(Exec(self.box), RoundsAnswer, "rounds", self.run.id, request=asked)
        self._known.update(answer.waiting, answer.begun, answer.withdrawn)
        self._known.update(done.number for done in answer.finished)
        return answer

    def _send(self, given: Round) -> bool:
        """The files of a round to its box; whether they are there. What is no longer here fails."""
        team, source = self.team, Path(self.team.asked.source)
        files: list[bytes] = []
        gone: dict[str, str] = {}
        for piece in given.pieces:
            found = team.files.get(piece, [])
            files += [os.fsencode(path.relative_to(source.parent)) for path in found]
            if not found or not all(path.exists() for path in found):
                gone[piece] = "its file is no longer on this computer"
        if gone:
            team.drop(self.number, given.number, gone)
            return False
        folder = f"{self._folder(given.number)}/in"
        job = rsync_process.Job(self.box, source.parent, folder, True, files=files, extra=("-L",))
        transfer(self.ws, job, total=None)
        return True

    def _take(self, answer: RoundsAnswer) -> None:
        """Fetch what is finished."""
        held = {each.number: each.pieces for each in self.team.held(self.number)}
        for done in answer.finished:
            if done.number in held:
                staged = batches.staging(self.team.batch) / f"{self.name_of_part}-r{done.number}"
                if held[done.number]:
                    staged.mkdir(parents=True, exist_ok=True)
                    there = f"{self._folder(done.number)}/out"
                    fetch.outputs(self.ws, self.box, self.run, there, staged)
                self.team.settle(self.number, done, staged)
                self._tries = 0
            self._seen += 1

    def _folder(self, number: int) -> str:
        return f"{FOLDER}/runs/{self.run.id}/rounds/{number}"

    def _place(self, number: int) -> str:
        return f"{self._folder(number)}/in/{Path(self.team.asked.source).name}"

    def _pause(self, answer: RoundsAnswer) -> float:
        """Until the next look: soon where something is about to be finished or given."""
        if not answer.begun and not answer.waiting:
            return 1.0
        left = self.team.seconds_held(self.number)
        if left is None:
            left = self.ws.clock() - self._sent
        return min(_LATE, max(_SOON, left / 4))

    def _learn(self, answer: RoundsAnswer) -> None:
        """The part's row follows what its box says, unless it was given up."""
        if not self.team.is_member(self.number):
            return
        seen = status.shifted(answer.status, box_now=answer.now, now=self.ws.clock())
        if seen._replace(t=None) != status.of(self.run)._replace(t=None):
            self._run = status.apply(self.run, seen)
            self.ws.store.runs.put(self.run)

    # Trouble

    def _check(self) -> None:
        """Cancelled, or Lost where its provider was heard to say so."""
        if self.team.cancelled:
            raise Cancelled("the batch was cancelled")
        if not self.team.is_member(self.number):
            raise Lost("its provider says that it is gone")

    def _in_trouble(self, error: DevboxError) -> None:
        """It did not answer: lost when its provider says so, else asked again later."""
        if self._trouble == 0:
            self.team.say(f"{self.name}: {error.what}; what it holds continues there")
        self.team.reach(self.number, reachable=False)
        if why := losses.gone(self.ws, self.box):
            raise Lost(why)
        self.box = self.ws.store.boxes.get(self.box.id) or self.box
        self.team.wait(self.number, _TROUBLE[min(self._trouble, len(_TROUBLE) - 1)])
        self._trouble += 1

    def _ended(self, answer: RoundsAnswer) -> bool:
        """Its part is over: True when it was to be. An interrupted one is started again where it
        stands. Lost."""
        left = self.team.held(self.number)
        if self.closed and not left and not answer.waiting and not answer.begun:
            return True
        seen = answer.status
        if seen.reason != "interrupted" or self._tries >= _AGAIN:
            raise Lost(f"its part {seen.state}: {seen.message or 'no reason was given'}")
        self._tries += 1
        self.team.say(f"{self.name}: {seen.message}; starting its part again")
        self._run = submit.retry(self.ws, self.run, then=self._order())
        self._seen = 0
        return False

    def _order(self) -> submit.Ordered | None:
        asked = self.team.asked
        if not asked.then:
            return None
        return after_run.order(
            self.ws, asked.then, self.box, self.name, stays=not asked.detached
        ).then

    def _continued(self, run: Run) -> Box:
        """The box of a part that was begun earlier, up again where it was paused meanwhile. Lost
        when it is gone."""
        box = self.ws.store.boxes.get(run.box_id)
        if box is None:
            raise Lost("its box is no longer tracked")
        (box,) = refresh(self.ws, [box])
        if box.state is BoxState.PAUSED and self.team.held(self.number):
            return up(self.ws, self.name)
        if box.state is not BoxState.RUNNING:
            raise Lost(box.detail or f"its box is {box.state}")
        return box
