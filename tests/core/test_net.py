"""One net for what is not our error: odd homes, odd files, odd answers, odd surroundings. Each is
an error a user can act on, with an exit code, and never a traceback."""

from __future__ import annotations

import codecs
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from devbox import paths, spec
from devbox.cli import net
from devbox.errors import DevboxError, SpecError, SyncError
from devbox.jobs import status
from devbox.sync import remote
from devbox.telemetry.reader import parse
from devbox.text import local_time, parse_duration, parse_size
from devbox.wire import codec
from devbox.wire.codec import Unreadable
from devbox.wire.jobs import JobStatus


def devbox(*words: str, cwd: Path, **env: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "devbox.cli.main", *words],
        capture_output=True,
        timeout=120,
        check=False,
        cwd=cwd,
        env={**os.environ, **env},
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in err, err
    assert "devbox itself failed" not in err, err
    return done.returncode, out, err


def test_a_home_that_cannot_be_used_says_why_and_makes_nothing(home: Path) -> None:
    work = home / "work"
    work.mkdir()
    (home / "file").write_text("x")
    for value, said in (
        ("here", "is relative"),
        (str(home / "file"), "it is a file"),
        ("/proc/nowhere", "cannot be used"),
    ):
        for verb in (["ls"], ["up"], ["doctor"]):
            code, _, err = devbox(*verb, cwd=work, DEVBOX_HOME=value)
            assert code == 1
            assert said in err
            assert "DEVBOX_HOME" in err
    assert list(work.iterdir()) == []


def test_a_tilde_in_devbox_home_is_the_users_home(home: Path) -> None:
    work = home / "work"
    work.mkdir()
    assert devbox("ls", cwd=work, DEVBOX_HOME="~/boxes")[0] == 0
    assert (home / "boxes" / "state.db").exists()
    assert list(work.iterdir()) == []


def test_a_folder_that_is_gone_is_told(home: Path) -> None:
    gone = home / "gone"
    code = (
        "import os, sys\n"
        f"os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})\n"
        "from devbox.cli.main import main\n"
        "sys.argv = ['devbox', 'ls']\n"
        "main()\n"
    )
    gone.mkdir()
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )
    assert "the current folder no longer exists" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("proxy", ["foo://user:hunter2@x", "socks4://user:hunter2@x:1"])
def test_a_proxy_that_cannot_be_used_is_named_without_its_password(home: Path, proxy: str) -> None:
    (home / "devbox.toml").write_text('[boxes.a]\nprovider = "hf-job"\nhardware = "cpu-basic"\n')
    code, out, err = devbox("up", cwd=home, ALL_PROXY=proxy, HF_TOKEN="hf_x")
    assert code == 6
    assert "ALL_PROXY" in err
    assert "hunter2" not in out + err


TOML = {
    "inf": (b"[boxes.a]\nmax_price = inf\n", "boxes.a.max_price: inf is not a number"),
    "nan": (b"[budget]\ndaily = nan\n", "budget.daily: nan is not a number"),
    "nan in a list": (b"[jobs.j]\ncommand = [nan]\n", "jobs.j.command.0"),
    "negative": (b"[budget]\ndaily = -1\n", "budget.daily"),
    "huge": (b"[boxes.a]\ncpu = 1" + b"0" * 400 + b"\n", ""),
    "more digits than Python reads": (b"x = 1" + b"0" * 5000 + b"\n", "not valid TOML"),
    "deep list": (b"x = " + b"[" * 100_000, ""),
    "deep table": (b"[" + b"a." * 5000 + b"a]\nx = 1\n", ""),
    "deep inline": (b"x = " + b"{a = " * 3000 + b"1" + b"}" * 3000, ""),
    "utf-16": ("[boxes.a]\n".encode("utf-16"), "UTF-16"),
    "latin-1": ("[boxes.a]\nenv = {A = 'ü'}\n".encode("latin-1"), "not valid TOML"),
    "nul": (b"[boxes.a]\x00\n", "not valid TOML"),
    "large": (b"#" * (2 << 20), "larger than"),
    "bare duration": (b"[boxes.a]\nmax_uptime = 8\n", "write 8s, 8m or 8h"),
    "bare duration as text": (b'[boxes.a]\nmax_uptime = "8"\n', "write 8s, 8m or 8h"),
    "fraction": (b"[boxes.a.idle]\nafter = 0.5\n", "write 0.5s"),
    "bare size": (b"[boxes.a]\nvram = 40\n", "write 40GB"),
    "boolean size": (b"[boxes.a]\nvram = true\n", "boxes.a.vram"),
    "list for a size": (b"[boxes.a]\nvram = [1]\n", "boxes.a.vram"),
    "date for a duration": (b"[boxes.a]\nmax_uptime = 2026-01-01\n", "boxes.a.max_uptime"),
    "an age of the world": (b'[boxes.a]\nmax_uptime = "99999999999999d"\n', "ten years"),
    "more than any disk": (b'[boxes.a]\nvram = "9999999999TB"\n', "exabyte"),
    "minus a day": (b'[boxes.a]\nmax_uptime = "-1d"\n', "not a duration"),
    "bare size of a checkpoint": (
        b'[checkpoints.c]\nsource = "hf://a/b/c.pt"\npath = "c"\nsize = 5\n',
        "write 5GB, or 5B",
    ),
}


