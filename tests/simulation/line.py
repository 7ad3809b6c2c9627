"""What stands in for ssh: verbs of the box half that lifecycles need, answered by a `Machine`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from devbox.errors import NoAnswer
from devbox.model import Box
from devbox.process import Completed
from devbox.wire.codec import encode, load
from devbox.wire.messages import EventLine, Kept, Verdict
from tests.simulation.machine import Machine

#: the machine that answers for a box; None when nothing does
Reach = Callable[[Box], "Machine | None"]
_NO_WATCHDOG = 3


class Line:
    """noise: as a login has it. NoAnswer for a box that does not run."""

    noise, is_new = b"", False

    def __init__(self, box: Box, reach: Reach) -> None:
        self.box, self._reach = box, reach

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes | None = None,
        timeout: float | None = 60.0,
        check: bool = True,
    ) -> Completed:
        del timeout, check
        machine = self._reach(self.box)
        if machine is None:
            raise NoAnswer(f"{self.box.name} does not answer")
        # `sh -c SCRIPT sh NAME SIZE VERB …` of agent_bootstrap.run, or `python3 LINK VERB …`
        verb, *words = argv[6:] if argv[0] == "sh" else argv[2:]
        return _VERBS[verb](machine, words, input or b"")


def _arm(machine: Machine, words: list[str], given: bytes) -> Completed:
    del words
    machine.arm(load(given))
    return Completed(0, "", "")


def _verdict(machine: Machine, words: list[str], given: bytes) -> Completed:
    del words, given
    if not machine.watched:
        return Completed(_NO_WATCHDOG, "", "")
    first = Verdict("active", 0.0, None, ("just started",))
    return _told(encode(machine.verdict or first))


def _keep(machine: Machine, words: list[str], given: bytes) -> Completed:
    """Times are by the asker's clock, which is this process's own there."""
    del given
    if not machine.watched:
        return Completed(_NO_WATCHDOG, "", "")
    if words[0] == "--syncing":
        return _told(encode(Kept(0.0)))
    until, now = float(words[1]), float(words[3])
    return _told(encode(Kept(now + machine.keep(until - now))))


def _stream(machine: Machine, words: list[str], given: bytes) -> Completed:
    del given
    if "--usage" in words:
        return Completed(0, "", "")
    return _told(b"".join(encode(EventLine(event)) for event in machine.events))


def _told(out: bytes) -> Completed:
    return Completed(0, out.decode(), "")


_VERBS = {"arm": _arm, "verdict": _verdict, "keep": _keep, "stream": _stream}
