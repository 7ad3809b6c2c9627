"""`devbox run --workers` over local boxes, as a user types it."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from pathlib import Path

from devbox import paths
from devbox.box.watchdog import then
from devbox.model import BoxState
from devbox.providers.local.box_dir import BoxDir
from devbox.workspace import Workspace
from tests.jobs.conftest import until
from tests.scale.conftest import Shop, opened

RUN = ("run", "copy", "--workers", "2")


def states(workshop: Shop) -> dict[str, str]:
    """Box → state, of those that are not over."""
    ws = Workspace.open(workshop.root)
    found = {box.name: str(box.state) for box in ws.store.boxes.all()}
    ws.store.close()
    return found


def test_a_job_is_divided_between_boxes_and_its_results_are_one(workshop: Shop) -> None:
    workshop.texts(20)
    done = workshop.devbox(*RUN, "--then", "down", "--", "--texts", "texts")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"results/{workshop.results.name}"
    workshop.require_all(20)
    assert Counter(workshop.trace.read_text().split()) == {f"t{n:04}.txt": 1 for n in range(20)}
    assert (
        done.stderr.count("summary.json: rounds wrote it differently; kept beside: summary.w") == 1
    )
    batch = workshop.batch()
    assert (batch["state"], batch["counts"]["done"]) == ("succeeded", 20)
    parts = batch["parts"]
    assert [part["box"] for part in parts] == ["w-1", "w-2"]
    assert batch["cost_micro_dollars"] > sum(part["cost_micro_dollars"] for part in parts)
    assert states(workshop) == {}  # --then down
    log = workshop.devbox("logs", batch["id"]).stdout.splitlines()
    worked = [line.partition(" | worked on ") for line in log if "worked on" in line]
    assert sorted(name for _, _, name in worked) == [f"t{n:04}.txt" for n in range(20)]
    assert {mark for mark, _, _ in worked} == {"w1", "w2"}
    (listed,) = workshop.devbox("runs").stdout.splitlines()[1:]
    assert listed.split()[:4] == [batch["id"], "succeeded", "20", "of"]
    note = json.loads((workshop.results / ".devbox/status.json").read_text())
    assert note["cost_micro_dollars"] == batch["cost_micro_dollars"]


def test_a_bad_piece_fails_on_two_workers_and_a_retry_does_only_that(workshop: Shop) -> None:
    workshop.texts(8, 3)
    done = workshop.devbox(*RUN, "--", "--texts", "texts")
    assert done.returncode == 11
    assert "1 of 8 pieces failed" in done.stderr
    assert workshop.trace.read_text().split().count("t0003.txt") == 0
    batch = workshop.batch()
    assert batch["failures"] == [{"item": "t0003.txt", "error": "ValueError: this one is bad"}]
    before = len(workshop.trace.read_text().split())
    assert before == 7
    (workshop.root / "texts/t0003.txt").write_text("text 3\n")
    again = workshop.devbox("retry", batch["id"])
    assert again.returncode == 0, again.stderr
    workshop.require_all(8)
    assert workshop.trace.read_text().split()[before:] == ["t0003.txt"]


def test_a_coordinator_that_is_killed_is_continued_by_attach(workshop: Shop) -> None:
    workshop.texts(40)
    with workshop.start(*RUN, "--", "--texts", "texts", "--seconds", "0.2") as running:
        until(lambda: workshop.worked > 4)
        running.send_signal(signal.SIGKILL)
    half = workshop.results / ".devbox" / "rounds" / "w7-r7"  # of a worker that was lost then
    half.mkdir(parents=True)
    (half / "t0000.txt.out").write_text("half")
    done = workshop.devbox("attach")
    assert not half.parent.exists()
    assert done.returncode == 0, done.stderr
    workshop.require_all(40)
    assert max(Counter(workshop.trace.read_text().split()).values()) == 1


def test_ctrl_c_says_how_to_continue_and_leaves_the_workers_at_work(workshop: Shop) -> None:
    workshop.texts(12)
    with workshop.start(*RUN, "--", "--texts", "texts", "--seconds", "0.3") as running:
        until(workshop.trace.exists)
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130
    assert "devbox attach copy-" in (workshop.root.parent / "devbox.log").read_text()
    assert set(states(workshop).values()) == {BoxState.RUNNING}
    assert workshop.devbox("attach").returncode == 0
    workshop.require_all(12)


def test_workers_that_were_paused_meanwhile_continue_where_they_stand(workshop: Shop) -> None:
    workshop.texts(30)
    with workshop.start(*RUN, "--", "--texts", "texts", "--seconds", "0.2") as running:
        until(lambda: workshop.made > 6)
        running.send_signal(signal.SIGKILL)
    for name in ("w-1", "w-2"):
        done = workshop.devbox("pause", name, "--yes", "--no-save")
        assert done.returncode == 0, done.stderr
    assert workshop.devbox("attach").returncode == 0
    workshop.require_all(30)
    assert [worker["number"] for worker in workshop.batch()["workers"]] == [1, 2]
    again = Counter(workshop.trace.read_text().split())
    assert sum(again.values()) <= 32  # what was under way on each


def test_a_worker_begins_as_soon_as_it_is_up(workshop: Shop) -> None:
    """The second one's setup takes until the first has worked."""
    first = workshop.root.parent / "first"
    workshop.setup(f"mkdir {first} || while [ ! -e {workshop.trace}.go ]; do sleep 0.02; done")
    workshop.texts(8)
    with workshop.start(*RUN, "--", "--texts", "texts") as running:
        until(lambda: workshop.made)
        assert running.poll() is None
        workshop.go()
        assert running.wait(120) == 0, workshop.said
    workshop.require_all(8)


