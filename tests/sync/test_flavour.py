"""Every rsync a laptop may have: told apart, given only flags it knows, with the same results."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from devbox import process
from devbox.errors import ToolMissing
from devbox.model import Box
from devbox.sync import rsync_dialect, rsync_process
from devbox.sync.rsync_dialect import OPENRSYNC, SAMBA, Flavour
from devbox.sync.status import status
from tests.sync import openrsync
from tests.sync.conftest import MakePair, Pair, files, write


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("rsync  version 3.2.7  protocol version 31\n", Flavour(SAMBA, (3, 2, 7))),
        ("rsync  version v3.4.1  protocol version 32\n", Flavour(SAMBA, (3, 4, 1))),
        ("rsync  version 2.6.9  protocol version 29\n", Flavour(SAMBA, (2, 6, 9))),
        (openrsync.VERSION, Flavour(OPENRSYNC)),
        ("openrsync 0.1\n", Flavour(OPENRSYNC)),
        ("BusyBox v1.36\n", None),
        ("", None),
    ],
)
def test_versions_are_told_apart(version: str, expected: Flavour | None) -> None:
    assert rsync_dialect.parse(version) == expected


def test_an_unknown_rsync_is_an_error_that_says_what_to_install(home: Path) -> None:
    fake = home / "rsync"
    fake.write_text("#!/bin/sh\necho something else\n")
    fake.chmod(0o755)
    with pytest.raises(ToolMissing, match="which rsync"):
        rsync_dialect.detect(str(fake))


@pytest.mark.parametrize("kind", [Flavour(OPENRSYNC), Flavour(SAMBA, (2, 6, 9))])
@pytest.mark.parametrize("up", [True, False])
def test_old_and_other_rsyncs_get_only_flags_they_know(
    kind: Flavour, up: bool, tmp_path: Path, local_box: Box
) -> None:
    job = rsync_process.Job(
        local_box, tmp_path, "w $(x)", up, b"- x\0", [b"a"], extra=("--update",)
    )
    argv = rsync_process.arguments(job, "/usr/bin/rsync", kind, tmp_path)
    openrsync.check(argv[1:])
    assert any("'w $(x)/'" in argument for argument in argv), "the shell on the box would read it"


@pytest.fixture
def on_a_mac(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`rsync` is openrsync on this side; boxes keep the real one."""
    real = shutil.which("rsync")
    assert real
    monkeypatch.setenv("REAL_RSYNC", real)
    fake = home / "bin/rsync"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\nexec {sys.executable} {openrsync.__file__} "$@"\n')
    fake.chmod(0o755)
    was = process.require
    monkeypatch.setattr(
        process, "require", lambda name: str(fake) if name == "rsync" else was(name)
    )


@pytest.mark.usefixtures("on_a_mac")
class TestOpenrsync:
    def test_up_down_and_what_is_kept(self, pair: Pair) -> None:
        write(pair.here / "a b/it's.py", "1", age=50)
        write(pair.here / "keep.txt", "1", age=50)
        write(pair.here / "__pycache__/x.pyc", "x")
        report = pair.up()
        assert set(report.moved) == {"a b/it's.py", "keep.txt"}
        assert pair.up().moved == ()
        write(pair.there / "keep.txt", "edited on the box")
        write(pair.there / "out/result.txt", "r")
        write(pair.here / "keep.txt", "edited here", age=20)
        kept = pair.up().kept
        assert [(k.path, k.why) for k in kept] == [("keep.txt", "newer on the box")]
        down = pair.down()
        assert down.moved == ("out/result.txt",)
        assert [k.path for k in down.kept] == ["keep.txt"]
        assert (pair.here / "keep.txt").read_text() == "edited here"

    def test_deletions_and_dry_run(self, pair: Pair) -> None:
        write(pair.here / "a.txt", "a", age=50)
        write(pair.here / "b.txt", "b", age=50)
        pair.up()
        (pair.here / "b.txt").unlink()
        write(pair.here / "c.txt", "c")
        planned = pair.up(dry_run=True, delete=True)
        assert (planned.moved, planned.deleted) == (("c.txt",), ("b.txt",))
        assert pair.up(delete=True, approve=lambda _: True).deleted == ("b.txt",)
        assert files(pair.there) == {"a.txt": "a", "c.txt": "c"}

    def test_a_folder_on_the_box_that_a_shell_would_read(self, make_pair: MakePair) -> None:
        pair = make_pair(remote="a $(touch pwned) 'b")
        write(pair.here / "a.txt", "a")
        pair.up()
        assert files(pair.there / "a $(touch pwned) 'b") == {"a.txt": "a"}
        write(pair.there / "a $(touch pwned) 'b/n.txt", "n")
        assert pair.down().moved == ("n.txt",)
        assert not list(pair.there.parent.rglob("pwned"))
        assert status(pair.ws, pair.box).in_step

    def test_progress_counts_finished_files(self, pair: Pair) -> None:
        for number in range(5):
            write(pair.here / f"{number}.txt", "x" * 1000)
        seen: list[int] = []
        pair.up(on_progress=lambda now: seen.append(now.bytes_done))
        assert seen[-1] == 5000


def test_the_stand_in_refuses_what_openrsync_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("-s", "--info=progress2", "--outbuf=L", "--mkpath", "--no-h", "--append-verify"):
        with pytest.raises(SystemExit):
            openrsync.check([option])
        assert "unrecognized" in capsys.readouterr().err
    assert os.path.basename(openrsync.__file__) == "openrsync.py"
