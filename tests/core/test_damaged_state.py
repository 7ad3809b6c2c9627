"""A state file that is damaged, full or not ours: an error with its fix, and the fix works."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from devbox import paths, spec
from devbox.errors import DevboxError, StateDamaged
from devbox.model import Box, BoxState, Price
from devbox.state import salvage
from devbox.state.store import Store
from tests.boxes import close_interval, open_interval
from tests.core.test_state import a_box


def _filled(rows: int = 400) -> None:
    store = Store.open()
    for number in range(rows):
        box = a_box(f"b{number}", id=f"id{number}", state=BoxState.TERMINATED, message="m" * 200)
        store.boxes.insert(box, "running", {}, 1.0)
        open_interval(store.ledger, box, Price(1_000_000, "config"), 1.0)
        close_interval(store.ledger, box.id, 3601.0)
    store.database.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()


def _garbage(file: Path) -> None:
    file.write_bytes(os.urandom(8192))


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _table_missing(file: Path) -> None:
    raw = sqlite3.connect(file)
    raw.execute("DROP TABLE events")
    raw.close()


DAMAGE: list[Callable[[Path], None]] = [_garbage, _cut, _folder, _table_missing]


def devbox(*words: str, preexec: Callable[[], None] | None = None) -> tuple[int, str, str]:
    # Where nothing can be written, what `make coverage` measures cannot be either.
    unset = "COVERAGE_PROCESS_CONFIG" if preexec else ""
    env = {key: value for key, value in os.environ.items() if key != unset}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "devbox.cli.main", *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=preexec,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_an_error_with_its_fix_and_the_fix_works(
    home: Path, damage: Callable[[Path], None]
) -> None:
    _filled()
    damage(paths.state_db())
    for verb in (["events", "b1"], ["cost"], ["ls", "--all"]):
        code, _, err = devbox(*verb)
        if code:
            assert code == StateDamaged.exit_code, (verb, err)
            assert "devbox doctor --fix" in err
            assert "keep costing" in err
    code, out, _ = devbox("doctor")
    assert code == 1
    assert "devbox doctor --fix" in out
    assert "rsync" in out, "the other checks are shown as well"
    _, out, err = devbox("doctor", "--fix")
    assert "is kept as" in err
    assert list(paths.home().glob("state.db.damaged-*"))
    assert f"ok       state file {paths.state_db()}" in out
    assert devbox("events", "nothing")[0] == 4
    assert devbox("ls", "--all")[0] == 0


def test_what_can_be_read_of_a_cut_file_is_kept(home: Path) -> None:
    _filled()
    _cut(paths.state_db())
    with pytest.raises(StateDamaged):
        salvage.check(Store.open().database)
    aside = salvage.move_aside(paths.state_db(), 0.0)
    store = Store.open()
    assert salvage.copy(aside, store.database) > 100
    assert all(box.name.startswith("b") for box in store.boxes.all(over=True))
    assert aside.exists()


def _spoil(box_id: str, body: bytes) -> None:
    raw = sqlite3.connect(paths.state_db())
    raw.execute("UPDATE boxes SET body = ? WHERE id = ?", (body, box_id))
    raw.commit()
    raw.close()


def test_one_bad_row_is_shown_beside_the_good_ones(home: Path) -> None:
    store = Store.open()
    store.boxes.insert(a_box("good"), "running", {}, 1.0)
    store.boxes.insert(a_box("bad"), "running", {}, 1.0)
    _spoil("id-bad", b'{"state": "confused')
    assert [box.name for box in store.boxes.all()] == ["good"]
    assert [(row.name, row.state) for row in store.boxes.unreadable()] == [("bad", "running")]
    with pytest.raises(StateDamaged, match="box bad"):
        store.boxes.named("bad")
    code, out, err = devbox("ls")
    assert code == 0
    assert "good" in out
    assert "bad: its record cannot be read" in err
    assert "devbox doctor --fix" in err
    assert (
        '"unreadable":[{"id":"id-bad","name":"bad","state":"running"' in devbox("ls", "--json")[1]
    )


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[" * 100_000, b'{"id": 1}', b"\xff\xfe", b'{"id":"x","created":1e999}'],
)
def test_a_row_of_nonsense_hides_nothing_and_can_be_given_up(home: Path, body: bytes) -> None:
    store = Store.open()
    store.boxes.insert(a_box("bad"), "running", {}, 1.0)
    open_interval(store.ledger, a_box("bad"), Price(3_600_000, "config"), 1.0)
    _spoil("id-bad", body)
    _, out, err = devbox("doctor", "--fix")
    assert "bad: its record cannot be mended" in err
    assert "it is no longer tracked" in err
    assert f"ok       state file {paths.state_db()}" in out
    assert (paths.home() / "damaged-id-bad.json").exists() or list(
        paths.home().glob("damaged-*.json")
    )
    assert store.ledger.current("id-bad") is None, "nothing bills on for a row that is gone"


def test_a_row_with_one_bad_field_is_mended_from_the_rest(home: Path) -> None:
    store = Store.open()
    box = a_box("half", provider="local", handle="", spec=b'{"provider": 7}')
    store.boxes.insert(box, "running", {}, 1.0)
    body = msgspec.json.decode(msgspec.json.encode(box))
    body["price"] = "cheap"
    _spoil("id-half", msgspec.json.encode(body))
    row = store.boxes.raw("id-half")
    mended = salvage.mended(row)
    assert mended is not None
    assert (mended.id, mended.token, mended.price.micro_per_hour) == ("id-half", "half-1", None)


def test_a_spec_of_another_version_still_lets_a_box_be_ended() -> None:
    blob = spec.encode_box(spec.BoxSpec(provider="modal"))
    newer = blob[:-1] + b',"a_later_key":1,"idle":{"also_later":2,"after":60}}'
    found = spec.decode_box(newer)
    assert (found.provider, float(found.idle.after)) == ("modal", 60.0)


def _no_space() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@pytest.mark.parametrize("verb", [["init"], ["up"], ["ls"], ["doctor"], ["reconcile"]])
def test_a_full_disk_is_told_as_such(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: list[str]
) -> None:
    """RLIMIT_FSIZE 0: every write of a regular file is refused, as on a full disk."""
    Store.open().close()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "devbox.toml").write_text("[boxes.a]\n")
    code, _, err = devbox(*verb, preexec=_no_space)
    assert code != 70
    if code and verb != ["doctor"]:
        assert "fix:" in err
        assert "devbox itself failed" not in err


def test_a_state_file_that_may_not_be_written(home: Path) -> None:
    Store.open().close()
    with pytest.raises(DevboxError, match="cannot be opened") as caught:
        Store.open(home / "missing" / "state.db")
    assert "DEVBOX_HOME" in caught.value.fix


def test_handing_over_a_ledger_counts_no_second_twice(home: Path) -> None:
    store = Store.open()
    old, new = a_box("x", id="old"), a_box("y", id="new")
    open_interval(store.ledger, old, Price(3_600_000, "config"), 100.0)
    open_interval(store.ledger, new, Price(3_600_000, "config"), 50.0)
    store.ledger.hand_over("old", "new", 500.0)
    spans = [(i.start, i.end) for i in store.ledger.of_box("new")]
    assert spans == [(100.0, None)]
    assert store.ledger.of_box("old") == []


def test_boxes_survive_a_round_trip(home: Path) -> None:
    store = Store.open()
    store.boxes.insert(a_box("r"), "running", {}, 1.0)
    raw = store.boxes.raw("id-r")
    assert isinstance(raw["body"], bytes)
    assert msgspec.json.decode(raw["body"], type=Box).name == "r"


def test_one_damaged_text_hides_no_row_beside_it(home: Path) -> None:
    store = Store.open()
    for name in ("bad", "good"):
        store.boxes.insert(a_box(name), "running", {}, 1.0)
        open_interval(store.ledger, a_box(name), Price(3_600_000, "config"), 1.0)
    with store.database.write() as connection:
        connection.execute("UPDATE intervals SET hardware = CAST(x'ff' AS TEXT) WHERE box_id = ?",
                           ("id-bad",))  # fmt: skip
    for _ in range(2):
        assert set(store.ledger.all_current()) == {"id-bad", "id-good"}
        found = store.database.named("SELECT hardware FROM intervals WHERE box_id = :i", i="id-bad")
        assert [row[0] for row in found] == ["\ufffd"]