def test_a_worker_for_which_nothing_is_left_is_ended_while_another_works(workshop: Shop) -> None:
    workshop.texts(8)
    (workshop.root / "texts/t0007.txt").write_text("wait 7\n")
    with workshop.start(*RUN, "--then", "down", "--", "--texts", "texts") as running:
        until(lambda: workshop.made and len(states(workshop)) == 1)
        assert running.poll() is None
        workshop.go()
        assert running.wait(120) == 0, workshop.said
    assert workshop.made == 8
    assert states(workshop) == {}


def test_a_second_terminal_watches_and_takes_over(workshop: Shop) -> None:
    workshop.texts(30)
    with workshop.start(*RUN, "--", "--texts", "texts", "--seconds", "0.2") as first:
        until(lambda: workshop.worked > 2)
        with workshop.start("attach") as second, workshop.start("logs", "-f") as logs:
            until(lambda: workshop.made > 4)
            assert second.poll() is None
            first.send_signal(signal.SIGKILL)
            assert second.wait(120) == 0
            assert logs.wait(60) == 0
    workshop.require_all(30)
    assert max(Counter(workshop.trace.read_text().split()).values()) == 1
    assert "w1 | worked on " in workshop.said


def test_what_was_given_out_at_once_needs_nobody(workshop: Shop) -> None:
    names = Counter(f"t{number:04}.txt" for number in range(20))
    folder = workshop.texts(20)
    for name in names:
        (folder / name).write_text(f"wait {name}\n")
    done = workshop.devbox(*RUN, "--detach", "--", "--texts", "texts")
    assert done.returncode == 0, done.stderr
    sent = workshop.root.parent.rglob("rounds/*/in/texts/*.txt")
    assert Counter(path.name for path in sent) == names, "each to one box"
    workshop.go()
    until(lambda: workshop.worked == 20)
    batch = done.stdout.strip()
    assert not list(workshop.results.glob("*.out"))
    again = workshop.devbox("attach", batch)
    assert again.returncode == 0, again.stderr
    assert Counter(path.stem for path in workshop.results.glob("*.out")) == names


def test_a_cancelled_batch_ends_on_every_box_and_keeps_what_is_here(workshop: Shop) -> None:
    workshop.texts(40)
    with workshop.start(*RUN, "--", "--texts", "texts", "--seconds", "0.3") as running:
        until(lambda: workshop.made)
        done = workshop.devbox("cancel")
        assert done.stdout.split()[1] == "cancelled"
        assert running.wait(60) == 11
    batch = workshop.batch()
    assert {part["state"] for part in batch["parts"]} == {"cancelled"}
    assert 0 < workshop.made == batch["counts"]["done"] < 40
    again = workshop.devbox("retry", batch["id"])
    assert again.returncode == 0, again.stderr
    workshop.require_all(40)


def test_a_batch_that_is_cancelled_while_its_boxes_come_up_leaves_none(workshop: Shop) -> None:
    workshop.texts(40)
    with workshop.start(*RUN, "--then", "down", "--", "--texts", "texts") as running:
        until(lambda: (workshop.root / "results").exists() and states(workshop))
        assert workshop.devbox("cancel").returncode == 0
        assert running.wait(120) == 11
    assert not states(workshop)


def test_nothing_is_given_out_that_would_cost_more(workshop: Shop) -> None:
    """An hour of a box costs a dollar."""
    workshop.texts(400)
    words = ("--max-cost", "0.011", "--", "--texts", "texts", "--seconds", "0.3")
    done = workshop.devbox("run", "copy", "--workers", "1", *words)
    assert done.returncode == 11
    assert "more would cost over $0.0110" in done.stderr
    batch = workshop.batch()
    assert 0 < batch["counts"]["done"] < 400
    assert batch["cost_micro_dollars"] < 20_000
    assert "more would cost over $0.0110" in workshop.devbox("retry", batch["id"]).stderr
    before = workshop.made
    with workshop.start("retry", batch["id"], "--max-cost", "1") as again:
        until(lambda: workshop.made > before or again.poll() is not None)
        assert again.poll() is None, workshop.said
        assert workshop.devbox("cancel", batch["id"]).returncode == 0
        assert again.wait(60) == 11