@pytest.mark.parametrize("case", TOML)
def test_a_file_of_nonsense_is_refused_with_its_name(home: Path, case: str) -> None:
    content, said = TOML[case]
    file = home / "devbox.toml"
    file.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        spec.load(file, home / "none.toml")
    assert said in caught.value.what
    assert str(file) in caught.value.what
    assert len(caught.value.render()) < 1500


def test_a_byte_order_mark_is_read_over(home: Path) -> None:
    file = home / "devbox.toml"
    file.write_bytes(codecs.BOM_UTF8 + b'[boxes.a]\nmax_uptime = "8h"\nvram = 0\n')
    found = spec.load(file, home / "none.toml").boxes["a"]
    assert (float(found.max_uptime), int(found.vram)) == (8 * 3600, 0)


def test_a_broken_configuration_does_not_end_doctor(home: Path) -> None:
    (home / "devbox.toml").write_text("[boxes.a\n")
    code, out, _ = devbox("doctor", cwd=home)
    assert code == 1
    assert "not valid TOML" in out
    assert "state file" in out


@pytest.mark.parametrize("text", ["8", "0.5", "40", "007"])
def test_a_number_without_a_unit_is_no_time_and_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=f"write {text}s"):
        parse_duration(text)
    with pytest.raises(ValueError, match=f"write {text}GB"):
        parse_size(text)


def test_offers_refuse_a_size_without_a_unit(home: Path) -> None:
    code, _, err = devbox("offers", "--vram", "40", cwd=home)
    assert code == 2
    assert "write 40GB" in err


DEEP = b"[" * 100_000
TIMES = (b"1e308", b"1e999", b"-1", b"NaN", b"4102444801", b'"soon"')


@pytest.mark.parametrize("line", [DEEP, b"{" * 100_000, b'{"v":' + DEEP, b"\xff", b"", b"nul"])
def test_a_line_that_is_nothing_is_nothing(line: bytes) -> None:
    assert codec.load_or_none(line) is None
    with pytest.raises(Unreadable):
        parse(line)


@pytest.mark.parametrize("t", TIMES)
def test_a_time_that_no_clock_says_is_no_time(t: bytes) -> None:
    for line in (
        b'{"v":1,"hb":%b}',
        b'{"v":1,"boot":"b","seq":1,"t":%b}',
        b'{"v":1,"event":{"seq":1,"t":%b,"kind":"x","message":"y"}}',
    ):
        with pytest.raises(Unreadable):
            parse(line % t)


@pytest.mark.parametrize("at", [1e308, -1e308, float("inf"), float("nan"), 1e18])
def test_a_time_beyond_the_calendar_is_shown_as_none(at: float) -> None:
    assert local_time(at) == "–"


@pytest.mark.parametrize(
    "record",
    [b"f 1 --1 a", b"f --1 1 a", b"f 1 1e308 a", b"f 1 - a", b"f 9999999999999999999999 1 a"],
)
def test_a_listing_with_a_time_that_is_none_is_refused(record: bytes) -> None:
    with pytest.raises(SyncError, match="cannot be"):
        remote.parse(record + b'\0{"now": 1}')


def test_what_devbox_itself_gets_wrong_goes_to_a_file(home: Path) -> None:
    try:
        raise KeyError("x\x1b[2J")
    except KeyError as error:
        told = net.explained(error)
    assert "\x1b" not in told.render()
    assert "Traceback" not in told.render()
    report = paths.home() / "last-error.txt"
    assert "KeyError" in report.read_text()
    assert str(report) in told.fix
    assert report.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("number", "said"),
    [(28, "disk is full"), (13, "may not do that"), (30, "may not do that"), (24, "run out")],
)
def test_the_systems_own_errors_are_told_as_what_they_are(number: int, said: str) -> None:
    told = net.explained(OSError(number, os.strerror(number), "/some/file"))
    assert said in told.what
    assert "/some/file" in told.what
    assert told.fix


def test_an_error_of_ours_stays_what_it_is() -> None:
    ours = DevboxError("x", fix="y")
    assert net.explained(ours) is ours


def test_rows_of_runs_that_are_damaged_are_unknown_and_hide_nothing(home: Path) -> None:
    from devbox.model import Run, RunState
    from devbox.state.store import Store

    store = Store.open()
    for name in ("a", "b"):
        store.runs.put(
            Run(id=name, box_id="x", box_name="n", job="j", state=RunState.SUCCEEDED, created=1.0)
        )
    with store.database.write() as connection:
        connection.execute(
            "UPDATE runs SET state = 'odd', request = ?, status = '[' WHERE id = 'a'", (DEEP,)
        )
    found = {run.id: run for run in store.runs.latest()}
    assert found["b"].state is RunState.SUCCEEDED
    assert (found["a"].state, found["a"].request) == (RunState.UNKNOWN, b"{}")
    assert status.of(msgspec.structs.replace(found["a"], status=b"[")) == JobStatus()
