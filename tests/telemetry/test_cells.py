"""A dashboard's cells: the latest of a box, its age, and tasks that end clean."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator

from devbox.box import event_log
from devbox.model import Box
from devbox.remote.config import ssh_config
from devbox.telemetry.live import LiveTelemetry, _connection, follow
from devbox.telemetry.reader import Message, Reader
from devbox.wire.messages import BoxEvent, Heartbeat, Sample
from tests.remote.sshd import Sshd, sshd, wait_until
from tests.telemetry.conftest import Writer, box_root
from tests.telemetry.test_client import ssh_children, streams_of

__all__ = ["sshd"]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not ssh_children()


async def test_it_stays_fresh_over_cuts_and_ends_with_its_task(watched_box: Box) -> None:
    root, cell = box_root(watched_box), LiveTelemetry("b")
    with Writer(root).running():
        task = asyncio.create_task(follow(watched_box, cell, history=60))
        await until(lambda: len(cell.samples) > 50)
        for process in ssh_children():
            process.kill()
        await until(lambda: cell.status == "cut")
        assert cell.sample is not None  # a cut blanks nothing
        before = len(cell.samples)
        await until(lambda: cell.status == "live" and len(cell.samples) > before + 50)
        event_log.append(root, "warn", "pausing soon")
        await until(lambda: bool(cell.events))
    assert [sample.seq for sample in cell.samples] == list(range(1, len(cell.samples) + 1))
    assert cell.events[0].message == "pausing soon"
    await ended(task)
    await until(lambda: not streams_of(watched_box))


async def test_a_refused_box_says_why_and_is_tried_again_later(sshd: Sshd) -> None:
    box, cell = sshd.box(), LiveTelemetry("one")
    ssh_config.publish([box])
    sshd.authorise()
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    task = asyncio.create_task(follow(box, cell, sleep=sleep))
    await until(lambda: len(waits) == 2)
    assert cell.status == "refused"
    assert "does not accept the key" in cell.error
    assert waits == [30.0, 30.0]
    await ended(task)


async def test_an_unreachable_box_stays_connecting_with_its_error(sshd: Sshd) -> None:
    box, cell = sshd.box(), LiveTelemetry("one")
    ssh_config.publish([box])
    sshd.stop()
    task = asyncio.create_task(follow(box, cell))
    await until(lambda: "Connection refused" in cell.error)
    assert cell.status == "connecting"
    await ended(task)


async def test_quitting_while_it_connects_is_quick(watched_box: Box) -> None:
    cell = LiveTelemetry("b")
    task = asyncio.create_task(follow(watched_box, cell))
    await until(lambda: bool(ssh_children()))
    began = time.monotonic()
    await ended(task)
    assert time.monotonic() - began < 2
    wait_until(lambda: not ssh_children(), "ssh is gone")


def test_age_counts_from_the_box_whatever_its_clock_says() -> None:
    cell = LiveTelemetry("b")
    assert cell.age(1000.0) is None
    cell.put(Sample("b", 1, t=50_000.0), now=1000.0)  # its clock is far ahead
    assert cell.age(1000.5) == 0.5
    # the last sample of a sampler that died, told by a heartbeat a minute later
    cell.put(Heartbeat(50_060.0, False), now=1060.0)
    assert cell.age(1061.0) == 61.0
    assert cell.agent is False
    cell.put(Sample("c", 1, t=10.0), now=1070.0)  # its clock was set back
    assert cell.age(1070.0) == 0.0
    assert cell.age(1000.0) == 0.0  # ours was


def test_a_cell_is_bounded_and_counts_changes() -> None:
    cell = LiveTelemetry("b", keep=5)
    for seq in range(20):
        cell.put(Sample("b", seq, t=seq), now=seq)
    for seq in range(200):
        cell.put(BoxEvent(seq, 1.0, "k", "m"), now=seq)
    assert [sample.seq for sample in cell.samples] == [15, 16, 17, 18, 19]
    assert len(cell.events) == 100
    assert cell.changes == 220
    cell.fail("cut", "gone")
    assert (cell.status, cell.error, cell.changes) == ("cut", "gone", 221)
    cell.put(Sample("b", 20, t=20), now=1)
    assert (cell.status, cell.error) == ("live", "")


# Prints a line; at SIGTERM more than asyncio buffers, so that it stops reading; then it ends.
_FLOODS = """
import os, signal, sys, time
def flood(*_):
    os.write(1, b"x" * 150_000)
    os._exit(0)
signal.signal(signal.SIGTERM, flood)
print("up", flush=True)
time.sleep(60)
"""


async def test_a_stream_that_floods_at_its_end_is_left_all_the_same() -> None:
    """`asyncio`'s own wait for a process is also one for the end of its pipes."""
    begun = asyncio.Event()

    class Begun(Reader):
        def feed(self, line: bytes) -> Iterator[Message]:
            begun.set()
            yield from ()

    argv = [sys.executable, "-c", _FLOODS]
    task = asyncio.create_task(_connection(argv, Begun(), LiveTelemetry("b"), time.time))
    await begun.wait()
    task.cancel()
    async with asyncio.timeout(20):
        await asyncio.wait([task])
    assert task.cancelled()
