"""What every provider emulator shares: clock, faults, call record, billing meter, box processes.

The emulators are servers on 127.0.0.1 that a real client library cannot tell
from the provider. State lives on one event loop in one thread
(:class:`LoopThread`); tests reach it from outside through thread-safe objects.
"""

from __future__ import annotations

from tests.emulators.common.box import BOX_MARK, Box
from tests.emulators.common.calls import Call, Calls, Phase
from tests.emulators.common.clock import Clock, Timer
from tests.emulators.common.faults import Fault, FaultKind, Knobs
from tests.emulators.common.loop import LoopThread
from tests.emulators.common.meter import Interval, Meter

__all__ = [
    "BOX_MARK",
    "Box",
    "Call",
    "Calls",
    "Clock",
    "Fault",
    "FaultKind",
    "Interval",
    "Knobs",
    "LoopThread",
    "Meter",
    "Phase",
    "Timer",
]
