"""A connection cut in the middle: continued, nothing lost, nothing twice."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from devbox import paths
from devbox.errors import KeyRefused, SshError, SyncError
from devbox.remote import keys
from devbox.remote.config import ssh_config
from devbox.remote.exec import Exec
from devbox.sync import rsync_process, watch
from tests.processes import command_line
from tests.sync.conftest import Pair, files, write

MEGABYTE = 1 << 20


def _fill(folder: Path) -> None:
    content = random.Random(1).randbytes(80 * MEGABYTE)
    (folder / "big.bin").write_bytes(content)
    for number in range(30):
        write(folder / f"small/{number}.txt", str(number))


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _writing(folder: Path) -> list[psutil.Process]:
    """The rsync processes of the box that hold a file of that folder open."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.Error):
            if "--server" in (process.info["cmdline"] or []) and any(
                Path(file.path).is_relative_to(folder) for file in process.open_files()
            ):
                found.append(process)
    return found


def _cut_at(pair: Pair, target: Path, size: int, times: int) -> threading.Thread:
    """Close the shared connection whenever a file arriving in `target` has grown to `size`."""

    def run() -> None:
        seen: set[str] = set()
        deadline = time.monotonic() + 120
        while len(seen) < times and time.monotonic() < deadline:
            for file in (target / ".devbox-arriving").glob("*big.bin.*"):
                with suppress(FileNotFoundError):
                    if file.name not in seen and file.stat().st_size > size:
                        seen.add(file.name)
                        ssh_config.forget(pair.box)
            time.sleep(0.001)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_cut_transfer_is_continued(pair: Pair, direction: str) -> None:
    source, target = (pair.here, pair.there) if direction == "up" else (pair.there, pair.here)
    sync = pair.up if direction == "up" else pair.down
    _fill(source)
    cutting = _cut_at(pair, target, 4 * MEGABYTE, 1)
    report = sync()
    cutting.join()
    assert report.retries >= 1
    assert len(report.moved) == len(set(report.moved)) == 31
    left = {name: body for name, body in _bytes(target).items() if ".devbox-" not in name}
    assert left == _bytes(source)
    assert sync().moved == ()
    assert pair.down().moved == pair.up().moved == ()
    assert any("what was sent is kept" in said for said in pair.said)


def test_a_shared_connection_that_hangs_is_replaced(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And rsync's ssh with it; what hangs is left to itself."""
    monkeypatch.setattr(rsync_process, "_QUIET", 0.5)
    _fill(pair.here)
    Exec(pair.box).run(["true"])
    shared = [p for p in psutil.process_iter() if _is_shared(p)]
    assert len(shared) == 1
    hanging = threading.Thread(target=_stop_at, args=(shared[0], pair.there), daemon=True)
    hanging.start()
    try:
        report = pair.up()
        hanging.join()
        assert report.retries == 1
        assert shared[0].status() == psutil.STATUS_STOPPED
    finally:
        shared[0].kill()
    assert (pair.there / "big.bin").read_bytes() == (pair.here / "big.bin").read_bytes()
    assert pair.up().moved == ()


def _is_shared(process: psutil.Process) -> bool:
    """A shared connection of this test."""
    line = command_line(process)
    return "[mux]" in line and str(paths.control_dir()) in line


def _stop_at(process: psutil.Process, target: Path) -> None:
    """When a file begins to arrive."""
    deadline = time.monotonic() + 120
    while not list((target / ".devbox-arriving").glob("*big.bin.*")):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.suspend()


def test_what_arrived_before_the_cut_is_kept_and_used(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(pair.here)
    cutting = _cut_at(pair, pair.there, 8 * MEGABYTE, 1)
    monkeypatch.setattr(rsync_process, "CUT", frozenset())  # no second try
    with pytest.raises(SyncError, match="rsync ended"):
        pair.up()
    monkeypatch.setattr(rsync_process, "CUT", frozenset({10, 12, 255}))
    cutting.join()
    kept = pair.there / ".devbox-partial/big.bin"
    deadline = time.monotonic() + 120
    while not kept.exists():
        assert time.monotonic() < deadline, "the part was not kept"
        time.sleep(0.02)
    assert not (pair.there / "big.bin").exists()
    assert kept.stat().st_size > 4 * MEGABYTE
    pair.up()
    assert (pair.there / "big.bin").read_bytes() == (pair.here / "big.bin").read_bytes()
    assert not kept.exists()


def test_ctrl_c_leaves_whole_files_and_the_next_sync_finishes(pair: Pair) -> None:
    _fill(pair.here)
    (pair.here / "devbox.toml").write_text('project = "project"\n[boxes.b]\n')
    command = [sys.executable, "-m", "devbox.cli.main", "sync", "up", "b"]
    with subprocess.Popen(command, cwd=pair.here, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 120
        while not (arriving := list(pair.there.glob(".devbox-arriving/*big.bin.*"))):
            assert time.monotonic() < deadline
            assert running.poll() is None
            time.sleep(0.001)
        receivers = _writing(arriving[0].parent)
        for each in receivers:
            each.suspend()  # it cannot finish before the interrupt
        os.kill(running.pid, signal.SIGINT)
        assert running.stderr
        said = running.stderr.read()
    assert receivers
    assert running.returncode == 130, said
    assert not (pair.there / "big.bin").exists()
    for each in receivers:
        each.resume()
    pair.up()
    found = {name: body for name, body in _bytes(pair.there).items() if ".devbox-" not in name}
    assert found == _bytes(pair.here)


def _reconfigured(pair: Pair, what: str, instead: str) -> None:
    """The box's ssh config has something else, and no connection is shared."""
    ssh_config.forget(pair.box)
    deadline = time.monotonic() + 120
    folder = paths.control_dir()
    while folder and any(folder.iterdir()):
        assert time.monotonic() < deadline, "the shared connection stays"
        time.sleep(0.01)
    text = paths.ssh_config().read_text()
    assert re.search(what, text)
    paths.ssh_config().write_text(re.sub(what, instead, text))


def test_a_refused_key_is_not_tried_again_and_ends_a_watch(pair: Pair, tmp_path: Path) -> None:
    write(pair.here / "a.txt", "a")
    other = tmp_path / "other_key"
    other.write_text(keys.new_host_key()[0])
    other.chmod(0o600)
    _reconfigured(pair, "IdentityFile .*", f"IdentityFile {other}")
    with pytest.raises(KeyRefused) as caught:
        pair.up()
    assert pair.said == []
    assert not watch._passes(caught.value)


def test_a_box_out_of_reach_is_an_ssh_error_after_one_more_try(pair: Pair) -> None:
    write(pair.here / "a.txt", "a")
    port = pair.box.endpoint.port if pair.box.endpoint else 0
    _reconfigured(pair, f"Port {port}", "Port 1")
    with pytest.raises(SshError, match="cannot be reached"):
        pair.up()
    assert len(pair.said) == 1
    assert files(pair.there) == {}
