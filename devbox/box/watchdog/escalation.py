"""The ladder: armed → warned → saving → pausing, one rung at a time, each step told as an event.

- warned: on the box's terminals and in the events, `warn` before the pause. Whoever comes back
  to work calls an idle pause off; max_uptime is not called off, and a budget only by being raised.
- saving: the save command, then the list of files that are only here. A pause that was ordered with
  a run (devbox.box.watchdog.then) loses none of them: it is given up then.
- pausing: the provider is asked, and asked again, until this box is gone.

While our own save command runs it uses the machine; only a user, a client or a job calls the
pause off then, and without one a GPU at work too. The agent keeps the rung on disk, and one that
was killed and is started again continues from it: a save command may therefore run twice.

Events: warning, called-off, saving, saved, save-failed, pausing, paused, pause-failed,
pause-unconfirmed, cannot-pause, then-held.
"""

from __future__ import annotations

import threading
from typing import Annotated, Callable, Final, Literal, NamedTuple, Optional, Protocol

from devbox.box.format import brief
from devbox.box.watchdog import policy as idle
from devbox.box.watchdog.deadline import Moment
from devbox.box.watchdog.policy import State
from devbox.wire.codec import Text
from devbox.wire.messages import Cause, Policy, Verdict

CALM: Final = "calm"
WARNED: Final = "warned"
SAVING: Final = "saving"
PAUSING: Final = "pausing"
GRACE = 60.0  # seconds a user has at least between an idle warning and the saving
CONFIRM = 120.0  # seconds an accepted pause may take before it is asked for again
_BACKOFF, _BACKOFF_MOST = 15.0, 300.0
_LAST_CALL = 60.0
_FORCED = (idle.CEILING, idle.BUDGET)  # what nobody calls off by working on


class Report(NamedTuple):
    """How a hook went, as a sentence. losses: what is only on this box; lost: a pause would lose
    some of it."""

    ok: bool
    detail: str
    losses: str = "an unknown number of unsynced files"
    lost: bool = False


class Task(Protocol):
    """Work under way; report is None until it is done."""

    @property
    def report(self) -> Optional[Report]: ...


class Effects(Protocol):
    """What the ladder does to the world. save and pause may take long: they run as tasks."""

    def event(self, kind: str, message: str) -> None: ...

    def say(self, message: str) -> None: ...

    def at_risk(self) -> str:
        """What the pause would lose, as text; '' where it keeps the disk, or all is synced."""
        ...

    def dismiss(self) -> None:
        """What was ordered with a run is no longer to be done."""
        ...

    def save(self) -> Report: ...

    def pause(self) -> Report: ...


class Rung(NamedTuple):
    """Where the ladder stands. since: when (mono) it got there; cause: of the pause; losses:
    what the save left unsynced, as text; saved: when (mono) saving ended; attempts: pauses asked
    for; again: when (mono) to ask next; accepted: when (mono) the provider said yes; failure: how
    the last attempt failed; called: the last call was given."""

    name: Literal["calm", "warned", "saving", "pausing"] = "calm"
    since: float = 0.0
    cause: Optional[Cause] = None
    losses: Annotated[str, Text(500)] = ""
    saved: float = 0.0
    attempts: int = 0
    again: float = 0.0
    accepted: Optional[float] = None
    failure: Annotated[str, Text(500)] = ""
    called: bool = False