def test_many_boxes_are_agreed_to_once(workshop: Shop) -> None:
    workshop.texts(2)
    toml = workshop.root / "devbox.toml"
    toml.write_text("[budget]\nask_above = 0.1\n" + toml.read_text())
    run = (*RUN, "--then", "down", "--max-cost", "0.5")
    refused = workshop.devbox(*run, "--", "--texts", "texts")
    assert refused.returncode != 0
    assert refused.stderr.count("(budget.ask_above)") == 1
    assert "up to 2 × w: " in refused.stderr
    assert states(workshop) == {}
    agreed = workshop.devbox(*run, "--yes", "--", "--texts", "texts")
    assert agreed.returncode == 0, agreed.stderr


def test_what_makes_no_batch_is_refused_before_anything_is_started(workshop: Shop) -> None:
    workshop.texts(2)
    texts = ("--", "--texts", "texts")
    for words, why in (
        (("run", "copy", "--workers", "0", *texts), "--workers cannot be '0'"),
        (("run", "copy", "--workers", "5..2", *texts), "--workers cannot be '5..2'"),
        (("run", "copy", "--max-cost", "2", *texts), "--max-cost is for a batch"),
        (
            ("run", "copy", "--workers", "2", "--detach", "--max-cost", "2", *texts),
            "--max-cost watches the workers, and with --detach nobody does",
        ),
        (("run", "track", "--workers", "2", "--", "--video", "texts"), "nothing in"),
        (("run", "--workers", "2", "--", "true"), "says of no input"),
    ):
        done = workshop.devbox(*words)
        assert done.returncode == 2, done.stderr
        assert why in done.stderr
    assert states(workshop) == {}
    assert not (workshop.root / "results").exists()


def test_a_batch_grows_while_another_box_pays(workshop: Shop) -> None:
    workshop.texts(120)
    words = ("--then", "down", "--", "--texts", "texts", "--seconds", "0.3")
    done = workshop.devbox("run", "copy", "--workers", "1..2", *words)
    assert done.returncode == 0, done.stderr
    workshop.require_all(120)
    assert [worker["box"] for worker in workshop.batch()["workers"]] == ["w-1", "w-2"]
    assert not states(workshop)


def test_boxes_that_cannot_do_what_is_asked_are_refused_as_workers(home: Path) -> None:
    shop = opened(home, 'provider = "hf-job"\ncommand = ["true"]')
    shop.texts(1)
    done = shop.devbox("run", "copy", "--workers", "2", "--", "--texts", "texts")
    assert done.returncode == 2, done.stderr
    assert "w is a command, and can be no worker\nnothing was started" in done.stderr
    toml = shop.root / "devbox.toml"
    toml.write_text(toml.read_text().replace('command = ["true"]', ""))
    detached = ("run", "copy", "--workers", "2", "--detach", "--then", "down", "--")
    done = shop.devbox(*detached, "--texts", "texts")
    assert done.returncode == 2, done.stderr
    assert "with --detach nobody fetches what the run made\nnothing was started" in done.stderr
    assert shop.json("ls")["boxes"] == []
    assert shop.json("runs")["runs"] == []


def test_the_boxes_of_a_long_batch_stop_at_its_end(workshop: Shop) -> None:
    """Giving out rounds and fetching results is no use of a box that it would wait for."""
    workshop.texts(60)
    words = ("run", "copy", "--workers", "2", "--then", "down", "--", "--texts", "texts")
    with workshop.start(*words, "--seconds", "0.1") as running:
        until(lambda: workshop.made > 6)
        for file in local_orders(workshop):  # from now on traffic is no longer that of their giver
            order = json.loads(file.read_text()) | {"mono": time.monotonic() - then.OWN}
            file.write_text(json.dumps(order))
        assert running.wait(240) == 0, workshop.said
    with workshop.workspace() as ws:
        assert {box.state for box in ws.store.boxes.all(over=True)} == {BoxState.TERMINATED}


def local_orders(workshop: Shop) -> list[Path]:
    """What each local box of a batch does after its part."""
    with workshop.workspace() as ws:
        boxes = ws.store.boxes.all()
    assert len(boxes) == 2
    found = [BoxDir(paths.home() / "local" / each.handle).box_root / "then.json" for each in boxes]
    assert all(file.exists() for file in found), found
    return found
