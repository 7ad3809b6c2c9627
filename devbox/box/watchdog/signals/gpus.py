"""GPUs: any sample at or above `gpu_util` is use, since nothing but someone's kernel raises it.

VRAM that is held without use (a notebook kernel left open) protects the box until `stuck_after`
since that GPU was last used, and not after. Memory that grows or shrinks is use: a model loads.
Held means a process with 256 MiB or more (a CUDA context takes about that), or, as containers
often cannot see processes, more than the driver keeps for itself: 512 MiB and 2 % of the memory.
A GPU that shares the machine's memory tells no memory of its own: its processes tell it then, and
one whose memory is unknown too holds some.

A service holds its model's memory for as long as it runs: while one is ready, held memory does not
count, for its requests do. Nor does it count while a run waits for a round.

A GPU that is lost cannot be at work, so it holds nothing up.

A GPU that holds memory and whose utilisation cannot be measured (MIG) may be working: it counts
as silent, not as stuck.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

from devbox.box.format import brief, size
from devbox.box.json_file import number
from devbox.box.watchdog.signals import ACTIVE, QUIET, SILENT, Finding, Tuning, is_recent, silence

MIB = 1 << 20
PROCESS_HOLDS = 256 * MIB
DRIVER_KEEPS = 512 * MIB
DRIVER_SHARE = 0.02
MEMORY_MOVES = 64 * MIB
MAX_GPUS = 64


class Gpu(NamedTuple):
    """One GPU. util_at, memory_at: when each was last known; used: last use; guarded: when held
    memory last protected the box."""

    label: str
    since: float
    util: Optional[float] = None
    util_at: Optional[float] = None
    memory: float = 0.0
    memory_at: Optional[float] = None
    held: bool = False
    used: Optional[float] = None
    guarded: Optional[float] = None
    lost: bool = False

    def observe(
        self, part: Mapping[str, object], tuning: Tuning, now: float, *, serving: bool = False
    ) -> Gpu:
        util, memory = number(part.get("util")), _memory(part)
        nxt = self._replace(lost=part.get("lost") is True)
        if util is not None:
            nxt = nxt._replace(util=util, util_at=now)
            nxt = nxt._replace(used=now) if util >= tuning.gpu_util else nxt
        if memory is not None:
            moved = self.memory_at is not None and abs(memory - self.memory) >= MEMORY_MOVES
            nxt = nxt._replace(
                memory=memory if moved or self.memory_at is None else self.memory,
                memory_at=now,
                held=_is_held(part, memory) and not serving,
                used=now if moved else nxt.used,
            )
        guards = nxt.held and not nxt.lost and now - nxt.last_use() < tuning.stuck_after
        return nxt._replace(guarded=now) if guards else nxt

    def last_use(self) -> float:
        """The last use, or when the GPU was first seen."""
        return self.since if self.used is None else self.used

    def is_silent(self, tuning: Tuning, now: float) -> bool:
        """Neither utilisation nor empty memory shows that it is quiet."""
        if self.lost or is_recent(self.util_at, now, tuning.patience):
            return False
        unknown = self.since if self.util_at is None else self.util_at
        if now - unknown <= tuning.patience:
            return False
        return self.held or not is_recent(self.memory_at, now, tuning.patience)

    def finding(self, tuning: Tuning, now: float) -> Optional[Finding]:
        """What this GPU says; None when it is quiet and its memory is free."""
        if self.is_silent(tuning, now):
            return silence(self.label, self.since if self.util_at is None else self.util_at, now)
        if self.lost:
            return Finding(QUIET, f"{self.label} is lost, and does not count")
        unused = now - self.last_use()
        if is_recent(self.used, now, tuning.window):
            shown = "in use" if self.util is None else f"at {self.util:.0f} %"
            ago = f", last used {brief(unused)} ago" if unused >= 5 else ""
            return Finding(ACTIVE, f"{self.label} {shown}{ago}")
        if not self.held:
            return None
        holds = f"{self.label} holds {size(self.memory)}, unused for {brief(unused)}"
        limit = brief(tuning.stuck_after)
        if is_recent(self.guarded, now, tuning.window) and unused < tuning.stuck_after:
            return Finding(ACTIVE, f"{holds} (counts as use until {limit})")
        return Finding(QUIET, f"{holds}: stuck, no longer counts (after {limit})")


class Gpus(NamedTuple):
    """All GPUs ever listed on this box; lost: when the list as a whole stopped coming."""

    known: Tuple[Tuple[str, Gpu], ...] = ()
    seen: Optional[float] = None

    def observe(self, part: object, tuning: Tuning, now: float, *, serving: bool = False) -> Gpus:
        """serving: a service is ready on the box, or a run waits for a round."""
        if not isinstance(part, list):
            return self
        # One that is listed no more fell off the bus.
        known = {key: gpu._replace(lost=True) for key, gpu in self.known}
        for position, row in enumerate(part[:MAX_GPUS]):
            if isinstance(row, dict):
                index = row.get("index")
                own = str(index if isinstance(index, int) else position)
                label = f"GPU {own}"
                key = str(row.get("uuid") or _named(known, label) or own)[:80]
                if own in known and key not in known:  # it did not tell its name before
                    known = {key if k == own else k: gpu for k, gpu in known.items()}
                before = known.get(key, Gpu(label, now))
                known[key] = before.observe(row, tuning, now, serving=serving)
        return Gpus(tuple(known.items())[:MAX_GPUS], now)

    def last_active(self, tuning: Tuning, now: float) -> Optional[float]:
        """The last use, guard or silence of any GPU."""
        times: List[float] = []
        for _, gpu in self.known:
            times += [at for at in (gpu.used, gpu.guarded) if at is not None]
            times += [now] if gpu.is_silent(tuning, now) else []
        return max(times) if times else None

    def findings(self, tuning: Tuning, now: float) -> List[Finding]:
        found = [(gpu, gpu.finding(tuning, now)) for _, gpu in self.known]
        told = [finding for _, finding in found if finding]
        quiet = [gpu for gpu, finding in found if finding is None]
        return [*_limited(told), *_quiet(quiet, tuning)]


def _named(known: Dict[str, Gpu], label: str) -> Optional[str]:
    """The key of a GPU that does not tell its own, as one that is lost."""
    return next((key for key, gpu in known.items() if gpu.label == label), None)


def _limited(findings: List[Finding]) -> List[Finding]:
    """At most four of each kind; the others are counted."""
    out: List[Finding] = []
    for kind in (ACTIVE, SILENT, QUIET):
        alike = [finding for finding in findings if finding.kind == kind]
        out += alike[:4]
        if len(alike) > 4:
            out.append(Finding(kind, f"{len(alike) - 4} more GPUs likewise"))
    return out


def _quiet(gpus: List[Gpu], tuning: Tuning) -> List[Finding]:
    if not gpus:
        return []
    utils = [gpu.util for gpu in gpus if gpu.util is not None]
    if not utils:
        names = gpus[0].label if len(gpus) == 1 else f"{len(gpus)} GPUs"
        return [Finding(QUIET, f"{names}: no memory held")]
    if len(gpus) == 1:
        text = f"{gpus[0].label} at {utils[0]:.0f} %"
    else:
        text = f"{len(gpus)} GPUs at {min(utils):.0f}–{max(utils):.0f} %"
    return [Finding(QUIET, f"{text} (quiet below {tuning.gpu_util:g} %)")]


def _memory(part: Mapping[str, object]) -> Optional[float]:
    """Memory in use: what the GPU tells, else what its processes hold; None when neither does."""
    memory = number(part.get("mem_used"))
    if memory is not None:
        return memory
    held = _process_memory(part)
    return sum(each or 0.0 for each in held) if held else None


def _process_memory(part: Mapping[str, object]) -> List[Optional[float]]:
    processes = part.get("processes")
    rows = processes if isinstance(processes, list) else []
    return [number(row.get("mem_used")) for row in rows if isinstance(row, dict)]


def _is_held(part: Mapping[str, object], memory: float) -> bool:
    held = _process_memory(part)
    if any(each is not None and each >= PROCESS_HOLDS for each in held):
        return True
    if number(part.get("mem_used")) is None and None in held:
        return True
    total = number(part.get("mem_total")) or 0.0
    return memory > max(DRIVER_KEEPS, DRIVER_SHARE * total)
