"""The `gpu-check` job: what a machine does, beside what is published about its GPUs.

gpu-check.json: {"title", "note", "date", "machine": {"cpu", "cores", "memory_gb", "gpus"},
"published": {"as_of", "sources"}, "measures": [{"name", "value", "unit", "published", "note"}]};
value is null for what was not measured, and note says why. gpu-check.svg is the same as a picture.
Without torch the matrix products and the GPUs are left out, and the report says so.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import time
from pathlib import Path
from types import ModuleType
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional

from devbox.box.job import Job, Skip
from devbox.box.jobs.gpu_check import measures, picture, published
from devbox.box.jobs.gpu_check.picture import Report, Row

_DTYPES = ("float32", "tf32", "float16", "bfloat16")
_ON_CPU = ("float32", "bfloat16")


class _Measure(NamedTuple):
    """published: what its sheet says, in the same unit."""

    unit: str
    work: Callable[[], float]
    published: Optional[float] = None


def run(job: Job) -> None:
    """Each measurement is one item; what fails leaves the others alone."""
    torch = _torch()
    gpus = _gpus(torch)
    planned = _plan(job, torch, gpus)
    kept: Dict[str, Row] = _read(job)
    for name in job.items(planned):
        each = planned[name]
        row: Row = {
            "name": name,
            "value": None,
            "unit": each.unit,
            "published": each.published,
            "note": "",
        }
        with job.item(name):
            try:
                row["value"] = round(each.work(), 4)
                job.log(f"{name}: {picture.said(row)}")
            except Skip as reason:
                row["note"] = str(reason)
                raise
            except Exception as error:
                row["note"] = f"failed: {type(error).__name__}: {error}"[:300]
                raise
            finally:
                kept[name] = row
        _report(job, torch, gpus, [kept[each] for each in planned if each in kept])


def _plan(job: Job, torch: Optional[ModuleType], gpus: List[str]) -> Dict[str, _Measure]:
    """Name → measurement, in the order they are made."""
    seconds, url = float(job.args["seconds"]), str(job.args["url"] or "")
    found: Dict[str, _Measure] = {}
    for number, gpu in enumerate(gpus):
        sheet, device = published.find(gpu), f"cuda:{number}"
        before = f"gpu{number} " if len(gpus) > 1 else "GPU "
        for dtype in _DTYPES:
            known = sheet.matmul.get(dtype) if sheet else None
            work = _later(measures.matmul, torch, device, dtype, seconds)
            found[f"{before}matmul {dtype}"] = _Measure("TFLOP/s", work, known)
        copy = _later(measures.device_copy, torch, device, seconds)
        found[f"{before}memory"] = _Measure("GB/s", copy, sheet.memory if sheet else None)
        usable = _later(measures.vram, torch, device)
        found[f"{before}VRAM that can be used"] = _Measure(
            "GiB", usable, sheet.vram if sheet else None
        )
        for up, way in ((True, "host to GPU"), (False, "GPU to host")):
            move = _later(measures.transfer, torch, device, seconds, up=up)
            found[f"{before}{way}"] = _Measure("GB/s", move)
    if torch is not None and not gpus:
        for dtype in _ON_CPU:
            work = _later(measures.matmul, torch, "cpu", dtype, seconds)
            found[f"CPU matmul {dtype}"] = _Measure("TFLOP/s", work)
    found["host memory, one core"] = _Measure("GB/s", _later(measures.host_copy, seconds))
    if int(job.args["disk"]) > 0:
        disk = measures.disk(job.out, int(job.args["disk"]))
        found["disk write"] = _Measure("MB/s", disk.__next__)
        found["disk read"] = _Measure("MB/s", _later(_last, disk))
    if url:
        found["download, 8 connections"] = _Measure("MB/s", _later(measures.download, url, seconds))
    return found


def _last(values: Iterable[float]) -> float:
    """The next value of a generator, which then ends."""
    found = list(values)
    if not found:
        raise Skip("the disk was not written in this attempt")
    return float(found[-1])


def _later(work: Callable[..., float], *args: object, **more: object) -> Callable[[], float]:
    return lambda: work(*args, **more)


def _report(job: Job, torch: Optional[ModuleType], gpus: List[str], rows: List[Row]) -> None:
    cpu = _cpu()
    known = {gpu: published.find(gpu) for gpu in gpus}
    sources = sorted({sheet.source for sheet in known.values() if sheet})
    if gpus:
        title = ", ".join(sorted({f"{gpus.count(gpu)} × {gpu}" for gpu in gpus}))
        unknown = sorted(gpu for gpu, sheet in known.items() if sheet is None)
        note = f"grey: published peak, as of {published.AS_OF}"
        note = f"no published figures are known for {', '.join(unknown)}" if unknown else note
    else:
        title = cpu
        note = "no GPU was found: measured on the CPU; no published figures to compare with"
    if torch is None:
        note = "torch is not installed: matrix products and GPUs were not measured"
    version = getattr(torch, "__version__", None)
    report: Report = {
        "title": title,
        "note": note,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {
            "cpu": cpu,
            "cores": len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            "gpus": gpus,
            "torch": None if version is None else str(version),
        },
        "published": {"as_of": published.AS_OF, "sources": sources},
        "measures": rows,
    }
    job.write("gpu-check.json", json.dumps(report, indent=1) + "\n")
    job.write("gpu-check.svg", picture.svg(report))


def _torch() -> Optional[ModuleType]:
    try:
        return importlib.import_module("torch")
    except (ImportError, OSError) as error:  # OSError: a CUDA library of it is missing
        print(f"torch cannot be used here: {error}", flush=True)
        return None


def _gpus(torch: Optional[ModuleType]) -> List[str]:
    """The driver's names of the GPUs that torch can use."""
    if torch is None or not torch.cuda.is_available():
        return []
    return [str(torch.cuda.get_device_name(i)) for i in range(torch.cuda.device_count())]


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _read(job: Job) -> Dict[str, Row]:
    """What an earlier attempt has measured, by name."""
    try:
        rows = json.loads((job.out / "gpu-check.json").read_text())["measures"]
        return {row["name"]: row for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
