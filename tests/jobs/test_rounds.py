"""A run that works in rounds, driven through `devbox-box job rounds`: each piece is worked on once,
whatever is lost or killed meanwhile."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from devbox.box import processes
from devbox.box.runs.folder import RunFolder
from devbox.box.runs.rounds import Rounds
from devbox.wire.codec import decode
from devbox.wire.jobs import JobStatus, Refusal, Round, RoundDone, RoundsAnswer, RoundsAsked
from tests.jobs.conftest import BoxHalf, until

#: each piece is a file; its text says what becomes of it
JOB = """
import os, time

def run(job):
    made = job.resident("model", os.getpid)
    paths = job.named("images")
    for name in job.items(paths):
        with job.item(name):
            text = paths[name].read_text()
            if text == "bad":
                raise ValueError("cannot read it")
            if text == "poison":
                os.kill(os.getpid(), 11)
            while text == "wait" and not os.path.exists("go"):
                time.sleep(0.02)
            job.write(f"{name}.out", f"{text} {made} {len(job.every(paths))}")
"""


class Batch:
    """One part of a batch on one box: rounds of files whose text says what becomes of them."""

    def __init__(self, box: BoxHalf, names: list[str], **request: Any) -> None:
        self.box = box
        self.names = box.home / "names.jsonl"
        self.names.write_text("".join(json.dumps(name) + "\n" for name in names))
        self.request = {
            "module": box.module(JOB) if "module" not in request else "",
            "patterns": {"images": ["*"]},
            "spread": {"input": "images", "names": str(self.names)},
            "grace": 1.0,
            **request,
        }

    def start(self, attempt: int = 1) -> dict[str, Any]:
        return self.box.start(attempt=attempt, **self.request)

    def round(self, number: int, **files: str) -> dict[str, Any]:
        """A round of files: name → text. "__" in a name is a dot."""
        folder = self.box.root / "runs" / "r1" / "rounds" / str(number) / "in" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        named = {name.replace("__", "."): text for name, text in files.items()}
        for name, text in named.items():
            (folder / name).write_text(text)
        return {"number": number, "input": str(folder), "pieces": sorted(named)}

    def ask(self, *add: dict[str, Any], **more: Any) -> RoundsAnswer:
        found = self.told({"v": 1, "add": list(add), **more})
        assert isinstance(found, RoundsAnswer), found
        return found

    def told(self, asked: dict[str, Any]) -> RoundsAnswer | Refusal:
        process = self.box.popen("rounds", "r1")
        out, _ = process.communicate(json.dumps(asked).encode(), timeout=120)
        found: RoundsAnswer | Refusal = decode(out, Refusal, RoundsAnswer)
        return found

    def refused(self, *add: dict[str, Any], **more: Any) -> Refusal:
        found = self.told({"v": 1, "add": list(add), **more})
        assert isinstance(found, Refusal), found
        return found

    def out(self, number: int) -> dict[str, str]:
        folder = self.box.root / "runs" / "r1" / "rounds" / str(number) / "out"
        return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}

    def finished(self, *numbers: int) -> RoundsAnswer:
        """Wait until just these are, in this order."""

        def look() -> RoundsAnswer | None:
            found = self.ask()
            assert not found.status.is_over or found.status.state == "succeeded", found.status
            return found if tuple(each.number for each in found.finished) == numbers else None

        found = until(look)
        assert isinstance(found, RoundsAnswer)
        return found

    def worker(self) -> psutil.Process:
        """The process that works, without its supervisor."""
        supervisor = psutil.Process(self.box.file()["supervisor"]["pid"])
        (found,) = until(
            lambda: [p for p in supervisor.children() if "runs.worker" in str(p.cmdline())]
        )
        assert isinstance(found, psutil.Process)
        return found

    def waits(self) -> bool:
        return (self.box.root / "waiting" / "r1").exists()


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
    assert [each.number for each in batch.ask(seen=1).finished] == [2, 3]
    texts = [*batch.out(1).values(), *batch.out(2).values(), *batch.out(3).values()]
    assert {text.split()[1] for text in texts} == {texts[0].split()[1]}, "loaded once"
    assert {text.split()[2] for text in texts} == {"4"}, "named over the whole batch"
    assert sorted(batch.out(1)) == ["a.out"]
    assert not list((box.root / "runs" / "r1" / "out").iterdir())
    assert not list((box.root / "runs" / "r1" / "rounds").glob("*/in")), "its inputs are gone"


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


def test_a_worker_that_is_killed_in_the_middle_of_a_round_continues_with_it(box: BoxHalf) -> None:
    batch = Batch(box, ["a", "b", "c"])
    batch.start()
    batch.ask(batch.round(1, a="one", b="wait", c="three"), close=True)
    until(lambda: "a.out" in batch.out(1))
    until(lambda: '"b","state":"started"' in (box.root / "runs/r1/items.jsonl").read_text())
    first = batch.worker()
    first.kill()
    status = box.end()
    assert status["failures"] == [{"item": "b", "error": "crashed the worker (SIGKILL)"}]
    assert status["counts"] == {"total": 3, "done": 2, "failed": 1, "skipped": 0}
    made = {name: text.split() for name, text in batch.out(1).items()}
    assert made["a.out"][1] == str(first.pid) != made["c.out"][1]


def test_a_worker_that_is_killed_between_a_rounds_end_and_its_record_does_nothing_twice(
    one_box: BoxHalf,
) -> None:
    """It is held while it waits for the lock that its record needs."""
    batch = Batch(one_box, ["a", "b"])
    batch.start()
    batch.ask(batch.round(1, a="one", b="wait"))
    until(lambda: "a.out" in batch.out(1))
    with (one_box.root / "runs" / "r1" / "rounds.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (one_box.workdir / "go").touch()
        until(lambda: "b.out" in batch.out(1))
        worker = batch.worker()
        until(lambda: _is_blocked(worker))
        worker.kill()
        worker.wait(60)
        fcntl.flock(lock, fcntl.LOCK_UN)
    answer = batch.finished(1)
    assert answer.finished[0].done == 2
    assert {text.split()[1] for text in batch.out(1).values()} == {str(worker.pid)}
    batch.ask(close=True)
    assert one_box.end()["state"] == "succeeded"


def _is_blocked(process: psutil.Process) -> bool:
    """It sleeps in a system call of file locks (flock is 73 on x86-64, 32 on arm64)."""
    try:
        number = Path(f"/proc/{process.pid}/syscall").read_text().split()[0]
    except OSError:
        return False
    return number in ("73", "32")


def test_an_item_that_kills_its_worker_costs_only_itself(one_box: BoxHalf) -> None:
    batch = Batch(one_box, ["a", "b", "c", "d"])
    batch.start()
    batch.ask(batch.round(1, a="one", b="poison", c="three"), batch.round(2, d="four"), close=True)
    status = one_box.end()
    assert status["counts"] == {"total": 4, "done": 3, "failed": 1, "skipped": 0}
    (one, two) = batch.ask().finished
    assert [tuple(each) for each in one.failed] == [("b", "crashed the worker (SIGSEGV)")]
    assert (one.done, two.done) == (2, 1)
    assert (sorted(batch.out(1)), sorted(batch.out(2))) == (["a.out", "c.out"], ["d.out"])


def test_work_without_items_that_kills_its_worker_twice_fails_its_round(one_box: BoxHalf) -> None:
    code = (
        "import os\n"
        "def run(job):\n"
        "    for path in job.files('images'):\n"
        "        if path.read_text() == 'poison': os.kill(os.getpid(), 11)\n"
        "        job.write(path.name, 'made')\n"
    )
    batch = Batch(one_box, ["a", "b"], module=one_box.module(code))
    batch.start()
    batch.ask(batch.round(1, a="poison"), batch.round(2, b="two"), close=True)
    assert one_box.end()["counts"] == {"total": 2, "done": 1, "failed": 1, "skipped": 0}
    one, two = batch.ask().finished
    assert [tuple(each) for each in one.failed] == [("a", "crashed the worker (SIGSEGV) twice")]
    assert (two.done, two.failed) == (1, ())


def test_a_worker_that_is_killed_while_it_waits_is_replaced(one_box: BoxHalf) -> None:
    batch = Batch(one_box, ["a"])
    batch.start()
    until(batch.waits)
    first = batch.worker()
    first.kill()
    first.wait(60)
    batch.ask(batch.round(1, a="one"), close=True)
    assert one_box.end()["state"] == "succeeded"
    assert batch.out(1)["a.out"].split()[1] != str(first.pid)
    assert not batch.waits()


def test_after_a_killed_supervisor_a_retry_continues_with_the_round(box: BoxHalf) -> None:
    batch = Batch(box, ["a", "b", "c", "d"])
    batch.start()
    batch.ask(batch.round(1, d="bad"), batch.round(2, a="one", b="wait"), batch.round(3, c="three"))
    until(lambda: "a.out" in batch.out(2))
    os.kill(box.file()["supervisor"]["pid"], signal.SIGKILL)
    answer = until(lambda: (found := batch.ask()).status.is_over and found)
    assert (answer.begun, answer.waiting) == ((2,), (3,))
    (box.workdir / "go").touch()
    batch.start(attempt=2)
    batch.ask(close=True)
    status = box.end()
    assert status["counts"] == {"total": 4, "done": 3, "failed": 1, "skipped": 0}
    assert [each.number for each in batch.ask().finished] == [1, 2, 3]
    first, second = (batch.out(2)[name].split()[1] for name in ("a.out", "b.out"))
    assert first != second == batch.out(3)["c.out"].split()[1]


def test_what_an_over_run_had_begun_may_be_withdrawn_and_is_not_worked_on(one_box: BoxHalf) -> None:
    """Its pieces were given to another box meanwhile."""
    batch = Batch(one_box, ["a", "b"])
    batch.start()
    batch.ask(batch.round(1, a="wait"))
    until(lambda: batch.ask().begun == (1,))
    assert batch.ask(withdraw=[1]).begun == (1,), "it is being worked on"
    os.kill(one_box.file()["supervisor"]["pid"], signal.SIGKILL)
    until(lambda: batch.ask().status.is_over)
    assert batch.ask(withdraw=[1]).withdrawn == (1,)
    batch.start(attempt=2)
    batch.ask(batch.round(2, b="two"), close=True)
    assert one_box.end()["counts"] == {"total": 1, "done": 1, "failed": 0, "skipped": 0}
    assert [each.number for each in batch.ask().finished] == [2]


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


COMMAND = """
import json, os, sys, time
told = open(os.environ["DEVBOX_EVENTS"], "a")
assert os.environ["DEVBOX_INPUT_IMAGES"] == sys.argv[1] and os.environ["DEVBOX_OUT"] == sys.argv[2]
names = sorted(os.listdir(sys.argv[1]))
for name in names:
    text = open(os.path.join(sys.argv[1], name)).read()
    while text == "wait" and not os.path.exists("go"): time.sleep(0.02)
    if text == "segv": os.kill(os.getpid(), 11)
    if text == "exit": sys.exit(7)
    open(os.path.join(sys.argv[2], name), "w").write(text + " " + str(os.getpid()))
    if text == "told":
        told.write(json.dumps({"item": name, "state": "done"}) + "\\n"); told.flush()
    if text == "bad":
        told.write(json.dumps({"item": name, "state": "failed", "error": "blurred"}) + "\\n")
