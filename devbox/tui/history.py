"""What a box did lately, in memory of a fixed size: the last 5 minutes by the second, and the
last hour in steps of 5 s. Pure."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

from devbox.wire.messages import Gpu, Sample

FINE, COARSE = 1.0, 5.0  # seconds a value stands for
_FINE_KEPT, _COARSE_KEPT = 300, 720
MAX_GPUS = 16
_NAN = math.nan


class Ring:
    """Means over steps of `step` seconds, the latest `kept` of them; NaN where nothing came."""

    def __init__(self, step: float, kept: int) -> None:
        self._step, self._kept = step, kept
        self._values = array("f", [_NAN]) * kept
        self._last: int | None = None
        self._count = 0

    def put(self, t: float, value: float) -> None:
        bucket = int(t // self._step)
        last = self._last
        if last is None or bucket > last:
            if last is not None:
                for skipped in range(max(last + 1, bucket - self._kept + 1), bucket):
                    self._values[skipped % self._kept] = _NAN
            self._last, self._count = bucket, 1
            self._values[bucket % self._kept] = value
        elif bucket == last:
            place = bucket % self._kept
            self._count += 1
            before = self._values[place]
            self._values[place] = before + (value - before) / self._count
        elif bucket > last - self._kept:
            self._values[bucket % self._kept] = value

    def latest(self, count: int, now: float) -> list[float]:
        """The last `count` values up to `now`, oldest first."""
        end = int(now // self._step)
        last = -1 if self._last is None else self._last
        first = max(end - count + 1, last - self._kept + 1)
        known = min(end, last) - first + 1
        if known <= 0:
            return [_NAN] * count
        start = first % self._kept
        values = self._values[start : start + known].tolist()
        values += self._values[: known - len(values)].tolist()
        before = first - (end - count + 1)
        return [_NAN] * before + values + [_NAN] * (count - before - known)


class Series:
    """One measurement at both resolutions."""

    def __init__(self) -> None:
        self._fine, self._coarse = Ring(FINE, _FINE_KEPT), Ring(COARSE, _COARSE_KEPT)

    def put(self, t: float, value: float) -> None:
        self._fine.put(t, value)
        self._coarse.put(t, value)

    def window(self, seconds: float, width: int, now: float) -> list[float]:
        """The last `seconds` up to now as `width` means, oldest first."""
        fine = seconds <= _FINE_KEPT * FINE
        ring, step = (self._fine, FINE) if fine else (self._coarse, COARSE)
        count = max(1, int(seconds / step))
        return resampled(ring.latest(count, now), max(1, width))


class History:
    """The measurements of one box by name: cpu, mem (per cent), disk, net (bytes a second, both
    ways), and for GPU n "n.util", "n.mem" (per cent), "n.power" (watts), "n.temp" (degrees
    Celsius). Times are the box's."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}
        self.gpus = 0
        self.latest = 0.0

    def put(self, sample: Sample) -> None:
        self.latest = max(self.latest, sample.t)
        self._put("cpu", sample.t, sample.cpu.util)
        self._put("mem", sample.t, _share(sample.mem.used, sample.mem.total))
        self._put("disk", sample.t, _both(sample.disk.read_bps, sample.disk.write_bps))
        self._put("net", sample.t, _both(sample.net.rx_bps, sample.net.tx_bps))
        found = (sample.gpus or ())[:MAX_GPUS]
        self.gpus = max(self.gpus, len(found))
        for index, gpu in enumerate(found):
            self._gpu(index, sample.t, gpu)

    def window(self, name: str, seconds: float, width: int) -> list[float]:
        """See `Series.window`; empty when that was never measured."""
        series = self.series.get(name)
        return series.window(seconds, width, self.latest) if series else []

    def combined(self, name: str, seconds: float, width: int) -> list[float]:
        """Over all GPUs: the sum of watts, the highest temperature, else the mean."""
        rows = [self.window(f"{gpu}.{name}", seconds, width) for gpu in range(self.gpus)]
        columns = zip(*(row for row in rows if row), strict=False)
        if name not in ("power", "temp"):
            return [_mean(list(column)) for column in columns]
        return [_combined(name, column) for column in columns]

    def _gpu(self, index: int, t: float, gpu: Gpu) -> None:
        self._put(f"{index}.util", t, gpu.util)
        self._put(f"{index}.mem", t, _share(gpu.mem_used, gpu.mem_total))
        self._put(f"{index}.power", t, gpu.power_w)
        self._put(f"{index}.temp", t, gpu.temp_c)

    def _put(self, name: str, t: float, value: float | None) -> None:
        if value is None:
            return
        series = self.series.get(name)
        if series is None:
            series = self.series[name] = Series()
        series.put(t, value)


def resampled(values: list[float], width: int) -> list[float]:
    """`width` values: means where there are more, each repeated where there are fewer."""
    count = len(values)
    if count <= width:
        return [values[index * count // width] for index in range(width)]
    return [
        _mean(values[index * count // width : (index + 1) * count // width])
        for index in range(width)
    ]


def _mean(values: list[float]) -> float:
    total = sum(values)
    if math.isnan(total):
        values = [value for value in values if not math.isnan(value)]
        total = sum(values)
    return total / len(values) if values else _NAN


def _combined(name: str, values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return _NAN
    if name == "power":
        return sum(known)
    return max(known) if name == "temp" else sum(known) / len(known)


def _share(used: int | None, total: int | None) -> float | None:
    return 100 * used / total if used is not None and total else None


def _both(one: float | None, other: float | None) -> float | None:
    return None if one is None and other is None else (one or 0.0) + (other or 0.0)
