"""The measurements. Each takes about `seconds`, and gives its best rate: others on the same machine
can only make it slower."""

from __future__ import annotations

import os
import threading
import time
import urllib.request
from pathlib import Path
from types import ModuleType
from typing import Callable, Iterator, List, Optional

from devbox.box.arrays import Tensor
from devbox.box.job import Skip

_BLOCK = 8 << 20  # bytes written or read at once
_STREAMS = 8
_LARGEST = 16384  # side of a matrix


def matmul(torch: ModuleType, device: str, dtype: str, seconds: float) -> float:
    """TFLOP/s of square matrix products. The side grows until one product takes a fifth of the
    time, so that a small CPU ends as soon as a large GPU. Skip where the device has no such
    dtype."""
    kind = torch.float32 if dtype == "tf32" else getattr(torch, dtype)
    torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
    side = 256
    try:
        while True:
            # Not of one value: a GPU clocks higher when no bit changes.
            left = torch.randn((side, side), device=device).to(kind)
            work = lambda: torch.matmul(left, left)  # noqa: B023, E731
            took = best(work, seconds / 4, lambda: _wait(torch, device))
            if took > seconds / 5 or side >= _LARGEST:
                break
            side *= 2
    except (RuntimeError, TypeError) as error:
        if "out of memory" in str(error).lower():
            raise
        raise Skip(f"{dtype} products: {str(error).splitlines()[0]}") from None
    return float(2 * side**3 / best(work, seconds, lambda: _wait(torch, device)) / 1e12)


def device_copy(torch: ModuleType, device: str, seconds: float) -> float:
    """GB/s of reading and writing a GPU's memory, by copies within it."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    took = best(lambda: target.copy_(source), seconds, lambda: _wait(torch, device))
    return float(2 * source.nbytes / took / 1e9)


def transfer(torch: ModuleType, device: str, seconds: float, *, up: bool) -> float:
    """GB/s from pinned memory of the host to a GPU, or back."""
    host = torch.empty(256 << 20, dtype=torch.uint8, pin_memory=True)
    there = torch.empty_like(host, device=device)
    source, target = (host, there) if up else (there, host)
    work = lambda: target.copy_(source, non_blocking=True)  # noqa: E731
    return float(host.nbytes / best(work, seconds, lambda: _wait(torch, device)) / 1e9)


def vram(torch: ModuleType, device: str) -> float:
    """GiB that can be written and read back, block by block until none is left."""
    held: List[Optional[Tensor]] = []
    try:
        while True:
            held.append(torch.full((1 << 28,), len(held) % 251, dtype=torch.uint8, device=device))
    except RuntimeError as error:
        if "out of memory" not in str(error).lower():
            raise
    for number, block in enumerate(held):
        assert block is not None
        if not bool((block == number % 251).all()):
            raise ValueError(f"block {number} of its memory gave back another value than written")
        held[number] = None
    torch.cuda.empty_cache()
    return len(held) / 4


def host_copy(seconds: float) -> float:
    """GB/s of reading and writing this machine's memory, by copies on one core."""
    source, target = memoryview(bytearray(64 << 20)), memoryview(bytearray(64 << 20))

    def work() -> None:
        target[:] = source

    return 2 * source.nbytes / best(work, seconds) / 1e9


def disk(folder: Path, megabytes: int) -> Iterator[float]:
    """MB/s of writing a file in the folder, all of it on the disk, then of reading it back, past
    the memory that the system keeps files in where it can be asked to drop them."""
    space = os.statvfs(folder)
    size = min(megabytes << 20, space.f_bavail * space.f_frsize // 4) // _BLOCK * _BLOCK
    if size < _BLOCK:
        raise Skip("too little of the disk is free to measure it")
    path, block = folder / f".devbox-part-disk-{os.getpid()}", os.urandom(_BLOCK)
    try:
        with path.open("wb", buffering=0) as stream:
            begun = time.perf_counter()
            for _ in range(size // _BLOCK):
                stream.write(block)
            os.fsync(stream.fileno())
            yield size / (time.perf_counter() - begun) / 1e6
        with path.open("rb", buffering=0) as stream:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            begun = time.perf_counter()
            while stream.read(_BLOCK):
                pass
            yield size / (time.perf_counter() - begun) / 1e6
    finally:
        path.unlink()


def download(url: str, seconds: float) -> float:
    """MB/s of reading a file of a web server over eight connections, for that long at most. Skip
    where it cannot be reached."""
    until = time.perf_counter() + seconds
    got, errors = [0] * _STREAMS, []
    begun = time.perf_counter()

    def stream(number: int) -> None:
        asked = urllib.request.Request(url, headers={"User-Agent": "devbox"})  # noqa: S310
        # Where the file is shorter the server answers 416, and the first stream counts alone.
        asked.add_header("Range", f"bytes={number * (64 << 20)}-")
        try:
            with urllib.request.urlopen(asked, timeout=seconds + 10) as answer:  # noqa: S310
                while data := answer.read(1 << 18):
                    got[number] += len(data)
                    if time.perf_counter() > until:
                        return
        except (OSError, ValueError) as error:
            errors.append(error)

    threads = [threading.Thread(target=stream, args=(number,)) for number in range(_STREAMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not sum(got):
        why = errors[0] if errors else "it sent nothing"
        raise Skip(f"{url.split('?', maxsplit=1)[0]} cannot be read: {why}")
    return sum(got) / (time.perf_counter() - begun) / 1e6


def best(
    work: Callable[[], object], seconds: float, wait: Callable[[], None] = lambda: None
) -> float:
    """Seconds of the fastest call, after one to warm up. wait: returns when the work is done."""
    work()
    wait()
    until = time.perf_counter() + seconds
    shortest = float("inf")
    while True:
        begun = time.perf_counter()
        work()
        wait()
        ended = time.perf_counter()
        shortest = min(shortest, ended - begun)
        if ended > until:
            return max(shortest, 1e-9)


def _wait(torch: ModuleType, device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)
