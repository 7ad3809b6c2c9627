"""What counts as use and what does not, over half-hours that a user would recognise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from devbox import spec
from devbox.box.watchdog import policy as idle
from devbox.box.watchdog.deadline import Moment
from devbox.box.watchdog.policy import tuning_of
from devbox.box.watchdog.signals.gpus import Gpus
from devbox.providers.guarded import policy_of
from devbox.wire.codec import convert
from devbox.wire.messages import Policy, WatchdogConfig
from tests.idle.traces import EVERY, GB, HOUR, MINUTE, Outcome, Sample, gpu, minutes, run, sample

POLICY = Policy()
AFTER = 30 * MINUTE


def typed(second: int, bytes_a_key: int) -> int:
    """Keys pressed by a slow typist so far: words of six keys, then half a minute of thought."""
    return (second // 30 * 6 + min(second % 30, 6)) * bytes_a_key


def ssh(rx: float, tx: float | None = None, sessions: int = 1) -> dict[str, Any]:
    return {"sessions": sessions, "rx_bytes": rx, "tx_bytes": rx if tx is None else tx}


def heartbeat(size: int, connections: int = 2) -> Callable[[int], int]:
    """VS Code left open: a keep-alive on each connection every 5 s, the two out of step."""
    return lambda second: size * sum((second + 2 * i) // 5 for i in range(connections))


BEAT = heartbeat(60)
STAYS_UP: dict[str, Callable[[int], Sample]] = {
    "a job runs, whatever the hardware does": lambda s: sample(jobs=["20260101-track"]),
    "training that waits for its data loaders": lambda s: sample(
        cpu={"util": 100, "count": 8}, gpus=[gpu(3)]
    ),
    "one busy thread on a box of 64 cores": lambda s: sample(cpu={"util": 1.57, "count": 64}),
    "a GPU at work": lambda s: sample(gpus=[gpu(97, 20 * GB)]),
    "the second GPU of two at work": lambda s: sample(gpus=[gpu(), gpu(60, index=1, uuid="GPU-1")]),
    "a run that gets a round every quarter of an hour": lambda s: sample(
        jobs=["r1"] if s % 900 < 5 else [], waiting=[] if s % 900 < 5 else ["r1"]
    ),
    "one second of GPU work every ten minutes": lambda s: sample(
        gpus=[gpu(100 if s % 600 == 0 else 0)]
    ),
    "VRAM held by a kernel that was used lately": lambda s: sample(gpus=[gpu(0, 20 * GB)]),
    "slow typing, counted on the wire": lambda s: sample(ssh=ssh(typed(s, 52) + BEAT(s))),
    "slow typing that only the terminal shows": lambda s: sample(
        ssh=ssh(typed(s, 1)), tty={"count": 1, "input_at": 1000.0 + s // 480 * 480}
    ),
    "a log scrolling by": lambda s: sample(ssh=ssh(0, 60 * s)),
    "an upload that uses nothing else": lambda s: sample(ssh=ssh(1_000_000 * s, 900 * s)),
    "a request served now and then": lambda s: sample(requests=s // 900),
    "a service that uses its GPU now and then": lambda s: sample(
        requests=0, in_flight=0, gpus=[gpu(90 if s % 900 == 0 else 0, 20 * GB)]
    ),
    "one request that takes an hour": lambda s: sample(requests=1, in_flight=int(s > 60)),
    "weights being downloaded in tmux": lambda s: sample(net={"rx_bps": 9e6, "tx_bps": 2e5}),
}
PAUSES: dict[str, Callable[[int], Sample]] = {
    "nothing at all": lambda s: sample(),
    "an open socket without traffic": lambda s: sample(ssh=ssh(5000, sessions=3)),
    "VS Code left open, counted as payload": lambda s: sample(ssh=ssh(heartbeat(19)(s))),
    "VS Code left open, counted on the wire": lambda s: sample(ssh=ssh(BEAT(s))),
    "a cron job of two threads for ten seconds every five minutes": lambda s: sample(
        cpu={"util": 26 if s % 300 < 10 else 1, "count": 8}
    ),
    "a server process that idles": lambda s: sample(cpu={"util": 4, "count": 8}, requests=17),
    "a service that holds its model and is not asked": lambda s: sample(
        requests=0, in_flight=0, gpus=[gpu(0, 20 * GB)]
    ),
    "a service on a GPU that tells no utilisation": lambda s: sample(
        requests=0, in_flight=0, gpus=[gpu(None, 20 * GB)]
    ),
    "a service that nobody asks": lambda s: sample(requests=0, in_flight=0, jobs=[]),
    "a run that waits for a round with its model loaded": lambda s: sample(
        jobs=[], waiting=["20260101-track-w1"], gpus=[gpu(0, 20 * GB)]
    ),
    "a run that waits for the GPU of a service that nobody asks": lambda s: sample(
        requests=0, in_flight=0, jobs=[], waiting=["r1"]
    ),
    "a GPU whose driver keeps some memory": lambda s: sample(gpus=[gpu(0, 0.4 * GB)]),
    "a box without GPUs": lambda s: sample(gpus=[]),
    "a box whose ssh cannot be counted": lambda s: sample(ssh=None, gpus=None),
    "a terminal nobody types at": lambda s: sample(tty={"count": 2, "input_at": 900.0}),
    "little network": lambda s: sample(net={"rx_bps": 20_000, "tx_bps": 20_000}),
}


# What five seconds would blur: a word typed at once, and keep-alives out of step.
BY_THE_SECOND = ("slow typing", "VS Code")


@pytest.mark.parametrize("name", STAYS_UP)
def test_this_is_use(name: str) -> None:
    every = 1 if name.startswith(BY_THE_SECOND) else EVERY
    found = run(POLICY, minutes(50, STAYS_UP[name], every=every), every=every)
    assert found.pauses is None
    assert found.verdicts[-1][1].state in ("active", "idle")


@pytest.mark.parametrize("name", PAUSES)
def test_this_is_not_use(name: str) -> None:
    every = 1 if name.startswith(BY_THE_SECOND) else EVERY
    found = run(POLICY, minutes(40, PAUSES[name], every=every), every=every)
    assert found.pauses is not None
    assert AFTER - 1 <= found.pauses <= AFTER + 2 * MINUTE


def test_the_ladder_of_states_and_what_it_says() -> None:
    found = run(POLICY, minutes(40, lambda s: sample(gpus=[gpu(2)])))
    assert found.state_at(10) == "active"
    assert dict(found.verdicts)[10].reasons[0] == "it was in use 10s ago"
    assert found.state_at(2 * MINUTE) == "idle"
    assert found.state_at(25 * MINUTE + 1) == "warned"
    assert found.pauses == AFTER
    quiet = dict(found.verdicts)[12 * MINUTE]
    assert quiet.idle_for == 12 * MINUTE
    assert quiet.pauses_at == pytest.approx(found.verdicts[0][1].pauses_at or 1_750_000_000 + AFTER)
    assert quiet.cause == "idle"
    assert quiet.reasons == (
        "no job runs",
        "GPU 0 at 2 % (quiet below 5 %)",
        "CPU at 1 %, 0.1 of 8 cores (quiet below 0.8 cores)",
        "no ssh traffic for 12m",
    )


def test_use_comes_first_in_the_reasons() -> None:
    found = run(POLICY, [sample(jobs=["r1"], gpus=[gpu(88)])] * 5)
    verdict = found.verdicts[-1][1]
    assert verdict.state == "active"
    assert verdict.reasons[:2] == ("job r1 runs", "GPU 0 at 88 %")


def test_the_idle_clock_counts_from_the_last_use() -> None:
    busy = minutes(10, lambda s: sample(gpus=[gpu(90)]))
    found = run(POLICY, busy + minutes(60, lambda s: sample()))
    assert found.pauses == 10 * MINUTE - EVERY + AFTER


def test_held_memory_protects_until_stuck_after_and_then_idling_begins() -> None:
    policy = POLICY._replace(stuck_after=HOUR)
    work = minutes(5, lambda s: sample(gpus=[gpu(90, 20 * GB)]))
    held = minutes(120, lambda s: sample(gpus=[gpu(0, 20 * GB)]))
    found = run(policy, work + held)
    assert found.pauses is not None
    assert found.pauses == pytest.approx(5 * MINUTE + HOUR + AFTER, abs=10)
    at = dict(found.verdicts)
    assert "GPU 0 holds 20.0 GB, unused for 30m (counts as use until 1h)" in at[35 * 60].reasons
    stuck = at[80 * MINUTE].reasons
    assert any("stuck, no longer counts (after 1h)" in reason for reason in stuck)


def test_a_process_with_a_context_holds_memory_even_if_little() -> None:
    row = gpu(0, 0.4 * GB, processes=[{"pid": 7, "name": "python", "mem_used": 300 << 20}])
    assert run(POLICY, minutes(60, lambda s: sample(gpus=[row]))).pauses is None


GONE: dict[str, Any] = {"util": None, "mem_used": None, "mem_total": None, "processes": None}


@pytest.mark.parametrize(
    "later",
    [
        [{**gpu(), **GONE, "lost": True}],
        [{**gpu(), **GONE, "lost": True, "uuid": None}],  # as after the driver was opened again
        [],  # it is listed no more
        [gpu(0, 0, index=1, uuid="GPU-1")],
    ],
)
def test_a_gpu_that_fell_off_the_bus_does_not_hold_the_box(later: list[dict[str, Any]]) -> None:
    work = minutes(5, lambda s: sample(gpus=[gpu(90, 20 * GB)]))
    rest = minutes(120, lambda s: sample(gpus=later))
    found = run(POLICY, work + rest)
    assert found.pauses == pytest.approx(5 * MINUTE + AFTER, abs=10)


@pytest.mark.parametrize("index", [0, 1])
def test_a_gpu_that_names_itself_late_is_one_gpu(index: int) -> None:
    first = {**gpu(index=index), **GONE, "uuid": None, "lost": True}
    gpus = Gpus().observe([first], tuning_of(POLICY), 1.0)
    gpus = gpus.observe([gpu(90, index=index)], tuning_of(POLICY), 2.0)
    assert [f.text for f in gpus.findings(tuning_of(POLICY), 2.0)] == [f"GPU {index} at 90 %"]


def test_gpus_listed_out_of_order_without_names_are_kept_apart() -> None:
    rows = [gpu(90, index=1, uuid=None), gpu(3, index=0, uuid=None)]
    gpus = Gpus().observe(rows, tuning_of(POLICY), 1.0)
    assert [(gpu.label, gpu.util) for _, gpu in gpus.known] == [("GPU 1", 90), ("GPU 0", 3)]


def test_a_gpu_whose_values_stop_without_a_word_of_loss_holds_the_box() -> None:
    work = minutes(5, lambda s: sample(gpus=[gpu(90, 20 * GB)]))
    rest = minutes(120, lambda s: sample(gpus=[{**gpu(), **GONE}]))
    assert run(POLICY, work + rest).pauses is None


UNIFIED = {"mem_total": None}


@pytest.mark.parametrize("memory", [20 * GB, None])
def test_memory_held_by_a_process_protects_where_the_gpu_tells_none(memory: float | None) -> None:
    """A GPU that shares the machine's memory: [N/A] for its own, and a process with 20 GB."""
    row = gpu(0, None, processes=[{"pid": 7, "name": "python", "mem_used": memory}], **UNIFIED)
    policy = POLICY._replace(stuck_after=HOUR)
    found = run(policy, minutes(120, lambda s: sample(gpus=[row])))
    assert found.pauses == pytest.approx(HOUR + AFTER, abs=70)


