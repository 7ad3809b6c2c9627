"""The gpu-check job, measuring this machine for a moment."""

from __future__ import annotations

import json
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from devbox.box.job import Job, Skip
from devbox.box.jobs import gpu_check
from devbox.box.jobs.gpu_check import measures, picture, published
from devbox.jobs import catalogue
from devbox.spec import Spec
from tests.jobs.test_checkpoints import DATA, Web, site

__all__ = ["site"]


def run(folder: Path, url: str = "", **more: Any) -> tuple[Job, dict[str, Any]]:
    job = Job(folder, args={"seconds": 0.02, "disk": 16, "url": url, **more})
    gpu_check.run(job)
    report = json.loads((job.out / "gpu-check.json").read_text())
    report["measures"] = {row["name"]: row for row in report["measures"]}
    return job, report


def test_a_cpu_is_measured_and_said_to_be_one(home: Path, site: Web) -> None:
    job, report = run(home, site.url)
    assert job.failed == []
    found = report["measures"]
    assert list(found) == [
        *("CPU matmul float32", "CPU matmul bfloat16", "host memory, one core"),
        *("disk write", "disk read", "download, 8 connections"),
    ]
    assert all(row["value"] > 0 and row["published"] is None for row in found.values())
    assert report["machine"]["gpus"] == []
    assert "no GPU was found" in report["note"]
    texts = ["".join(e.itertext()) for e in ET.parse(job.out / "gpu-check.svg").iter()]
    assert report["title"] in "".join(texts)
    assert sorted(path.name for path in job.out.iterdir()) == ["gpu-check.json", "gpu-check.svg"]


def test_without_torch_it_measures_the_rest_and_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    job, report = run(home, "http://127.0.0.1:9/nothing")
    assert job.failed == []
    assert "torch is not installed" in report["note"]
    assert next(iter(report["measures"])) == "host memory, one core"
    missed = report["measures"]["download, 8 connections"]
    assert missed["value"] is None
    assert "127.0.0.1:9/nothing cannot be read" in missed["note"]
    assert "not measured" in (job.out / "gpu-check.svg").read_text()


def gpu_torch(blocks: int, names: list[str]) -> SimpleNamespace:
    """torch on a machine with GPUs: its real CPU kernels under the names of devices, with memory
    for so many blocks of 256 MiB on each."""
    held: list[object] = []

    def full(shape: tuple[int], value: int, **_: Any) -> Any:
        if len(held) == blocks:
            raise RuntimeError("CUDA out of memory. Tried to allocate 256.00 MiB.")
        held.append(None)
        return torch.full((4,), value, dtype=torch.uint8)

    return SimpleNamespace(
        **{name: getattr(torch, name) for name in ("float32", "float16", "bfloat16", "uint8")},
        __version__="2.13.0",
        matmul=torch.matmul,
        randn=lambda shape, device: torch.randn(shape),
        empty=lambda size, **_: torch.empty(1 << 16, dtype=torch.uint8),
        empty_like=lambda other, **_: torch.empty_like(other),
        full=full,
        backends=torch.backends,
        cuda=SimpleNamespace(
            is_available=lambda: True,
            device_count=lambda: len(names),
            get_device_name=names.__getitem__,
            synchronize=lambda _: None,
            empty_cache=held.clear,
        ),
    )


def test_each_gpu_is_measured_beside_its_own_sheet(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["NVIDIA H100 80GB HBM3", "NVIDIA Unheard Of"]
    monkeypatch.setitem(sys.modules, "torch", gpu_torch(5, names))
    monkeypatch.setattr(measures, "_LARGEST", 256)
    job, report = run(home)
    assert job.failed == []
    found = report["measures"]
    assert [name for name in found if name.startswith("gpu0")] == [
        *(f"gpu0 matmul {dtype}" for dtype in ("float32", "tf32", "float16", "bfloat16")),
        *("gpu0 memory", "gpu0 VRAM that can be used", "gpu0 host to GPU", "gpu0 GPU to host"),
    ]
    assert found["gpu0 matmul bfloat16"]["published"] == 989
    assert found["gpu0 memory"]["published"] == 3350
    assert found["gpu0 VRAM that can be used"]["value"] == 5 * 0.25
    assert found["gpu1 matmul bfloat16"]["published"] is None
    assert "no published figures are known for NVIDIA Unheard Of" in report["note"]
    assert report["published"]["sources"]
    assert report["title"] == "1 × NVIDIA H100 80GB HBM3, 1 × NVIDIA Unheard Of"


def test_what_fails_leaves_the_others_and_a_retry_measures_it_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: float) -> float:
        raise ValueError("bad bank")

    with monkeypatch.context() as patch:
        patch.setattr(measures, "host_copy", broken)
        job, report = run(home)
    assert job.failed == ["host memory, one core"]
    assert report["measures"]["host memory, one core"]["note"] == "failed: ValueError: bad bank"
    before = report["measures"]["CPU matmul float32"]
    job = Job(home, args={"seconds": 0.02, "disk": 16, "url": ""}, attempt=2)
    gpu_check.run(job)
    rows = {r["name"]: r for r in json.loads((job.out / "gpu-check.json").read_text())["measures"]}
    assert rows["host memory, one core"]["value"] > 0
    assert rows["CPU matmul float32"] == before


def test_bytes_that_arrive_are_what_is_counted(site: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of one second a look: the rate follows from what the server sent."""
    ticks = iter(range(10_000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    rate = measures.download(site.url, 1000.0)
    sent = len(site.asked) * len(DATA)  # this server sends all of it, whatever range is asked for
    assert 0 < rate <= sent / 1e6
    with pytest.raises(Skip, match="cannot be read"):
        measures.download("ftp:///nothing", 1.0)


@pytest.mark.parametrize(
    ("gpu", "bf16"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA A10G", 70),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA GeForce GTX 1080", None),
        ("NVIDIA A100X", None),
    ],
)
def test_a_gpu_finds_its_own_sheet(gpu: str, bf16: float | None) -> None:
    sheet = published.find(gpu)
    assert (sheet.matmul["bfloat16"] if sheet else None) == bf16


def test_a_figure_is_said_beside_its_peak() -> None:
    row: picture.Row = {
        "name": "GPU matmul bfloat16",
        "value": 494.5,
        "unit": "TFLOP/s",
        "published": 989.0,
        "note": "",
    }
    assert picture.said(row) == "494.5 TFLOP/s, 50% of 989"


def test_a_job_of_two_words_has_a_module(home: Path) -> None:
    job = catalogue.find(Spec(), "gpu-check")
    assert (job.name, job.module) == ("gpu-check", "devbox.box.jobs.gpu_check")
