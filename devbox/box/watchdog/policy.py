"""The idle policy: a pure function from samples and events to a verdict with its reasons.

    state = begin(now)
    state, verdict = step(policy, state, sample, now)     # once for every sample

A box is idle while nothing is in use: no job runs, GPU and CPU are quiet, nobody works over ssh,
nothing is served or downloaded, and no VRAM is held (or held for longer than `stuck_after`, or
while a service runs, whose requests count instead). After `after` seconds of that it pauses, with
a warning first. `hold` (devbox keep) moves the pause; the ceiling (max_uptime) and the budget end
everything.
What counts as use is said in devbox.box.watchdog.signals.

- Silence is not idleness: a value that stops coming counts as use, until the ceiling. With no
  sample at all the box is not idle. Idle time is only ever time that was watched.
- After a jump of the wall clock or a stretch nobody watched (suspend, a frozen process) the idle
  clock begins afresh, and the ceiling stays.
"""

from __future__ import annotations

from typing import Annotated, Dict, Final, List, Mapping, NamedTuple, Optional, Tuple

from devbox.box.format import brief
from devbox.box.watchdog import then as after_run
from devbox.box.watchdog.deadline import Ceiling, Moment
from devbox.box.watchdog.signals import ACTIVE, QUIET, SILENT, Finding, Tuning
from devbox.box.watchdog.signals.gpus import Gpu, Gpus
from devbox.box.watchdog.signals.machine import Cpu, Network
from devbox.box.watchdog.signals.traffic import Ssh, Terminals
from devbox.box.watchdog.signals.work import Jobs, Requests
from devbox.box.watchdog.then import Order
from devbox.wire.codec import Text
from devbox.wire.messages import Cause, Policy, Then, Verdict, VerdictState

IDLE: Final = "idle"
CEILING: Final = "ceiling"
BUDGET: Final = "budget"
THEN: Final = "then"
_NEVER = float("inf")
_MUTED_BOTH, _MUTED_NONE = (True, True), (False, False)


class State(NamedTuple):
    """Everything remembered between samples. armed: when watching began (mono), or began afresh;
    blind: the last moment (mono) a signal was silent; hold: no idle pause before (mono); then: what
    was ordered with a run."""

    last: Moment
    armed: float
    cpu: Cpu = Cpu()
    network: Network = Network()
    gpus: Gpus = Gpus()
    ssh: Ssh = Ssh()
    terminals: Terminals = Terminals()
    jobs: Jobs = Jobs()
    requests: Requests = Requests()
    blind: Optional[float] = None
    hold: Optional[float] = None
    ceiling: Optional[Ceiling] = None
    budget: Optional[Ceiling] = None
    then: Optional[Order] = None

    def end(self, now: Moment) -> Tuple[Optional[Ceiling], Cause]:
        """What ends everything, and comes first."""
        if self.budget and (not self.ceiling or self.budget.due(now) < self.ceiling.due(now)):
            return self.budget, BUDGET
        return self.ceiling, CEILING


def tuning_of(policy: Policy) -> Tuning:
    """Windows are a minute, and shorter when `after` is."""
    return Tuning(
        window=min(60.0, policy.after / 2),
        patience=min(60.0, max(10.0, policy.after / 2)),
        gpu_util=policy.gpu_util,
        cpu_util=policy.cpu_util,
        ssh_bytes=policy.ssh_bytes,
        net_bytes=policy.net_bytes,
        stuck_after=policy.stuck_after,
    )


def begin(
    now: Moment, ceiling: Optional[Ceiling] = None, budget: Optional[Ceiling] = None
) -> State:
    """The state of a box that is armed now."""
    return State(last=now, armed=now.mono, ceiling=ceiling, budget=budget)


def step(
    policy: Policy, state: State, sample: Optional[Mapping[str, object]], now: Moment
) -> Tuple[State, Verdict]:
    """One sample (None: none could be taken) and the verdict after it."""
    state = observe(policy, state, sample, now)
    return state, judge(policy, state, now)


