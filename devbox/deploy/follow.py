"""Following the build that a push starts."""

from __future__ import annotations

import threading
from collections import deque

from devbox.deploy.target import Target
from devbox.errors import BuildFailed, DevboxError, Unavailable
from devbox.model import BoxState
from devbox.providers.hf.stages import Runtime
from devbox.workspace import Workspace

_GRACE = 15.0  # seconds that the Hub may take to begin
_LONGEST = 45 * 60.0
_SOON, _PATIENT = 0.2, 3.0
_SHOWN = 15
_ON_ITS_WAY = (BoxState.BUILDING, BoxState.STARTING, BoxState.PROVISIONING)


def follow(ws: Workspace, target: Target, *, grace: float = _GRACE) -> Runtime:
    """Tell the build's log until the Space stands still; what it runs then. BuildFailed with the
    log's end when it does not build or start. grace: seconds for the build to begin."""
    log = _Log(ws, target)
    began, begun, stage = ws.clock(), False, ""
    while True:
        runtime = _look(target)
        state = runtime.state(0.0)
        if runtime.stage != stage:
            stage = runtime.stage
            ws.narrate(f"{target.repository.space}: {runtime.words()}")
        begun = begun or state in _ON_ITS_WAY
        waited = ws.clock() - began
        if state is BoxState.BUILDING:
            log.start()
        elif state not in _ON_ITS_WAY and (begun or waited > grace or state is BoxState.PAUSED):
            break
        if waited > _LONGEST:
            raise Unavailable(
                f"{target.repository.space} is still {stage} after {waited / 60:.0f} minutes",
                means="your commits are there; it may continue by itself",
                fix=f"look at {target.repository.page}",
            )
        ws.sleep(_SOON if waited < 10 else _PATIENT)
    tail = log.finish()
    if state is BoxState.FAILED:
        shown = "\n".join(f"  {line}" for line in tail)
        raise BuildFailed(
            f"{target.repository.space}: {runtime.words()}: {runtime.error or 'no reason given'}"
            + (f"\nthe build log ends with:\n{shown}" if shown else ""),
            means="your commits are there; the Space does not run them",
            fix="fix the cause and deploy again; the whole log: "
            f"{target.repository.page}?logs=build",
            quotes_log=bool(tail),
        )
    return runtime


def _look(target: Target) -> Runtime:
    """A passing fault is no answer; the third in a row is one."""
    for _ in range(2):
        try:
            return target.repository.runtime()
        except Unavailable:
            continue  # why: the push is done, and whoever follows it can be patient
    return target.repository.runtime()


class _Log:
    """On a thread of its own: a log that is late must not hold up what the stage says."""

    def __init__(self, ws: Workspace, target: Target) -> None:
        self._ws, self._target = ws, target
        self._tail: deque[str] = deque(maxlen=_SHOWN)
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, daemon=True)
            self._thread.start()

    def finish(self, patience: float = 2.0) -> list[str]:
        """The last lines."""
        if self._thread is not None:
            self._thread.join(patience)
        self._over.set()
        return list(self._tail)

    def _follow(self) -> None:
        try:
            for line in self._target.repository.build_logs(follow=True):
                if self._over.is_set():
                    return
                self._tail.append(line)
                self._ws.narrate(f"build | {line}")
        except DevboxError as error:
            if not self._over.is_set():
                self._ws.narrate(f"the build log cannot be read: {error.what}")
