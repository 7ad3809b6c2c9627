"""What a piece weighs: its own seconds from an earlier run where it is the same piece, else its
bytes, in the same unit."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devbox.errors import UsageError
from devbox.model import Batch, Piece, PieceState, RunState
from devbox.money.past_runs import PastRun
from devbox.scale import recorded, weights
from devbox.scale.weights import Size, weigh
from devbox.state.store import Store
from tests.scale.conftest import Shop

NAMES = st.sampled_from("abcdefgh")
LONG_AGO = 1000.0


@given(
    st.dictionaries(NAMES, st.integers(0, 10**12), min_size=1),
    st.dictionaries(NAMES, st.floats(0, 1e6)),
)
def test_all_weights_have_one_unit(sizes: dict[str, int], took: dict[str, float]) -> None:
    weighed = weigh(sizes, took)
    assert weighed.keys() == sizes.keys()
    assert all(weight > 0 for weight in weighed.values())
    known = [name for name in sizes if took.get(name)]
    each = 1.0
    if known:
        seconds = math.fsum(took[name] for name in known)
        each = seconds / sum(max(1, sizes[name]) for name in known)
    for name, weight in weighed.items():
        if name in known:
            assert weight == took[name]
        else:
            assert weight == pytest.approx(max(1, sizes[name]) * each)


def test_a_batch_without_a_record_weighs_its_bytes() -> None:
    assert weigh({"a": 5, "b": 0}, {"c": 3.0}) == {"a": 5.0, "b": 1.0}


def past(id_: str, *, batch: str = "", on: str = "l4", created: float = 2000.0) -> PastRun:
    sources = {} if batch else {"texts": "/in"}
    return PastRun(id_, batch, "succeeded", b"", 1000.0, 2, "local", on, created, sources)


def journal(results: Path, run: str, **took: float) -> None:
    file = results / run / recorded.JOURNAL
    file.parent.mkdir(parents=True)
    at, lines = 0.0, []
    for name, seconds in took.items():
        lines.append({"t": at, "item": name, "state": "started", "attempt": 1})
        at += seconds
        done = {"t": at, "item": name, "state": "done", "attempt": 1, "seconds": seconds}
        lines.append(done)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def worked(store: Store, batch: str, *pieces: Piece) -> None:
    row = Batch(batch, "copy", "w", "/p", RunState.SUCCEEDED, 10.0)
    store.batches.insert(row, [Piece(each.name, each.weight, bytes=each.bytes) for each in pieces])
    store.batches.record(batch, pieces)


def took(store: Store, runs: list[PastRun], results: Path, **found: Any) -> dict[str, float]:
    sizes = {name: each if isinstance(each, Size) else Size(each, LONG_AGO)
             for name, each in found.items()}  # fmt: skip
    return weights.seconds(store, runs, results, sizes, which="texts", source=Path("/in"))


@pytest.fixture
def store(home: Path) -> Store:
    return Store.open()


def test_a_piece_of_an_earlier_batch_is_known_by_name_and_bytes(
    store: Store, tmp_path: Path
) -> None:
    done = PieceState.DONE
    worked(
        store,
        "b1",
        Piece("a", 7.0, done, 1, 1, seconds=3.0, bytes=10),
        Piece("b", 7.0, done, 1, 1, seconds=4.0, bytes=10),
        Piece("c", 7.0, PieceState.FAILED, 1, 1, seconds=4.0, bytes=10),
        Piece("d", 7.0, done, 9, 1, seconds=5.0, bytes=10),
    )
    runs = [past("b1-w1", batch="b1"), past("b1-w2", batch="b1")]
    assert took(store, runs, tmp_path, a=10, b=11, c=10, d=10, e=10) == {"a": 3.0}


def test_a_piece_of_an_earlier_run_is_known_by_its_files_not_having_changed(
    store: Store, tmp_path: Path
) -> None:
    journal(tmp_path, "r1", a=3.0, b=4.0)
    found = {"a": Size(1, LONG_AGO), "b": Size(1, 2000.5)}
    assert took(store, [past("r1")], tmp_path, **found) == {"a": 3.0}
    sizes = {"a": Size(1, LONG_AGO)}
    elsewhere = weights.seconds(
        store, [past("r1")], tmp_path, sizes, which="texts", source=Path("/other")
    )
    assert elsewhere == {}


def test_the_newest_record_counts_and_only_one_hardware(store: Store, tmp_path: Path) -> None:
    journal(tmp_path, "r1", a=3.0, b=4.0)
    journal(tmp_path, "r2", a=30.0, b=40.0, c=50.0)
    journal(tmp_path, "r3", a=5.0, b=6.0, c=7.0)
    runs = [past("r0"), past("r1"), past("r2", on="h200"), past("r3")]
    assert took(store, runs, tmp_path, a=1, b=1, c=1, d=1) == {"a": 3.0, "b": 4.0, "c": 7.0}


def test_the_size_of_a_piece_is_that_of_its_files(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"xyz")
        os.utime(tmp_path / name, (5.0, 5.0))
    began = (tmp_path / "a").stat().st_ctime
    (tmp_path / "empty").touch()
    found = weights.sizes({"p": [tmp_path / "a", tmp_path / "b"], "e": [tmp_path / "empty"]})
    assert (found["p"].bytes, found["e"].bytes) == (6, 1)
    assert found["p"].changed >= began, "an old time of a file does not hide that it is new"
    with pytest.raises(UsageError, match="cannot be read"):
        weights.sizes({"p": [tmp_path / "none"]})


def test_a_second_batch_is_weighed_by_the_first(workshop: Shop) -> None:
    workshop.texts(6)
    words = ("run", "copy", "--workers", "1", "--", "--texts", "texts")
    first = workshop.devbox(*words)
    assert first.returncode == 0, first.stderr
    assert "weighed" not in first.stderr
    (workshop.root / "texts/t0003.txt").write_text("text 3, and more\n")
    second = workshop.devbox(*words)
    assert "5 of 6 pieces: weighed by what each took before" in second.stderr
    store = Store.open()
    newest, oldest = (store.batches.pieces(batch.id) for batch in store.batches.latest())
    store.close()
    before = {piece.name: piece.seconds for piece in oldest}
    for piece in newest:
        assert (piece.weight == before[piece.name]) == (piece.name != "t0003.txt")
