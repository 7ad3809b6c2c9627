"""Names, paths and requests that a run in rounds refuses, and a very large one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.jobs.conftest import BoxHalf
from tests.jobs.rounds import Batch

HOSTILE = ["", ".", "..", "../a", "a/../../b", "/etc/passwd", "a\0b", "\ud800", "x/..", "//x"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_of_a_piece_is_refused_with_the_whole_request(
    one_box: BoxHalf, name: str
) -> None:
    batch = Batch(one_box, ["a"])
    batch.start()
    bad = {**batch.round(2, a="x"), "pieces": [name]}
    assert batch.refused(batch.round(1, a="x"), bad).error == "bad_request"
    assert batch.ask().waiting == () == batch.ask().finished


def test_what_cannot_be_is_refused(one_box: BoxHalf) -> None:
    batch = Batch(one_box, ["a"])
    assert batch.refused().error == "not_found"
    one = batch.round(1, a="x")
    for request, error in (
        ({"inputs": {"images": "/"}}, "bad_request"),
        ({"service": {}}, "bad_request"),
        ({"spread": {"input": "images", "names": "/nowhere"}}, "missing"),
    ):
        answer = one_box.start("other", **{**batch.request, **request})
        assert answer["error"] == error, answer
    batch.start()
    missing = {"number": 5, "input": "nowhere/images", "pieces": ["a"]}
    assert batch.refused(missing).message == (
        "the input of round 5 is not on the box: nowhere/images"
    )
    batch.ask(one)
    assert batch.refused({**one, "pieces": ["b"]}).message == "round 1 is another one already"
    assert batch.refused({**one, "number": -1}).error == "bad_request"
    two = batch.round(2, b="x")
    assert batch.refused(two, {**two, "pieces": []}).error == "conflict"
    batch.ask(close=True)
    assert batch.refused(batch.round(3, c="x")).message == "run r1 takes no further rounds"
    one_box.end()
    one_box.start("plain", command=["true"])
    process = one_box.popen("rounds", "plain")
    out, _ = process.communicate(b"{}", timeout=120)
    assert json.loads(out)["message"] == "run plain has no rounds"


def test_results_do_not_leave_their_round_through_a_name_or_a_link(one_box: BoxHalf) -> None:
    code = (
        "import os\n"
        "def run(job):\n"
        "    for name in job.items(job.named('images')):\n"
        "        with job.item(name):\n"
        "            os.symlink('/', job.out / 'door') if name == 'link' else None\n"
        "            job.write({'link': 'door/tmp/x', 'up': '../up'}.get(name, name), 'x')\n"
    )
    batch = Batch(one_box, ["link", "up", "fine"], module=one_box.module(code))
    batch.start()
    batch.ask(batch.round(1, link="x", up="x", fine="x"), close=True)
    one_box.end()
    (one,) = batch.ask().finished
    assert [each.item for each in one.failed] == ["link", "up"]
    assert not Path("/tmp/x").exists()
    assert not (one_box.root / "runs" / "r1" / "rounds" / "1" / "up").exists()


def test_a_hundred_thousand_pieces_in_one_round(one_box: BoxHalf) -> None:
    names = [f"folder/p{n}" for n in range(100_000)]
    code = "def run(job):\n    job.write('count', str(len(job.every(job.named('images')))))\n"
    batch = Batch(one_box, names, module=one_box.module(code))
    batch.start()
    batch.ask({**batch.round(1, x="x"), "pieces": names}, close=True)
    status = one_box.end()
    assert status["counts"] == {"total": 100_000, "done": 100_000, "failed": 0, "skipped": 0}
    assert batch.ask().finished[0].done == 100_000
    assert batch.out(1) == {"count": "100001"}
