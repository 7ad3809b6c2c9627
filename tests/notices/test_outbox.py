"""What waits for a receiver that is down, slow, wrong or forgetful: nothing is lost for a day, and
what was taken is not sent again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devbox.box.notices import outbox
from devbox.box.notices.outbox import HOURLY, KEPT, Answer
from devbox.wire.notices import Notice, NoticeKind, Notify, Webhook

WANTED = Notify(Webhook("https://hooks.example/x"), id="b1", project="p")
TAKEN = Answer(True)
DOWN = Answer(False, detail="URLError")
REFUSED = Answer(False, again=False, detail="HTTP 400")


class Clock:
    def __init__(self, now: float = 1_764_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def notice(clock: Clock, name: str, kind: NoticeKind = "run-finished") -> Notice:
    return Notice(name, clock.now, kind, "dev", "p", f"{name} happened")


def put(root: Path, clock: Clock, name: str, kind: NoticeKind = "run-finished") -> None:
    assert outbox.put(root, WANTED, notice(clock, name, kind))


class Receiver:
    """answers: for the next posts, then TAKEN."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.took: list[str] = []

    def __call__(self, sent: Notice) -> Answer:
        self.asked.append(sent.id)
        answer = self.answers.pop(0) if self.answers else TAKEN
        if answer.ok:
            self.took.append(sent.id)
        return answer


def until_empty(root: Path, post: Receiver, clock: Clock, most: float = KEPT) -> list[str]:
    """Deliver whenever it is due, every five seconds; what was given up."""
    lost, end = [], clock.now + most
    while any((root / outbox.FOLDER).glob("[01]-*")) and clock.now < end:
        if outbox.is_due(root, clock.now):
            lost += outbox.deliver(root, post, clock)
        clock.now += 5
    return lost


def test_urgent_ones_go_first_and_each_goes_once(tmp_path: Path) -> None:
    clock, post = Clock(), Receiver()
    put(tmp_path, clock, "run")
    clock.now += 1
    put(tmp_path, clock, "soon", "pause-soon")
    assert outbox.deliver(tmp_path, post, clock) == []
    assert post.took == ["soon", "run"]
    put(tmp_path, clock, "run")  # told again by a process that did not know
    outbox.deliver(tmp_path, post, clock)
    assert post.took == ["soon", "run"]
    assert not outbox.is_due(tmp_path, clock.now)


def test_a_receiver_that_is_down_is_asked_less_and_less_and_gets_all(tmp_path: Path) -> None:
    clock, post = Clock(), Receiver(*[DOWN] * 40)
    for name in ("a", "b", "c"):
        put(tmp_path, clock, name)
    assert until_empty(tmp_path, post, clock) == []
    assert sorted(post.took) == ["a", "b", "c"]
    assert post.asked[:40] == ["a"] * 40  # the others do not wait for the same silence


def test_a_day_later_it_is_given_up_and_said(tmp_path: Path) -> None:
    clock, post = Clock(), Receiver(*[DOWN] * 10_000)
    put(tmp_path, clock, "a")
    lost = until_empty(tmp_path, post, clock, KEPT + 3600)
    assert lost == ["not delivered for a day: a happened"]
    assert 90 <= len(post.asked) <= 120  # once in 15 minutes at last


def test_one_that_is_refused_does_not_hold_up_the_others(tmp_path: Path) -> None:
    clock, post = Clock(), Receiver(REFUSED, TAKEN, *[REFUSED] * 4)
    put(tmp_path, clock, "a")
    clock.now += 1
    put(tmp_path, clock, "b")
    assert until_empty(tmp_path, post, clock) == ["refused by its receiver (HTTP 400): a happened"]
    assert post.took == ["b"]


def test_the_receiver_says_when(tmp_path: Path) -> None:
    clock, post = Clock(), Receiver(Answer(False, detail="HTTP 429", after=600.0))
    put(tmp_path, clock, "a")
    outbox.deliver(tmp_path, post, clock)
    clock.now += 599
    assert not outbox.is_due(tmp_path, clock.now)
    clock.now += 1
    assert outbox.is_due(tmp_path, clock.now)


def test_a_flood_is_slowed_and_urgent_ones_pass_it(tmp_path: Path) -> None:
    clock, post = Clock(), Receiver()
    for number in range(HOURLY + 5):
        put(tmp_path, clock, f"run{number:03d}")
    outbox.deliver(tmp_path, post, clock)
    assert len(post.took) == HOURLY
    assert not outbox.is_due(tmp_path, clock.now)
    put(tmp_path, clock, "soon", "pause-soon")
    assert outbox.is_due(tmp_path, clock.now)
    outbox.deliver(tmp_path, post, clock)
    assert post.took[-1] == "soon"
    until_empty(tmp_path, post, clock)
    assert len(set(post.took)) == HOURLY + 6


def test_what_nobody_wants_is_not_kept(tmp_path: Path) -> None:
    clock = Clock()
    assert not outbox.put(tmp_path, Notify(), notice(clock, "a"))
    assert not outbox.put(tmp_path, WANTED._replace(kinds=("gpu",)), notice(clock, "a"))
    assert not (tmp_path / outbox.FOLDER).exists()


def test_the_folder_is_bounded(tmp_path: Path) -> None:
    clock, post = Clock(), Receiver(DOWN)
    for number in range(outbox.MOST + 3):
        put(tmp_path, clock, f"n{number:04d}")
    assert outbox.deliver(tmp_path, post, clock) == ["too many notices wait"] * 3


@pytest.mark.parametrize("torn", [b"", b"{", b'{"id": "../x"}'])
def test_a_damaged_file_costs_itself_only(tmp_path: Path, torn: bytes) -> None:
    clock, post = Clock(), Receiver()
    put(tmp_path, clock, "a")
    put(tmp_path, clock, "b")
    next((tmp_path / outbox.FOLDER).glob("*-a.json")).write_bytes(torn)
    (tmp_path / outbox.FOLDER / "state.json").write_bytes(torn)
    outbox.deliver(tmp_path, post, clock)
    assert post.took == ["b"]
    assert not outbox.is_due(tmp_path, clock.now)


@settings(max_examples=60)
@given(
    answers=st.lists(st.sampled_from([TAKEN, DOWN, Answer(False, after=30.0)]), max_size=30),
    jump=st.sampled_from([0.0, -86_400.0, 3 * 3600.0]),
)
def test_whatever_the_receiver_and_the_clock_do_each_is_taken_once(
    tmp_path_factory: pytest.TempPathFactory, answers: list[Answer], jump: float
) -> None:
    root, clock, post = tmp_path_factory.mktemp("box"), Clock(), Receiver(*answers)
    names = [f"n{number}" for number in range(5)]
    for name in names:
        put(root, clock, name)
    outbox.deliver(root, post, clock)
    clock.now += jump
    assert until_empty(root, post, clock) == []
    assert sorted(post.took) == names
