"""What a job holds in memory, as it was measured: the [jobs.NAME.memory] table."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import field

from devbox.spec.values import Bytes, Number, Table


class MemoryPoint(Table, frozen=True):
    """One measurement. vram: what one GPU held at most; memory: the machine's, 0 where it was not
    measured. at: the value of the argument that `by` names. where: what other arguments were."""

    vram: Bytes
    memory: Bytes = Bytes(0)
    at: Number | None = None
    where: dict[str, str | int | float | bool] = field(default_factory=dict)


class Memory(Table, frozen=True):
    """Measured points of a job's memory, which `devbox plan` reads. source: who measured, where and
    when. by: the argument whose value the memory grows with; empty for one that does not vary."""

    source: str
    points: tuple[MemoryPoint, ...]
    by: str = ""

    def faults(self, arguments: Mapping[str, str]) -> str:
        """What is wrong with it, for a job with these arguments, name → type; '' for nothing."""
        if not self.points or not self.source.strip():
            return "memory needs at least one of points, and source"
        if self.by and arguments.get(self.by) not in ("int", "float"):
            return f"memory.by = {self.by!r} names no argument that is a number"
        for point in self.points:
            if (point.at is None) == bool(self.by):
                return "memory: each point needs `at` when `by` is set, and none without it"
            for name in point.where:
                if name not in arguments or name == self.by:
                    return f"memory: where.{name} names no other argument of the job"
        return ""
