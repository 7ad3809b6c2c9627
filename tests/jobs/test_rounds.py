"""A run that works in rounds: each piece is worked on once, whatever is withdrawn or cancelled."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from devbox.box import processes
from devbox.box.runs.folder import RunFolder
from devbox.box.runs.rounds import Rounds
from devbox.wire.jobs import JobStatus, Round, RoundDone, RoundsAsked
from tests.jobs.conftest import BoxHalf, until
from tests.jobs.rounds import Batch


def test_rounds_are_worked_on_in_order_by_one_process_and_end_when_closed(box: BoxHalf) -> None:
    batch = Batch(box, ["a", "b", "c", "d"])
    batch.start()
    answer = batch.ask(batch.round(1, a="one", b="bad"), batch.round(2, c="two"))
    assert answer.status.state == "running"
    assert not answer.closed
    answer = batch.finished(1, 2)
    one, two = answer.finished
    assert (one.done, one.skipped, two.done, two.failed) == (1, 0, 1, ())
    assert [tuple(each) for each in one.failed] == [("b", "ValueError: cannot read it")]
    batch.ask(batch.round(3, d="three"), close=True)
    status = box.end()
    assert (status["state"], status["reason"]) == ("failed", "items")
    assert status["message"] == "1 of 4 items failed"
    assert status["counts"] == {"total": 4, "done": 3, "failed": 1, "skipped": 0}
    texts = [*batch.out(1).values(), *batch.out(2).values(), *batch.out(3).values()]
    assert {text.split()[1] for text in texts} == {texts[0].split()[1]}, "loaded once"
    assert {text.split()[2] for text in texts} == {"4"}, "named over the whole batch"
    assert sorted(batch.out(1)) == ["a.out"]
    assert not list((box.root / "runs" / "r1" / "out").iterdir())
    assert not list((box.root / "runs" / "r1" / "rounds").glob("*/in")), "its inputs are gone"
    assert [each.number for each in batch.ask(seen=1).finished] == [2, 3]


def test_what_is_on_record_elsewhere_is_deleted_and_nothing_else_is(one_box: BoxHalf) -> None:
    batch = Batch(one_box, [*"abcd"])
    batch.start()
    batch.ask(batch.round(1, a="one"), batch.round(2, b="two"), batch.round(3, c="wait"))
    batch.finished(1, 2)
    conflict = {**batch.round(2, b="two"), "pieces": ["x"]}
    assert batch.refused(conflict, seen=2).error == "conflict"
    assert batch.out(1)
    batch.ask(batch.round(4, d="four"), seen=1)
    rounds = one_box.root / "runs" / "r1" / "rounds"
    assert {path.name for path in rounds.iterdir()} == {"2", "3", "4"}
    assert batch.out(2)
    batch.ask(seen=9)
    assert {path.name for path in rounds.iterdir()} == {"3", "4"}
    (one_box.workdir / "go").touch()
    batch.finished(1, 2, 3, 4)
    assert batch.ask(seen=2).finished == batch.ask().finished[2:]
    batch.ask(close=True, seen=4)
    assert one_box.end()["counts"] == {"total": 4, "done": 4, "failed": 0, "skipped": 0}
    assert not list(rounds.iterdir())


def test_a_reply_that_was_lost_is_asked_for_again_and_changes_nothing(one_box: BoxHalf) -> None:
    batch = Batch(one_box, ["a", "b"])
    batch.start()
    one, two = batch.round(1, a="one"), batch.round(2, b="two")
    lost = one_box.popen("rounds", "r1")
    lost.communicate(json.dumps({"v": 1, "add": [one, two]}).encode(), timeout=120)
    for _ in range(3):
        batch.ask(one, two)
    batch.finished(1, 2)
    batch.ask(one, two, close=True)
    batch.ask(one, two, close=True)
    assert one_box.end()["counts"] == {"total": 2, "done": 2, "failed": 0, "skipped": 0}
    assert batch.ask(one, close=True).closed
    records = (one_box.root / "runs" / "r1" / "rounds.jsonl").read_text().splitlines()
    assert [next(iter(json.loads(line))) for line in records].count("round") == 2
    assert len(records) == 7


def test_a_request_that_is_cut_off_in_the_middle_is_carried_out_the_next_time(
    one_box: BoxHalf,
) -> None:
    """The disk holds half a line of it."""
    batch = Batch(one_box, ["a"])
    batch.start()
    with (one_box.root / "runs" / "r1" / "rounds.jsonl").open("a") as stream:
        stream.write('{"v":1,"round":{"number":1,"inp')
    assert batch.ask().waiting == ()
    batch.ask(batch.round(1, a="one"), close=True)
    assert one_box.end()["state"] == "succeeded"
    assert list(batch.out(1)) == ["a.out"]


def test_a_withdrawn_round_is_not_worked_on_and_its_number_is_gone(one_box: BoxHalf) -> None:
    batch = Batch(one_box, ["a", "b", "c", "d"])
    batch.start()
    two = batch.round(2, b="two")
    batch.ask(batch.round(1, a="wait"), two, batch.round(3, c="three"))
    until(lambda: batch.ask().begun == (1,))
    answer = batch.ask(withdraw=[1, 2, 9])
    assert (answer.begun, answer.waiting, answer.withdrawn) == ((1,), (3,), (2, 9))
    # An addition that was on its way for long comes too late.
    answer = batch.ask(two, batch.round(9, d="late"))
    assert (answer.waiting, answer.withdrawn) == ((3,), (2, 9))
    (one_box.workdir / "go").touch()
    batch.ask(close=True)
    assert one_box.end()["counts"] == {"total": 2, "done": 2, "failed": 0, "skipped": 0}
    assert [each.number for each in batch.ask().finished] == [1, 3]


def test_a_round_is_worked_on_or_withdrawn_and_never_both(one_box: BoxHalf) -> None:
    """Withdrawals race with the worker, which finishes a round every few milliseconds."""
    many = 60
    batch = Batch(one_box, [f"p{n}" for n in range(many)])
    batch.start()
    batch.ask(*[batch.round(n, **{f"p{n}": "x"}) for n in range(many)])
    for number in range(many - 1, 0, -3):
        batch.ask(withdraw=[number, number - 2])
    answer = batch.ask(close=True)
    one_box.end()
    answer = batch.ask()
    done = {each.number for each in answer.finished}
    gone = set(answer.withdrawn)
    assert done | gone == set(range(many))
    assert not done & gone
    assert {n for n in range(many) if batch.out(n)} == done
    assert answer.status.counts.done == len(done)


def test_two_that_withdraw_and_one_that_begins_agree_on_each_of_a_thousand(home: Path) -> None:
    """Each with a view of its own of the file, as processes have."""
    folder = RunFolder("r1")
    folder.path.mkdir()
    me = processes.identity(os.getpid())
    folder.write_status(JobStatus(id="r1", state="running", supervisor=me))
    many = 1000
    given = tuple(Round(n, str(home), (f"p{n}",)) for n in range(many))
    Rounds(folder).ask(RoundsAsked(add=given, close=True))

    def work() -> list[int]:
        rounds, done = Rounds(folder), []
        while found := rounds.begin():
            rounds.finish(RoundDone(found.number, 0.0, 1))
            done.append(found.number)
        return done

    def withdraw(numbers: range) -> list[int]:
        rounds = Rounds(folder)
        for number in numbers:
            rounds.ask(RoundsAsked(withdraw=(number,)))
        return [number for number in numbers if number in rounds.withdrawn]

    with ThreadPoolExecutor(3) as threads:
        at_work = threads.submit(work)
        back = [threads.submit(withdraw, range(many - 1 - n, 0, -3)) for n in range(2)]
        gone = [number for each in back for number in each.result()]
        done = at_work.result()
    assert sorted(done + gone) == list(range(many))
    known = Rounds(folder).read()
    assert [each.number for each in known.finished] == done == sorted(done)
    assert not known.waiting
    assert not known.begun


def test_a_cancel_while_it_waits_ends_it_at_once(box: BoxHalf) -> None:
    batch = Batch(box, ["a"])
    batch.start()
    until(batch.waits)
    assert until(lambda: box.status()["stage"]) == "waiting for a round"
    status = box.job("cancel", "r1")
    assert (status["state"], status["reason"]) == ("cancelled", "cancelled")
    assert not batch.waits()
    assert not box.processes("r1")


def test_a_cancel_in_the_middle_of_a_round_keeps_what_is_done_for_a_retry(one_box: BoxHalf) -> None:
    batch = Batch(one_box, ["a", "b"])
    batch.start()
    batch.ask(batch.round(1, a="one", b="wait"), close=True)
    until(lambda: "a.out" in batch.out(1))
    assert one_box.job("cancel", "r1")["state"] == "cancelled"
    assert batch.ask().begun == (1,)
    (one_box.workdir / "go").touch()
    batch.start(attempt=2)
    assert one_box.end()["state"] == "succeeded"
    assert batch.ask().finished[0].done == 2


def test_a_round_that_is_empty_is_finished_and_an_exception_fails_its_pieces(
    one_box: BoxHalf,
) -> None:
    code = "def run(job):\n    job.write('x', 'x')\n    raise RuntimeError('no \\0 weights')\n"
    batch = Batch(one_box, ["a", "b"], module=one_box.module(code))
    batch.start()
    batch.ask(batch.round(1), batch.round(2, a="x", b="y"), batch.round(3), close=True)
    assert one_box.end()["message"] == "2 of 2 items failed"
    one, two, three = batch.ask().finished
    assert (one.done, one.failed, three.failed) == (0, (), ())
    assert [each.item for each in two.failed] == ["a", "b"]
    assert {each.error for each in two.failed} == {"RuntimeError: no  weights"}


def test_a_job_that_ends_its_process_ends_only_its_round(one_box: BoxHalf) -> None:
    code = (
        "import sys\n"
        "def run(job):\n"
        "    sys.exit('no GPU' if job.files('images')[0].name == 'a' else 0)\n"
    )
    batch = Batch(one_box, ["a", "b"], module=one_box.module(code))
    batch.start()
    batch.ask(batch.round(1, a="x"), batch.round(2, b="y"), close=True)
    one_box.end()
    one, two = batch.ask().finished
    assert [tuple(each) for each in one.failed] == [("a", "ended with exit code no GPU")]
    assert two.done == 1


def test_a_piece_that_comes_again_in_a_later_round_is_worked_on_again(one_box: BoxHalf) -> None:
    batch = Batch(one_box, ["a", "b"])
    batch.start()
    batch.ask(batch.round(1, a="bad", b="one"), batch.round(2, a="well", b="two"), close=True)
    status = one_box.end()
    assert (status["state"], status["counts"]["done"], status["counts"]["failed"]) == (
        "succeeded",
        2,
        0,
    )
    assert sorted(batch.out(2)) == ["a.out", "b.out"]


def test_an_input_that_is_gone_fails_its_round(one_box: BoxHalf) -> None:
    batch = Batch(one_box, ["a", "b", "c"])
    batch.start()
    batch.ask(batch.round(1, a="wait"), batch.round(2, b="two"), batch.round(3, c="three"))
    where = one_box.root / "runs" / "r1" / "rounds" / "2" / "in" / "images"
    (where / "b").unlink()
    where.rmdir()
    (one_box.workdir / "go").touch()
    batch.ask(close=True)
    one_box.end()
    two = batch.ask().finished[1]
    assert [each.error for each in two.failed] == [f"its input is not on the box any more: {where}"]


def test_the_traffic_of_who_gives_out_rounds_is_no_use(one_box: BoxHalf) -> None:
    """For some minutes after each question, and for longer while it fetches what is finished."""
    batch = Batch(one_box, ["a"])
    batch.start()
    batch.ask()
    assert 200 < own_for(one_box) <= 300
    batch.ask(batch.round(1, a="one"), close=True)
    batch.finished(1)
    assert 800 < own_for(one_box) <= 900
    batch.ask(seen=1)
    assert 200 < own_for(one_box) <= 300


def own_for(box: BoxHalf) -> float:
    """Seconds."""
    until = json.loads((box.root / "syncing.json").read_text())["until"]
    assert isinstance(until, float)
    return until - time.time()
