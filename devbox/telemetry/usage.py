"""What a box did by the half-minute, fetched into our own record before the box forgets it."""

from __future__ import annotations

from devbox.errors import DevboxError
from devbox.model import Box
from devbox.remote import agent_bootstrap
from devbox.remote.agent_bootstrap import Runs
from devbox.remote.exec import Exec
from devbox.state.usage import Place
from devbox.telemetry.reader import parse
from devbox.wire.codec import Unreadable
from devbox.wire.messages import Sample
from devbox.workspace import Workspace

_EVERY = 600.0  # seconds of the box's record that may be missing here while it runs
_WAIT = 20.0  # seconds for an answer
_KEPT = 15 * 86400.0  # seconds that a box keeps


def fetch(ws: Workspace, box: Box, line: Runs, *, all_: bool = False) -> int:
    """Store the digests that came since the last time; how many. Without `all_` only when the last
    one is ten minutes old. SshError when the box does not answer."""
    last = ws.store.usage.place(box.id)
    if last and not all_ and 0 <= ws.clock() - last.at < _EVERY:
        return 0
    words = ["--after", f"{last.boot}:{last.seq}"] if last else ["--history", f"{_KEPT:g}"]
    argv = agent_bootstrap.command("stream", "--usage", "--events-since", "4e9", *words)
    done = line.run(argv, check=False, timeout=_WAIT)
    kept: list[bytes] = []
    found: list[Sample] = []
    for each in done.out.encode(errors="replace").split(b"\n"):
        sample = _digest(each)
        if sample and not (last and sample.position == (last.boot, last.seq)):
            kept.append(each + b"\n")
            found.append(sample)
    if found:
        at = Place(found[-1].boot, found[-1].seq, found[-1].t)
        ws.store.usage.put(box.id, min(sample.t for sample in found), at, b"".join(kept))
    return len(found)


def before_end(ws: Workspace, box: Box) -> None:
    """The same for a box that is about to stop; it is a courtesy and stops nothing."""
    try:
        fetch(ws, box, Exec(box), all_=True)
    except DevboxError as error:
        ws.narrate(f"{box.name}: what it did last is not known here: {error.what}")


def _digest(line: bytes) -> Sample | None:
    try:
        found = parse(line)
    except Unreadable:
        return None
    return found if isinstance(found, Sample) and found.use is not None else None
