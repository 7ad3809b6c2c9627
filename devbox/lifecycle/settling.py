"""Wait until a box runs, or has stopped, as its provider says; its build log is told meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable

from devbox.errors import BuildFailed, DevboxError, NoCapacity, ProviderError, TimedOut
from devbox.lifecycle.observe import observe
from devbox.lifecycle.operation import BoxOperation
from devbox.model import Box, BoxState
from devbox.providers.abilities import HasBuildLogs
from devbox.text import clean, duration

# Seconds between looks at a provider while it starts or stops: soon at first, then patient.
_POLLS = (0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_LONGEST_LINE = 2000
STOP_TIMEOUT = 5 * 60.0


def until_running(op: BoxOperation, *, fresh: bool, patience: float | None = None) -> None:
    """Returns with a box that runs, or a command that is over by now. fresh: the box was just
    observed. patience: seconds for which it may wait for hardware; None for as long as for
    anything else. NoCapacity after that, and when its provider gave up."""
    log = _BuildLog(op)

    def settled(seen: Box) -> bool:
        log.look(seen)
        return seen.state.is_settled

    limit = op.start_timeout
    try:
        _until(op, settled, limit, fresh=fresh, patience=patience)
        log.finish()
    except TimedOut as error:
        error.fix = (
            f"wait longer with: devbox up {op.box.name} --timeout {duration(2 * limit)} (or "
            f"start_timeout in devbox.toml); end it with: devbox down {op.box.name}"
        )
        raise
    finally:
        log.finish(0)
    box, headless = op.box, bool(op.spec.command)
    if box.state is BoxState.RUNNING or (headless and box.state is BoxState.TERMINATED):
        return  # a short command may be over by now
    if box.state is BoxState.FAILED and op.provider.lacks_hardware(box.stage, box.message):
        raise no_capacity(op, clean(box.message.partition("\n")[0], 200))
    if box.state is BoxState.FAILED:
        what = "its command failed" if headless and box.started else "did not start"
        raise BuildFailed(
            f"{box.name}: {what}: {box.stage or 'failed'}: {box.message}",
            means=op.cost_line(),
            fix=f"devbox down {box.name}; fix the cause, then: devbox up {box.name}"
            if headless
            else f"fix the cause and run: devbox up {box.name}; or: devbox down {box.name}",
        )
    raise ProviderError(
        f"{box.name} became {box.state} while starting"
        + (f": {box.message}" if box.message else ""),
        means=op.cost_line(),
        fix=f"devbox up {box.name}",
    )


def keep_trying(name: str) -> str:
    """The fix where no hardware is free for a box."""
    return (
        f"keep trying with: devbox up {name} --wait-for-capacity 2h; or compare hardware with: "
        "devbox offers"
    )


def no_capacity(op: BoxOperation, why: str) -> NoCapacity:
    """The error for a box that its provider has no hardware free for."""
    box = op.box
    return NoCapacity(
        f"{box.name}: {box.provider} has no {box.hardware or 'hardware'} free: {why}",
        means=op.cost_line(),
        fix=keep_trying(box.name),
        no_effect=True,
    )


def until_stopped(op: BoxOperation, done: Callable[[Box], bool]) -> None:
    """A pause or an end, as its provider confirms it. One that it does not confirm is named by
    what was asked for: the provider's own word may still be that it runs."""
    try:
        _until(op, done, STOP_TIMEOUT)
    except TimedOut as error:
        box = op.reload()
        shown = f": its provider shows {box.stage}" if box.stage else ""
        ends = "" if box.state is BoxState.STOPPING else f"; devbox down {box.name} ends it"
        raise TimedOut(
            f"{box.name} is still {box.state} after {duration(STOP_TIMEOUT)}{shown}",
            means=error.means,
            fix=f"devbox reconcile tries again{ends}",
        ) from error


def _until(
    op: BoxOperation,
    done: Callable[[Box], bool],
    timeout: float,
    *,
    fresh: bool = False,
    patience: float | None = None,
) -> None:
    """Observe until `done`. After `timeout` seconds the box stays as it is, still costing. fresh:
    the box was just observed, skip the first look. patience: as of `until_running`."""
    began, stage = op.ws.clock(), ""
    queued: float | None = None  # since when it waits for hardware
    looks = 0
    with op.waiting(op.box.stage or op.box.state, timeout) as told:
        while True:
            if looks or not fresh:
                op.reload()
                observe(op)
            doing = op.box.stage or op.box.state
            waits = patience is not None and op.provider.lacks_hardware(
                op.box.stage, op.box.message
            )
            limit = patience if waits else timeout
            told.now(doing, op.ws.store.ledger.current(op.box.id), limit)
            if done(op.box):
                return
            if patience is not None and waits:
                queued = op.ws.clock() if queued is None else queued
                if op.ws.clock() - queued >= patience:
                    raise no_capacity(op, f"still {doing} after {duration(patience)}")
            if doing != stage and not op.ws.on_wait:
                op.narrate(doing)
            stage = doing
            if op.ws.clock() - began > timeout:
                raise TimedOut(
                    f"{op.box.name} is still {stage} after {duration(timeout)}",
                    means=op.cost_line(),
                )
            op.ws.sleep(_POLLS[min(looks, len(_POLLS) - 1)])
            looks += 1


class _BuildLog:
    """Follows the log from the first look at which the box is being built, on a thread of its
    own: what the log is late with must not hold up what the state says."""

    def __init__(self, op: BoxOperation) -> None:
        self._op = op
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    def look(self, box: Box) -> None:
        """Tell of one look at the box."""
        provider = self._op.provider
        if self._thread or box.state is not BoxState.BUILDING:
            return
        if isinstance(provider, HasBuildLogs):
            args = (provider, box.handle)
            self._thread = threading.Thread(target=self._follow, args=args, daemon=True)
            self._thread.start()

    def finish(self, patience: float = 0.5) -> None:
        """The box is past its build: give the last lines a moment, then say no more."""
        if self._thread:
            self._thread.join(patience)
        self._over.set()

    def _follow(self, provider: HasBuildLogs, handle: str) -> None:
        box, tell = self._op.box, self._op.ws.on_build
        try:
            steps = provider.build_steps(handle)
            for line in provider.build_logs(handle, follow=True):
                if self._over.is_set():
                    return
                tell(box.name, clean(line, _LONGEST_LINE), steps)
        except DevboxError as error:
            if not self._over.is_set():
                self._op.narrate(f"its build log cannot be read: {error.what}")