print("worked on", *names)
"""


def commanded(box: BoxHalf, *names: str) -> Batch:
    (box.workdir / "work.py").write_text(COMMAND)
    command = [sys.executable, "work.py", "{images}", "{out}"]
    return Batch(box, [*names], module="", command=command, template=True)


def test_a_command_runs_once_a_round(one_box: BoxHalf) -> None:
    batch = commanded(one_box, *"abcdefg")
    batch.start()
    batch.ask(
        batch.round(1, a="x", b="x"),
        batch.round(2, c="told", d="exit"),
        batch.round(3, e="bad", f="told"),
        batch.round(4, g="segv"),
        close=True,
    )
    status = one_box.end()
    one, two, three, four = batch.ask().finished
    assert (one.done, one.failed) == (2, ())
    assert two.done == 1
    assert [tuple(each) for each in two.failed] == [("d", "ended with exit code 7")]
    assert [tuple(each) for each in three.failed] == [("e", "blurred")]
    assert [tuple(each) for each in four.failed] == [("g", "killed by SIGSEGV")]
    assert status["counts"] == {"total": 7, "done": 4, "failed": 3, "skipped": 0}
    assert (status["state"], status["reason"]) == ("failed", "items")
    assert sorted(batch.out(1)) == ["a", "b"]
    assert len({text.split()[1] for text in batch.out(1).values()}) == 1
    assert one_box.log().splitlines()[0] == "worked on a b"


def test_a_command_that_is_not_there_fails_each_round(one_box: BoxHalf) -> None:
    batch = Batch(one_box, ["a"], module="", command=["no-such-program"])
    batch.start()
    batch.ask(batch.round(1, a="x"), close=True)
    one_box.end()
    (one,) = batch.ask().finished
    assert one.failed[0].error == "no-such-program: command not found on the box"


def test_a_command_whose_worker_is_killed_runs_again_and_alone(one_box: BoxHalf) -> None:
    batch = commanded(one_box, "a", "b")
    batch.start()
    batch.ask(batch.round(1, a="told", b="wait"), close=True)
    until(lambda: "a" in batch.out(1))
    worker = batch.worker()
    (child,) = worker.children()
    worker.kill()
    psutil.wait_procs([worker, child], timeout=60)
    (one_box.workdir / "go").touch()
    assert one_box.end()["state"] == "succeeded"
    assert {text.split()[1] for text in batch.out(1).values()} & {str(child.pid)} == set()


def test_a_cancel_ends_the_command_of_a_round(one_box: BoxHalf) -> None:
    batch = commanded(one_box, "a")
    batch.start()
    batch.ask(batch.round(1, a="wait"), close=True)
    child = until(lambda: batch.worker().children())[0]
    assert one_box.job("cancel", "r1")["state"] == "cancelled"
    assert not child.is_running()
    assert batch.ask().begun == (1,)