def test_a_unified_gpu_without_processes_is_quiet() -> None:
    rows = minutes(60, lambda s: sample(gpus=[gpu(0, None, **UNIFIED)]))
    assert run(POLICY, rows).pauses == pytest.approx(AFTER, abs=1)


def test_process_memory_that_grows_is_use_where_the_gpu_tells_none() -> None:
    def row(second: int) -> Sample:
        held = [{"pid": 7, "name": "python", "mem_used": GB + second // 300 * GB}]
        return sample(gpus=[gpu(0, None, processes=held, **UNIFIED)])

    assert run(POLICY._replace(stuck_after=60.0), minutes(60, row)).pauses is None


def test_memory_that_grows_is_use() -> None:
    policy = POLICY._replace(stuck_after=60.0)
    found = run(policy, minutes(60, lambda s: sample(gpus=[gpu(0, GB + s // 300 * GB)])))
    assert found.pauses is None


def test_a_mig_slice_that_holds_memory_may_be_working() -> None:
    policy = POLICY._replace(stuck_after=60.0)
    rows = minutes(60, lambda s: sample(gpus=[gpu(None, 20 * GB, mig=True)]))
    assert run(policy, rows).pauses is None
    empty = minutes(60, lambda s: sample(gpus=[gpu(None, 0, mig=True)]))
    assert run(policy, empty).pauses == pytest.approx(AFTER, abs=1)


@pytest.mark.parametrize(
    "broken",
    [
        None,
        {},
        sample(cpu=None),
        sample(cpu={"util": None, "count": 8}),
        sample(gpus=None),
        sample(gpus=[gpu(None, None)]),
        sample(ssh=None),
        sample(ssh={"sessions": 1, "rx_bytes": None, "tx_bytes": None}),
        sample(jobs=None),
    ],
)
def test_silence_is_not_idleness(broken: Sample | None) -> None:
    known = minutes(10, lambda s: sample())
    found = run(POLICY, known + minutes(60, lambda s: broken))
    assert found.pauses is None
    assert any("silence is not idleness" in reason for reason in found.verdicts[-1][1].reasons)


def test_a_reading_that_fails_now_and_then_is_not_silence() -> None:
    found = run(POLICY, minutes(60, lambda s: sample(gpus=None) if s % 7 else sample()))
    assert found.pauses == AFTER


def test_nobody_logged_in_is_not_silence() -> None:
    nobody = {"sessions": 0, "rx_bytes": None, "tx_bytes": None}
    found = run(POLICY, [sample()] * 5 + minutes(60, lambda s: sample(ssh=nobody)))
    assert found.pauses == AFTER


def test_a_box_of_which_nothing_was_ever_known_is_not_idle() -> None:
    found = run(POLICY, minutes(120, lambda s: None))
    assert found.pauses is None
    assert "nothing could be measured yet" in found.verdicts[-1][1].reasons[0]


def test_a_counter_that_begins_anew_is_not_a_flood_and_not_use() -> None:
    rows = minutes(10, lambda s: sample(ssh=ssh(9e9)))
    found = run(POLICY, rows + minutes(60, lambda s: sample(ssh=ssh(100))))
    assert found.pauses == AFTER


def test_bytes_of_our_own_doing_do_not_count() -> None:
    state = idle.begin(Moment(0, 0))
    for second in range(100):
        now = Moment(float(second), float(second))
        moved = sample(ssh=ssh(1e6 * second))
        state = idle.observe(POLICY, state, moved, now, muted=(True, True))
    assert state.ssh.used is None
    state = idle.observe(POLICY, state, sample(ssh=ssh(2e8)), Moment(100, 100))
    assert state.ssh.used == 100


@pytest.mark.parametrize("jump", [2 * HOUR, 30 * 24 * HOUR])
def test_a_wall_clock_that_jumps_ahead_begins_the_idle_clock_afresh(jump: int) -> None:
    def clock(second: int) -> Moment:
        return Moment(second + (jump if second >= 1000 else 0), second)

    found = run(POLICY, minutes(90, lambda s: sample()), clock=clock)
    assert found.pauses == 1000 + AFTER


def test_a_wall_clock_that_jumps_back_changes_nothing() -> None:
    def clock(second: int) -> Moment:
        return Moment(1e9 + second - (5 * HOUR if second >= 1000 else 0), second)

    assert run(POLICY, minutes(90, lambda s: sample()), clock=clock).pauses == AFTER


def test_a_suspended_box_begins_afresh() -> None:
    def clock(second: int) -> Moment:
        slept = 6 * HOUR if second >= 1700 else 0
        return Moment(second + slept, second + slept)

    assert run(POLICY, minutes(90, lambda s: sample()), clock=clock).pauses == 1700 + AFTER


def test_a_loss_during_a_suspend_still_shows_as_silence() -> None:
    def clock(second: int) -> Moment:
        slept = HOUR if second >= 600 else 0
        return Moment(second + slept, second + slept)

    rows = minutes(90, lambda s: sample() if s < 600 else sample(gpus=None))
    assert run(POLICY, rows, clock=clock).pauses is None


def test_keep_holds_the_pause_off_and_then_warns() -> None:
    found = run(POLICY, minutes(180, lambda s: sample()), hold=2 * HOUR)
    assert found.state_at(HOUR) == "held"
    assert found.state_at(2 * HOUR - 290) == "warned"
    assert found.pauses == 2 * HOUR
    assert "kept for another 1h" in dict(found.verdicts)[HOUR].reasons


def test_a_policy_that_is_off_never_pauses() -> None:
    found = run(POLICY._replace(enabled=False), minutes(120, lambda s: sample()))
    assert found.pauses is None
    assert found.verdicts[-1][1].pauses_at is None
    assert "the idle policy is switched off" in found.verdicts[-1][1].reasons


def test_a_warning_as_long_as_the_wait_does_not_warn_at_work() -> None:
    policy = POLICY._replace(warn=HOUR)
    found = run(policy, minutes(20, lambda s: sample(jobs=["r"])))
    assert {verdict.state for _, verdict in found.verdicts} == {"active"}


def test_many_gpus_are_told_in_few_words() -> None:
    rows = [gpu(i % 3, index=i, uuid=f"GPU-{i}") for i in range(8)]
    found = run(POLICY, [sample(gpus=rows)] * 3)
    assert "8 GPUs at 0–2 % (quiet below 5 %)" in found.verdicts[-1][1].reasons
    busy = [gpu(90, index=i, uuid=f"GPU-{i}") for i in range(8)]
    reasons = run(POLICY, [sample(gpus=busy)] * 3).verdicts[-1][1].reasons
    assert reasons[4] == "4 more GPUs likewise"


def test_the_defaults_are_those_of_the_spec() -> None:
    assert policy_of(spec.Idle()) == Policy()


@pytest.mark.parametrize(
    "fields",
    [
        {"after": 0},
        {"after": "30m"},
        {"after": float("nan")},
        {"enabled": 1},
        {"save_command": "make save"},
        {"save_command": [1]},
        {"gpu_util": -1},
        {"warn": True},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"policy\."):
        convert({"box": "b", "policy": fields, "deadline": None}, WatchdogConfig)


@pytest.mark.parametrize(
    "hostile",
    [
        {"cpu": {"util": float("nan"), "count": 0}, "gpus": [None, 3, {}], "jobs": [None, {}]},
        {"cpu": 3, "ssh": [], "net": "x", "tty": 4, "requests": "many", "jobs": "all"},
        {"gpus": [{"util": 10**400, "mem_used": -1, "uuid": ["x"], "processes": 3}]},
        {"gpus": [gpu(index="\x1b[2J", uuid="u", processes=[None, {"mem_used": "x"}])] * 500},
    ],
)
def test_nothing_in_a_sample_breaks_the_policy(hostile: Sample) -> None:
    found: Outcome = run(POLICY, [sample(), hostile, sample(), hostile])
    assert found.pauses is None
