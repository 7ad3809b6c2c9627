"""`job follow`: everything once and in order, also when the reader is cut."""

from __future__ import annotations

import json
import random
import signal
from typing import Any

from tests.jobs.conftest import BoxHalf, until


def text(messages: list[dict[str, Any]]) -> str:
    return "".join(m["text"] + m["end"] for m in messages if "text" in m)


def is_end(message: dict[str, Any]) -> bool:
    return "status" in message and message["status"]["state"] != "running"


def test_log_events_and_the_end_come_in_order(box: BoxHalf) -> None:
    module = box.module(
        "def run(job):\n"
        "    for name in job.items(['a', 'b']):\n"
        "        with job.item(name):\n"
        "            job.log('at ' + name); job.log('\\u2603' * 3)\n"
        "            if name == 'b': raise OSError('no b')\n"
        "    print('unfinished', end='')\n"
    )
    box.start(module=module)
    messages = box.follow()
    assert text(messages).startswith("at a\n☃☃☃\nat b\n☃☃☃\nTraceback")
    assert text(messages).endswith("OSError: no b\nunfinished")
    events = [
        (m["event"]["seq"], m["event"]["kind"], m["event"]["message"])
        for m in messages
        if "event" in m
    ]
    assert events == [
        (1, "started", "attempt 1"),
        (2, "item", "failed: b: OSError: no b"),
        (3, "ended", "1 of 2 items failed"),
    ]
    assert messages[-1]["status"]["state"] == "failed"
    assert abs(messages[-1]["now"] - messages[-1]["status"]["ended"]) < 30


def test_a_long_log_comes_in_few_messages(box: BoxHalf) -> None:
    """One message a line made reading a log of 51 MB take 20 s."""
    code = "for n in range(60000): print('step %d loss 0.123' % n, end='\\r' if n == 9 else '\\n')"
    box.start(command=[box.python, "-c", code])
    logs = [m for m in box.follow() if "text" in m]
    assert text(logs).splitlines() == [f"step {n} loss 0.123" for n in range(60000)]
    assert max(len(m["text"]) for m in logs) <= 1 << 15
    late = logs[len(logs) // 2 :]
    assert sum(len(m["text"]) for m in late) / len(late) > 200


def test_a_reader_that_is_killed_again_and_again_loses_and_doubles_nothing(box: BoxHalf) -> None:
    code = (
        "import sys,time\n"
        "for n in range(3000):\n"
        "    print('line %d é' % n)\n"
        "    if n % 100 == 0: time.sleep(0.02)\n"
    )
    box.start(command=[box.python, "-c", code])
    found: list[dict[str, Any]] = []
    at, chance = "0.0", random.Random(7)
    while not found or not is_end(found[-1]):
        process = box.popen("follow", "r1", "--after", at)
        assert process.stdout
        assert process.stdin
        for _ in range(chance.randint(1, 900)):
            line = process.stdout.readline()
            if not line:
                break
            found.append(json.loads(line))
            at = found[-1]["at"]
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        process.stdin.close()
        process.stdout.close()
    assert text(found) == "".join(f"line {n} é\n" for n in range(3000))
    seqs = [m["event"]["seq"] for m in found if "event" in m]
    assert seqs == sorted(set(seqs))


def test_following_ends_when_its_reader_is_gone(box: BoxHalf) -> None:
    box.start(command=["sleep", "300"])
    process = box.popen("follow", "r1")
    assert process.stdin
    assert process.stdout
    assert process.stdout.readline()
    process.stdin.close()
    assert process.wait(60) == 0
    process.stdout.close()
    assert box.status()["state"] == "running"


def test_following_notices_that_the_supervisor_was_killed(one_box: BoxHalf) -> None:
    one_box.start(command=["sleep", "300"])
    process = one_box.popen("follow", "r1")
    assert process.stdout
    assert process.stdin
    assert process.stdout.readline()
    supervisor = one_box.file()["supervisor"]["pid"]
    next(p for p in one_box.processes() if p.pid == supervisor).kill()
    *_, last = [json.loads(line) for line in process.stdout]
    process.stdin.close()
    process.wait(60)
    assert is_end(last)
    assert last["status"]["reason"] == "interrupted"


def test_a_flood_is_bounded_on_disk_and_still_followed(one_box: BoxHalf) -> None:
    """80 MB of log, in lines of every length up to one of a megabyte."""
    code = (
        "import os\n"
        "os.write(1, b'x' * (1 << 20) + b'\\n')\n"
        "block = b''.join(b'%0200d\\n' % n for n in range(5000))\n"
        "for _ in range(84): os.write(1, block)\n"
        "os.write(1, b'the end\\n')\n"
    )
    one_box.start(command=[one_box.python, "-c", code])
    status = one_box.end(seconds=60)
    assert status["state"] == "succeeded"
    folder = one_box.root / "runs" / "r1"
    kept = sum(path.stat().st_size for path in folder.glob("log*.txt"))
    assert kept <= 64 << 20
    assert status["log_bytes"] - status["log_dropped"] == kept
    messages = one_box.follow("r1", "--once")
    logs = [m for m in messages if "text" in m]
    assert len(logs[0]["text"]) <= 1 << 15
    assert sum(m["dropped"] for m in logs) == status["log_dropped"] > 0
    assert logs[-1]["text"].endswith("\nthe end")
    assert len(text(messages)) == kept


def test_the_tail_begins_at_a_line_near_the_end(one_box: BoxHalf) -> None:
    code = "for n in range(10000): print('line', n)"
    one_box.start(command=[one_box.python, "-c", code])
    one_box.end()
    lines = text(one_box.follow("r1", "--after", "tail")).splitlines()
    assert 500 < len(lines) < 5000
    assert lines == [f"line {n}" for n in range(10000 - len(lines), 10000)]


def test_a_cursor_that_is_none_is_refused(one_box: BoxHalf) -> None:
    one_box.start(command=["true"])
    one_box.end()
    for cursor in ("x", "1", "-1.0", "1.2.3", "9" * 40 + ".0"):
        assert one_box.job("follow", "r1", "--after", cursor)["error"] == "bad_request"


def test_reports_in_a_flood_are_counted_to_the_last(one_box: BoxHalf) -> None:
    code = (
        "import json,os\n"
        "with open(os.environ['DEVBOX_EVENTS'], 'a') as f:\n"
        "    for n in range(1, 200001): f.write(json.dumps({'progress': [n, 200000]}) + '\\n')\n"
    )
    one_box.start(command=[one_box.python, "-c", code])
    assert one_box.end()["progress"] == [200000, 200000]
    until(lambda: not one_box.processes())
