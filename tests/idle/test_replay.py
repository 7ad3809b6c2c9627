"""`devbox idle replay`: the policy over recorded samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from devbox.cli.main import cli
from devbox.errors import DevboxError, NotFound, UsageError
from devbox.telemetry.replay import replay
from devbox.wire.messages import Policy
from tests.idle.traces import HOUR, MINUTE, T0, Sample, sample


def day(work: list[tuple[float, float]], hours: float, every: int = 5) -> list[Sample]:
    """Samples of a box whose job runs in these stretches (minutes)."""
    rows = []
    for seq, second in enumerate(range(0, int(hours * HOUR), every)):
        busy = any(a * MINUTE <= second < b * MINUTE for a, b in work)
        row = sample(jobs=["r1"] if busy else [])
        rows.append({"v": 1, "boot": "b", "seq": seq, "t": T0 + second, **row})
    return rows


def write(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def call(*words: str) -> Result:
    result = CliRunner().invoke(cli, ["idle", "replay", *words])
    if isinstance(result.exception, DevboxError):
        raise result.exception
    return result


def test_when_it_would_have_paused_and_for_how_long() -> None:
    found = replay(Policy(), day([(0, 20), (120, 140)], 4))
    assert [change.state for change in found.changes] == [
        "active",
        "idle",
        "warned",
        "paused",
        "active",
        "idle",
        "warned",
        "paused",
    ]
    assert [(round((p.start - T0) / 60), round((p.end - T0) / 60)) for p in found.pauses] == [
        (50, 120),
        (170, 240),
    ]
    assert found.pauses[0].needed == "job r1 runs"
    assert found.pauses[1].needed == ""
    assert found.off == pytest.approx(140 * MINUTE, abs=30)


def test_after_the_ceiling_it_stays_off() -> None:
    found = replay(Policy(), day([(0, 240)], 4), max_uptime=2 * HOUR)
    assert [pause.cause for pause in found.pauses] == ["ceiling"]
    assert found.off == pytest.approx(2 * HOUR, abs=60)


def test_a_trace_whose_clock_jumps_back_is_still_replayed() -> None:
    rows = day([], 1)
    rows[300]["t"] -= 9 * HOUR
    for row in rows[301:]:
        row["t"] -= 9 * HOUR - 5
    assert len(replay(Policy(), rows).pauses) == 1


def test_the_timeline(home: Path) -> None:
    trace = write(home / "trace.jsonl", day([(0, 20), (120, 140)], 4))
    result = call(trace, "--price", "2.50")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == (
        "2,880 samples over 3h59m; pause after 30m, warned 5m before, VRAM stuck after 2h"
    )
    assert "paused   after unsynced list, quiet for 30m: no job runs" in result.stdout
    assert "a resume would have been needed 1h10m after a pause: job r1 runs" in result.stdout
    assert lines[-1] == "would have paused 2 times: off for 2h20m of 3h59m (58 %), $5.84 saved"


def test_json_has_all_of_it(home: Path) -> None:
    trace = write(home / "trace.jsonl", day([(0, 20)], 2))
    found = json.loads(call(trace, "--json", "--price", "3").stdout)
    assert (found["version"], found["kind"]) == (1, "idle-replay")
    assert found["samples"] == 1440
    assert [change["state"] for change in found["changes"]][-1] == "paused"
    assert found["saved_micro"] == round(found["off_seconds"] / 3600 * 3_000_000)
    assert json.loads(call(trace, "--json").stdout)["saved_micro"] is None


def test_the_policy_of_a_box_is_used(home: Path) -> None:
    (home / "devbox.toml").write_text(
        '[boxes.a]\n[boxes.a.idle]\nafter = "10m"\n[boxes.b]\n[boxes.b.idle]\nenabled = false\n'
    )
    trace = write(home / "trace.jsonl", day([], 1))
    toml = str(home / "devbox.toml")
    assert "pause after 10m" in call(trace, "--policy", toml, "--box", "a").stdout
    assert "would not have paused" in call(trace, "--policy", toml, "--box", "b").stdout
    with pytest.raises(NotFound):
        call(trace, "--policy", toml)


def test_what_top_prints_is_a_trace_and_boxes_are_kept_apart(home: Path) -> None:
    rows = [
        {"version": 1, "kind": "sample", "box": name, "sample": row}
        for row in day([], 1)
        for name in ("a", "b")
    ]
    trace = write(home / "trace.jsonl", rows)
    assert "720 samples" in call(trace, "--box", "a").stdout
    with pytest.raises(UsageError, match="several boxes"):
        call(trace)


def test_lines_that_are_no_samples_are_counted_and_left_out(home: Path) -> None:
    rows: list[Any] = [*day([], 1), 5, {"x": 1}, {"v": 1, "event": {"seq": 1}}, {"v": 1, "hb": 3}]
    trace = write(home / "trace.jsonl", rows)
    with open(trace, "a") as stream:
        stream.write("\x00\xff garbage\n" + "[" * 100_000 + "\n\n" + "x" * (2 << 20) + "\n")
    result = call(trace)
    assert "720 samples" in result.stdout
    assert "left out, as no samples: " in result.stderr


@pytest.mark.parametrize("content", ["", "\n", "nonsense\n"])
def test_a_file_without_samples_is_an_error(home: Path, content: str) -> None:
    (home / "trace").write_text(content)
    with pytest.raises(UsageError, match="holds no sample"):
        call(str(home / "trace"))


def test_a_bad_duration_is_an_error(home: Path) -> None:
    trace = write(home / "trace", day([], 0.1))
    with pytest.raises(UsageError, match="max-uptime"):
        call(trace, "--max-uptime", "soon")


def test_hostile_names_reach_no_terminal(home: Path) -> None:
    rows = day([], 1)
    for row in rows:
        row["jobs"] = ["\x1b]0;evil\x07\nfoo"]
    result = call(write(home / "trace", rows))
    assert "\x1b" not in result.stdout
    assert "job  foo runs" in result.stdout