def observe(
    policy: Policy,
    state: State,
    sample: Optional[Mapping[str, object]],
    now: Moment,
    *,
    muted: Tuple[bool, bool] = _MUTED_NONE,
) -> State:
    """Fold one sample in. muted: ssh directions (in, out) whose bytes are our own doing now."""
    tuning = tuning_of(policy)
    if _is_gap(state.last, now, tuning.patience):
        state, muted = _afresh(state, now), _MUTED_BOTH
    part = sample or {}
    mono = now.mono
    state = state._replace(
        last=now,
        cpu=state.cpu.observe(part.get("cpu"), tuning, mono),
        network=state.network.observe(part.get("net"), tuning, mono),
        gpus=state.gpus.observe(
            part.get("gpus"),
            tuning,
            mono,
            serving=part.get("in_flight") is not None or bool(part.get("waiting")),
        ),
        ssh=state.ssh.observe(part.get("ssh"), tuning, mono, muted=muted),
        terminals=state.terminals.observe(part.get("tty"), mono),
        jobs=state.jobs.observe(part.get("jobs"), part.get("waiting"), mono),
        requests=state.requests.observe(part.get("requests"), part.get("in_flight"), mono),
    )
    silent = any(finding.kind == SILENT for finding in _findings(state, tuning, mono))
    known = state.cpu.seen is not None or bool(state.gpus.known) or state.ssh.seen is not None
    return state._replace(blind=mono) if silent or not known else state


def judge(policy: Policy, state: State, now: Moment) -> Verdict:
    """The verdict at `now` on what was observed so far."""
    tuning = tuning_of(policy)
    findings = _findings(state, tuning, now.mono)
    quiet_since = last_use(policy, state, now)
    idle_for = max(0.0, now.mono - quiet_since)
    held = state.hold is not None and state.hold > now.mono
    idle_due = _NEVER
    if policy.enabled:
        idle_due = max(quiet_since + policy.after, state.hold or 0.0)
    end, ends = state.end(now)
    end_due = end.due(now) if end else _NEVER
    then_due, then = _then(policy, state, now)
    due = min(idle_due, end_due, then_due)
    cause: Cause = ends
    ahead = end.warn if end else 0.0
    if due == then_due < end_due:
        cause, ahead = THEN, after_run.grace(policy)
    elif due < end_due:
        cause, ahead = IDLE, min(policy.warn, policy.after - tuning.window)
    name: VerdictState
    active = any(f.kind in (ACTIVE, SILENT) for f in findings)
    if not active and idle_for < tuning.window:
        active = True
        findings = [Finding(ACTIVE, f"it was in use {brief(idle_for)} ago"), *findings]
    if now.mono >= due:
        name = "pausing"
    elif now.mono >= due - ahead:
        name = "warned"
    elif active:
        # In use now: as things stand only max_uptime or the budget ends it.
        name, due, cause = "active", end_due, ends
    else:
        name = "held" if held else "idle"
    ends_it = cause not in (IDLE, THEN) and name != "active"
    return Verdict(
        state=name,
        idle_for=idle_for,
        pauses_at=None if due == _NEVER else now.wall + due - now.mono,
        cause=None if due == _NEVER else cause,
        now=now.wall,
        reasons=(
            *((then.text,) if then else ()),
            *_reasons(policy, state, findings, now, end if ends_it else None),
        )[:20],
        keep_until=now.wall + state.hold - now.mono if held and state.hold else None,
        deadline=state.ceiling.deadline if state.ceiling else None,
        then=then,
    )


def _then(policy: Policy, state: State, now: Moment) -> Tuple[float, Optional[Then]]:
    """When (mono) what was ordered with a run is due."""
    if state.then is None:
        return _NEVER, None
    times = (state.ssh.used, state.terminals.used, state.requests.used)
    user = max((at for at in times if at is not None), default=None)
    patience = tuning_of(policy).patience
    return after_run.judge(policy, state.then, state.jobs, user, state.hold, now.mono, patience)


def uses(policy: Policy, state: State, now: Moment) -> List[str]:
    """In words, what is in use now; empty when nothing is seen to be."""
    return [f.text for f in _findings(state, tuning_of(policy), now.mono) if f.kind == ACTIVE]


class Idle(NamedTuple):
    """What `restored` needs. gpus: key → label and seconds without use."""

    idle_for: float = 0.0
    gpus: Dict[str, Tuple[Annotated[str, Text(20)], float]] = {}  # noqa: RUF012 - never written to


