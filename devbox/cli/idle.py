"""The `idle` group: the idle policy tried on what was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from devbox.cli.common import box_option, echo, json_option, narrate, print_json
from devbox.errors import UsageError

if TYPE_CHECKING:
    from devbox import spec
    from devbox.telemetry.replay import Replay
    from devbox.wire.codec import JsonObject
    from devbox.wire.messages import Policy


@click.group("idle")
def idle_command() -> None:
    """Try the idle policy on recorded samples.

    \b
    devbox top BOX --json > trace.jsonl
    devbox idle replay trace.jsonl
    """


@idle_command.command("replay")
@click.argument("trace", type=click.File("rb"))
@click.option(
    "--policy",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the policy of a box in this devbox.toml (default: the built-in one).",
)
@box_option("Whose policy, and whose samples, when there are several.", "name")
@click.option("--max-uptime", help="A ceiling from the first sample on, such as 8h.")
@click.option("--price", type=click.FloatRange(min=0), help="Dollars an hour, to tell the saving.")
@json_option
def replay_command(
    trace: IO[bytes],
    file: Path | None,
    name: str | None,
    max_uptime: str | None,
    price: float | None,
    as_json: bool,
) -> None:
    """Show when the idle policy would have warned and paused over TRACE, and why.

    TRACE holds a sample a line, as `devbox top --json` prints and the box's history keeps them;
    - is stdin.
    """
    from devbox.model import Price
    from devbox.state.costs import cost
    from devbox.telemetry.replay import replay
    from devbox.text import counted, parse_duration

    try:
        ceiling = parse_duration(max_uptime) if max_uptime else None
    except ValueError as error:
        raise UsageError(f"--max-uptime: {error}") from error
    policy = _policy(file, name)
    lines = _Lines(trace, name)
    found = replay(policy, lines, max_uptime=ceiling)
    if not found.samples:
        raise UsageError(
            f"{trace.name} holds no sample", fix="record one with: devbox top --json > trace.jsonl"
        )
    saved = None if price is None else cost(Price(round(price * 1_000_000)), found.off)
    if as_json:
        print_json(
            "idle-replay",
            start=found.start,
            end=found.end,
            samples=found.samples,
            skipped=lines.skipped,
            changes=found.changes,
            pauses=found.pauses,
            off_seconds=found.off,
            saved_micro=saved,
        )
        return
    if lines.skipped:
        narrate(f"left out, as no samples: {counted(lines.skipped, 'line')}")
    _print(found, policy, saved)


def _policy(file: Path | None, name: str | None) -> Policy:
    from devbox import spec
    from devbox.providers.guarded import policy_of

    wanted: spec.Idle = spec.load(file).box(name)[1].idle if file else spec.Idle()
    return policy_of(wanted)


class _Lines:
    """The samples in a file; what is none is counted. UsageError for those of several boxes."""

    def __init__(self, stream: IO[bytes], box: str | None) -> None:
        self._stream, self._box = stream, box
        self.skipped = 0

    def __iter__(self) -> Iterator[JsonObject]:
        from devbox.wire.codec import MAX_LINE, clean, load_or_none

        first: str | None = None
        while line := self._stream.readline(MAX_LINE + 1):
            body = load_or_none(line) or {}
            sample, box = body.get("sample", body), body.get("box")
            if isinstance(box, str) and self._box not in (None, box):
                continue
            if isinstance(box, str) and first not in (None, box):
                raise UsageError(
                    "the trace holds samples of several boxes",
                    fix=f"choose one, such as: --box {clean(str(first), 40)}",
                )
            first = box if isinstance(box, str) else first
            if isinstance(sample, dict) and "t" in sample and "boot" in sample:
                yield sample
            elif line.strip() and "event" not in body and "hb" not in body:
                self.skipped += 1


def _print(found: Replay, policy: Policy, saved: int | None) -> None:
    from devbox.text import brief, clean, dollars

    rules = f"pause after {brief(policy.after)}, warned {brief(policy.warn)} before"
    rules += f", VRAM stuck after {brief(policy.stuck_after)}"
    length = found.end - found.start
    echo(f"{found.samples:,} samples over {brief(length)}; {rules}")
    for change in found.changes:
        why = clean("; ".join(change.reasons[:4]), 200).replace("\n", " ")
        if change.state == "paused":
            hooks = "save command and " if policy.save_command else ""
            why = f"after {hooks}unsynced list, quiet for {brief(change.idle_for)}: {why}"
        echo(f"{brief(change.at - found.start):>7}  {change.state:7}  {why}")
    for pause in found.pauses:
        if pause.needed:
            at = brief(pause.end - pause.start)
            needed = clean(pause.needed, 120)
            echo(f"a resume would have been needed {at} after a pause: {needed}")
    share = 100 * found.off / length if length else 0.0
    told = "" if saved is None else f", {dollars(saved)} saved"
    count = len(found.pauses)
    times = "once" if count == 1 else f"{count} times"
    verb = f"would have paused {times}" if count else "would not have paused"
    echo(f"{verb}: off for {brief(found.off)} of {brief(length)} ({share:.0f} %){told}")