class Watchdog:
    """policy, box: from the orders. can_pause: there is a recipe. start: runs a function as a task
    (default: on a thread)."""

    def __init__(
        self,
        policy: Policy,
        box: str,
        effects: Effects,
        *,
        can_pause: bool,
        rung: Optional[Rung] = None,
        start: Optional[Callable[[Callable[[], Report]], Task]] = None,
    ) -> None:
        self._policy, self._box, self._effects = policy, box, effects
        self._can_pause = can_pause
        self._start = Thread if start is None else start
        self._task: Optional[Task] = None
        self.rung = rung or Rung()

    def tick(self, verdict: Verdict, state: State, now: Moment) -> Verdict:
        """Take the steps that are due; the verdict as it stands on the ladder."""
        if self.rung.name == CALM:
            self._from_calm(verdict, now)
        elif self.rung.name == WARNED:
            self._from_warned(verdict, now)
        elif self.rung.name == SAVING:
            self._from_saving(state, now)
        else:
            self._from_pausing(state, now)
        return self._standing(verdict, now)

    def _from_calm(self, verdict: Verdict, now: Moment) -> None:
        if verdict.state in (WARNED, PAUSING):
            self._warn(verdict, now)

    def _from_warned(self, verdict: Verdict, now: Moment) -> None:
        rung = self.rung
        if verdict.state not in (WARNED, PAUSING):
            why = verdict.reasons[0] if verdict.reasons else verdict.state
            self._call_off(why)
        elif verdict.cause != rung.cause:
            self._warn(verdict, now)
        elif verdict.state == PAUSING:
            grace = min(GRACE, self._policy.warn)
            if rung.cause in _FORCED or now.mono >= rung.since + grace:
                self._save(verdict, now)
        elif not rung.called and _left(verdict) <= min(_LAST_CALL, self._policy.warn / 2):
            self._effects.say(f"this box pauses in {brief(_left(verdict))}")
            self._step(rung._replace(called=True))

    def _from_saving(self, state: State, now: Moment) -> None:
        if self._task is None:
            self._task = self._start(self._effects.save)
        report = self._task.report
        if report is None:
            return
        self._task = None
        if self._has_returned(state, now):
            self._call_off(self._back("someone is back at work"))
            return
        kind = "saved" if report.ok else "save-failed"
        self._effects.event(kind, f"before the pause: {report.detail}; {report.losses}")
        if self.rung.cause == idle.THEN and report.lost:
            self._effects.dismiss()
            what = f"it keeps running and costing, since files are only on it: {report.losses}"
            self._effects.event("then-held", f"a run has ended, and this box does not stop: {what}")
            self._call_off("files would be lost")
            return
        rung = self.rung._replace(name=PAUSING, since=now.mono, saved=now.mono, again=now.mono)
        self._step(rung._replace(losses=report.losses))
        if not self._can_pause:
            message = (
                "this box cannot pause itself: it runs and costs until the provider's own timeout; "
                f"pause it with: devbox pause {self._box}"
            )
            self._effects.event("cannot-pause", message)
            self._effects.say(message)
            self._step(self.rung._replace(failure="this box cannot pause itself"))

    def _from_pausing(self, state: State, now: Moment) -> None:
        rung = self.rung
        if self._task is not None:
            report = self._task.report
            if report is not None:
                self._task = None
                self._asked(report, now)
            return
        if rung.accepted is not None:
            if now.mono - rung.accepted < CONFIRM:
                return
            self._effects.event(
                "pause-unconfirmed",
                f"the pause was accepted {brief(now.mono - rung.accepted)} ago and this box still "
                "runs and costs; asking again",
            )
            self._step(rung._replace(accepted=None, again=now.mono))
        elif self._has_returned(state, now):
            self._call_off(self._back("the box is in use again"))
        elif self._can_pause and now.mono >= rung.again:
            if rung.attempts == 0:
                why = f"{state.then.told}: " if rung.cause == idle.THEN and state.then else ""
                self._effects.event("pausing", f"{why}asking the provider to pause; {rung.losses}")
                self._effects.say("this box pauses now")
            self._step(rung._replace(attempts=rung.attempts + 1))
            self._task = self._start(self._effects.pause)

    def _asked(self, report: Report, now: Moment) -> None:
        rung = self.rung
        if report.ok:
            self._effects.event("paused", f"paused with {rung.losses}")
            self._step(rung._replace(accepted=now.mono, failure=""))
            return
        wait = min(_BACKOFF_MOST, _BACKOFF * 2 ** min(10, rung.attempts - 1))
        message = (
            f"the provider did not pause this box ({report.detail}); it keeps running and "
            f"costing; asking again in {brief(wait)}"
        )
        self._effects.event("pause-failed", message)
        self._effects.say(message)
        self._step(rung._replace(again=now.mono + wait, failure=report.detail))

    def _warn(self, verdict: Verdict, now: Moment) -> None:
        cause = verdict.cause or idle.IDLE
        left = brief(max(0.0, _left(verdict)))
        why = "; ".join(verdict.reasons[:4])
        if cause == idle.CEILING:
            hint = "max_uptime is a ceiling: save your work"
        elif cause == idle.BUDGET:
            hint = "save your work, or raise it and type: devbox budget --enforce"
        else:
            hint = f"work on, or hold it off with: devbox keep {self._box} 2h"
        risk = self._effects.at_risk()
        told = f"; {risk}" if risk else ""
        ends = verdict.then is not None and verdict.then.do == "down"
        self._effects.event("warning", f"would {'end' if ends else 'pause'} in {left}: {why}{told}")
        verb = "ends" if ends else "pauses"
        self._effects.say(f"this box {verb} in {left} ({why}){told}; {hint}")
        self._step(Rung(WARNED, now.mono, cause, losses=risk))

    def _save(self, verdict: Verdict, now: Moment) -> None:
        self._effects.event("saving", f"saving before the pause: {'; '.join(verdict.reasons[:4])}")
        self._step(self.rung._replace(name=SAVING, since=now.mono))
        self._task = self._start(self._effects.save)

    def _call_off(self, why: str) -> None:
        self._effects.event("called-off", f"the pause is called off: {why}")
        self._effects.say("the pause is called off")
        self._step(Rung())

    def _back(self, used: str) -> str:
        return "its budget was raised" if self.rung.cause == idle.BUDGET else used

    def _has_returned(self, state: State, now: Moment) -> bool:  # noqa: PLR0911 - one a reason
        """Whether the pause has lost its reason since saving began."""
        if self.rung.cause == idle.BUDGET:
            return state.budget is None or state.budget.due(now) > now.mono
        if self.rung.cause == idle.CEILING:
            return False
        began = self.rung.since if self.rung.name == SAVING else self.rung.saved
        if state.hold is not None and state.hold > now.mono:
            return True
        if (idle.person_use(state) or 0.0) > began:
            return True
        tuning = idle.tuning_of(self._policy)
        after = self.rung.saved + tuning.window + tuning.patience
        if self.rung.cause == idle.THEN:  # the run is over, whatever GPUs and CPUs do
            taken_back = state.then is None and self.rung.accepted is None
            return taken_back or (self.rung.name == PAUSING and state.armed > after)
        # Nothing of ours uses a GPU but a save command.
        if not self._policy.save_command and (idle.gpu_use(state) or 0.0) > began:
            return True
        # The save command's own work may still show for a window after it ended.
        return self.rung.name == PAUSING and idle.last_use(self._policy, state, now) > after

    def _step(self, rung: Rung) -> None:
        self.rung = rung

    def _standing(self, verdict: Verdict, now: Moment) -> Verdict:
        rung = self.rung
        if rung.name == CALM:
            return verdict
        at_risk = rung.losses if rung.name == WARNED else ""
        first = [text for text in (rung.failure, at_risk) if text]
        reasons = (*first, *verdict.reasons)[:20]
        verdict = verdict._replace(state=rung.name, warned=True, reasons=reasons)
        if rung.name == WARNED:
            return verdict
        # Our own save command is at work now; it must not show as a reason to stay.
        return verdict._replace(pauses_at=now.wall, cause=rung.cause)


def _left(verdict: Verdict) -> float:
    """Seconds until the pause of a verdict that names one."""
    return (verdict.pauses_at or verdict.now) - verdict.now


class Thread:
    """A hook running on a thread of its own; an error it raises becomes its report."""

    def __init__(self, work: Callable[[], Report]) -> None:
        self.report: Optional[Report] = None
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        try:
            self.report = self._work()
        except Exception as error:  # the ladder must continue whatever a hook meets
            self.report = Report(False, f"{type(error).__name__}: {error}")