def summary(policy: Policy, state: State, now: Moment) -> Idle:
    """The idle times up to now."""
    gpus = {key: (gpu.label, now.mono - gpu.last_use()) for key, gpu in state.gpus.known}
    return Idle(now.mono - last_use(policy, state, now), gpus)


def restored(state: State, saved: Idle, now: Moment) -> State:
    """`state`, just begun, with the idle times of a watch that ended a moment ago."""
    known = tuple(
        (key, Gpu(label, now.mono - seconds, util_at=now.mono, memory_at=None))
        for key, (label, seconds) in saved.gpus.items()
    )
    return state._replace(armed=now.mono - saved.idle_for, gpus=Gpus(known))


def last_use(policy: Policy, state: State, now: Moment) -> float:
    """The latest moment (mono) anything counted as use, or watching began."""
    times = (
        state.armed,
        state.blind,
        state.cpu.used,
        state.network.used,
        state.gpus.last_active(tuning_of(policy), now.mono),
        person_use(state),
    )
    return max(at for at in times if at is not None)


def person_use(state: State) -> Optional[float]:
    """The latest moment (mono) a user, a client or a job used the box: what tells someone who
    came back from the work of our own save hooks."""
    times = (state.ssh.used, state.terminals.used, state.jobs.used, state.requests.used)
    return max((at for at in times if at is not None), default=None)


def gpu_use(state: State) -> Optional[float]:
    """The latest moment (mono) a GPU was at work, or its memory grew or shrank."""
    return max((gpu.used for _, gpu in state.gpus.known if gpu.used is not None), default=None)


def _findings(state: State, tuning: Tuning, mono: float) -> List[Finding]:
    return [
        *state.jobs.findings(tuning, mono),
        *state.gpus.findings(tuning, mono),
        *state.cpu.findings(tuning, mono),
        *state.network.findings(tuning, mono),
        *state.terminals.findings(tuning, mono),
        *state.ssh.findings(tuning, mono),
        *state.requests.findings(tuning, mono),
    ]


def _reasons(
    policy: Policy,
    state: State,
    findings: List[Finding],
    now: Moment,
    end: Optional[Ceiling],
) -> Tuple[str, ...]:
    """What decides first: max_uptime or the budget when it is that, then use, silence, and what
    is quiet."""
    out: List[str] = []
    if end:
        left = end.over(now) - now.mono
        reached = f"{end.name} is reached in {brief(left)}" if left > 0 else f"{end.name} reached"
        out.append(reached)
    if not policy.enabled:
        out.append("the idle policy is switched off")
    if state.hold is not None and state.hold > now.mono:
        out.append(f"kept for another {brief(state.hold - now.mono)}")
    if state.blind is not None and not any((state.cpu.seen, state.gpus.seen, state.ssh.seen)):
        out.append("nothing could be measured yet; silence is not idleness")
    for kind in (ACTIVE, SILENT, QUIET):
        out += [finding.text for finding in findings if finding.kind == kind]
    return tuple(out[:20])


def _is_gap(before: Moment, now: Moment, patience: float) -> bool:
    """Time passed that nobody watched: the process stood still, or the wall clock jumped ahead."""
    passed = now.mono - before.mono
    return passed > patience or now.wall - before.wall - passed > patience


def _afresh(state: State, now: Moment) -> State:
    """As armed now, with what is known of the box's parts kept so that a loss shows as silence."""
    mono = now.mono
    gpus = tuple(
        (key, gpu._replace(since=mono, used=None, guarded=None, util_at=_kept(gpu.util_at, mono)))
        for key, gpu in state.gpus.known
    )
    return begin(now, state.ceiling, state.budget)._replace(
        hold=state.hold,
        then=state.then,
        cpu=Cpu(cores=state.cpu.cores, seen=_kept(state.cpu.seen, mono)),
        gpus=Gpus(gpus, _kept(state.gpus.seen, mono)),
        ssh=Ssh(last=state.ssh.last, since=mono, seen=_kept(state.ssh.seen, mono)),
        jobs=Jobs(seen=_kept(state.jobs.seen, mono)),
        terminals=Terminals(state.terminals.input_at),
        requests=Requests(state.requests.total),
    )


def _kept(seen: Optional[float], now: float) -> Optional[float]:
    return None if seen is None else now
