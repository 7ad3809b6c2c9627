"""The idle policy: a pure function from samples and events to a verdict with its reasons.

    state = begin(now)
    state, verdict = step(policy, state, sample, now)     # once for every sample

A box is idle while nothing is in use: no job runs, GPU and CPU are quiet, nobody works over ssh,
nothing is served or downloaded, and no VRAM is held (or held for longer than `stuck_after`). After
`after` seconds of that it pauses, with a warning first. `hold` (devbox keep) moves the pause, and
the ceiling (max_uptime) ends everything. What counts as use is said in devbox.box.watchdog.signals.

- Silence is not idleness: a value that stops coming counts as use, until the ceiling. With no
  sample at all the box is not idle. Idle time is only ever time that was watched.
- After a jump of the wall clock or a stretch nobody watched (suspend, a frozen process) the idle
  clock begins afresh, and the ceiling stays.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from devbox.box.format import brief
from devbox.box.json_file import number
from devbox.box.watchdog.deadline import Ceiling, Moment
from devbox.box.watchdog.signals import ACTIVE, QUIET, SILENT, Finding, Tuning
from devbox.box.watchdog.signals.gpus import Gpu, Gpus
from devbox.box.watchdog.signals.machine import Cpu, Network
from devbox.box.watchdog.signals.traffic import Ssh, Terminals
from devbox.box.watchdog.signals.work import Jobs, Requests

IDLE, CEILING = "idle", "ceiling"
_NEVER = float("inf")
_MUTED_BOTH, _MUTED_NONE = (True, True), (False, False)


class Policy(NamedTuple):
    """Fields and units as in devbox.spec.Idle: seconds, per cent, bytes a minute."""

    enabled: bool = True
    after: float = 1800.0
    warn: float = 300.0
    stuck_after: float = 7200.0
    gpu_util: float = 5.0
    cpu_util: float = 20.0
    ssh_bytes: float = 2048.0
    net_bytes: float = 64.0 * (1 << 20)
    save_command: Tuple[str, ...] = ()
    save_timeout: float = 120.0

    @property
    def tuning(self) -> Tuning:
        """Windows are a minute, and shorter when `after` is."""
        return Tuning(
            window=min(60.0, self.after / 2),
            patience=min(60.0, max(10.0, self.after / 2)),
            gpu_util=self.gpu_util,
            cpu_util=self.cpu_util,
            ssh_bytes=self.ssh_bytes,
            net_bytes=self.net_bytes,
            stuck_after=self.stuck_after,
        )

    @classmethod
    def read(cls, fields: Dict[str, Any]) -> Policy:
        """From JSON. ValueError names the field that is wrong; unknown ones are left alone."""
        values: Dict[str, Any] = {}
        for name, default in zip(cls._fields, cls()):
            if name not in fields:
                continue
            value = fields[name]
            if isinstance(default, bool):
                good = isinstance(value, bool)
            elif isinstance(default, tuple):
                good = isinstance(value, list) and all(isinstance(item, str) for item in value)
                value = tuple(value) if good else value
            else:
                value = number(value)
                good = value is not None and (name != "after" or value > 0)
            if not good:
                raise ValueError(f"policy.{name} is not what it should be")
            values[name] = value
        return cls(**values)


class State(NamedTuple):
    """Everything remembered between samples. armed: when watching began (mono), or began afresh;
    blind: the last moment (mono) a signal was silent; hold: no idle pause before (mono)."""

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


class Verdict(NamedTuple):
    """state: active, idle, held (idle, but kept), warned (the pause is near), saving, pausing.
    idle_for: seconds. pauses_at: when it would pause as things stand now, by the box's clock, and
    cause: for which of "idle" and "ceiling"; None where nothing would. keep_until, deadline: unix
    seconds; warned: whether the person has been told. due: pauses_at on the mono clock."""

    state: str
    idle_for: float
    pauses_at: Optional[float]
    cause: Optional[str]
    reasons: Tuple[str, ...]
    keep_until: Optional[float]
    deadline: Optional[float]
    warned: bool = False
    due: float = _NEVER

    def as_json(self) -> Dict[str, Any]:
        fields = self._asdict()
        del fields["due"]
        return {**fields, "reasons": list(self.reasons), "idle_for": round(self.idle_for, 1)}


def begin(now: Moment, ceiling: Optional[Ceiling] = None) -> State:
    """The state of a box that is armed now."""
    return State(last=now, armed=now.mono, ceiling=ceiling)


def step(
    policy: Policy, state: State, sample: Optional[Dict[str, Any]], now: Moment
) -> Tuple[State, Verdict]:
    """One sample (None: none could be taken) and the verdict after it."""
    state = observe(policy, state, sample, now)
    return state, judge(policy, state, now)


def observe(
    policy: Policy,
    state: State,
    sample: Optional[Dict[str, Any]],
    now: Moment,
    *,
    muted: Tuple[bool, bool] = _MUTED_NONE,
) -> State:
    """Fold one sample in. muted: ssh directions (in, out) whose bytes are our own doing now."""
    tuning = policy.tuning
    if _is_gap(state.last, now, tuning.patience):
        state, muted = _afresh(state, now), _MUTED_BOTH
    part = sample or {}
    mono = now.mono
    state = state._replace(
        last=now,
        cpu=state.cpu.observe(part.get("cpu"), tuning, mono),
        network=state.network.observe(part.get("net"), tuning, mono),
        gpus=state.gpus.observe(part.get("gpus"), tuning, mono),
        ssh=state.ssh.observe(part.get("ssh"), tuning, mono, muted=muted),
        terminals=state.terminals.observe(part.get("tty"), mono),
        jobs=state.jobs.observe(part.get("jobs"), mono),
        requests=state.requests.observe(part.get("requests"), mono),
    )
    silent = any(finding.kind == SILENT for finding in _findings(state, tuning, mono))
    known = state.cpu.seen is not None or bool(state.gpus.known) or state.ssh.seen is not None
    return state._replace(blind=mono) if silent or not known else state


def judge(policy: Policy, state: State, now: Moment) -> Verdict:
    """The verdict at `now` on what was observed so far."""
    tuning = policy.tuning
    findings = _findings(state, tuning, now.mono)
    quiet_since = last_use(policy, state, now)
    idle_for = max(0.0, now.mono - quiet_since)
    held = state.hold is not None and state.hold > now.mono
    idle_due = _NEVER
    if policy.enabled:
        idle_due = max(quiet_since + policy.after, state.hold or 0.0)
    ceiling_due = state.ceiling.due(now) if state.ceiling else _NEVER
    cause = IDLE if idle_due < ceiling_due else CEILING
    due = min(idle_due, ceiling_due)
    ahead = min(policy.warn, policy.after - tuning.window) if cause == IDLE else 0.0
    if cause == CEILING and state.ceiling:
        ahead = state.ceiling.warn
    active = any(f.kind in (ACTIVE, SILENT) for f in findings)
    if not active and idle_for < tuning.window:
        active = True
        findings = [Finding(ACTIVE, f"it was in use {brief(idle_for)} ago"), *findings]
    if now.mono >= due:
        name = "pausing"
    elif now.mono >= due - ahead:
        name = "warned"
    elif active:
        # In use now: as things stand only the ceiling ends it.
        name, due = "active", ceiling_due
        cause = CEILING
    else:
        name = "held" if held else "idle"
    return Verdict(
        state=name,
        idle_for=idle_for,
        pauses_at=None if due == _NEVER else now.wall + due - now.mono,
        cause=None if due == _NEVER else cause,
        reasons=_reasons(policy, state, findings, now, cause == CEILING and name != "active"),
        keep_until=now.wall + state.hold - now.mono if held and state.hold else None,
        deadline=state.ceiling.deadline if state.ceiling else None,
        due=due,
    )


def uses(policy: Policy, state: State, now: Moment) -> List[str]:
    """In words, what is in use now; empty when nothing is seen to be."""
    return [f.text for f in _findings(state, policy.tuning, now.mono) if f.kind == ACTIVE]


def summary(policy: Policy, state: State, now: Moment) -> Dict[str, Any]:
    """What `restored` needs, as JSON."""
    gpus = {key: [gpu.label, now.mono - gpu.last_use()] for key, gpu in state.gpus.known}
    return {"idle_for": now.mono - last_use(policy, state, now), "gpus": gpus}


def restored(state: State, saved: Any, now: Moment) -> State:
    """`state`, just begun, with the idle times of a watch that ended a moment ago."""
    fields = saved if isinstance(saved, dict) else {}
    idle_for = number(fields.get("idle_for")) or 0.0
    gpus = fields.get("gpus") if isinstance(fields.get("gpus"), dict) else {}
    known = []
    for key, value in (gpus or {}).items():
        label, unused = value if isinstance(value, list) and len(value) == 2 else ("", None)
        seconds = number(unused)
        if seconds is not None:
            since = now.mono - seconds
            known.append((key, Gpu(str(label)[:20], since, util_at=now.mono, memory_at=None)))
    return state._replace(armed=now.mono - idle_for, gpus=Gpus(tuple(known)))


def last_use(policy: Policy, state: State, now: Moment) -> float:
    """The latest moment (mono) anything counted as use, or watching began."""
    times = (
        state.armed,
        state.blind,
        state.cpu.used,
        state.network.used,
        state.gpus.last_active(policy.tuning, now.mono),
        person_use(state),
    )
    return max(at for at in times if at is not None)


def person_use(state: State) -> Optional[float]:
    """The latest moment (mono) a person, a client or a job used the box: what tells somebody who
    came back from the work of our own save hooks."""
    times = (state.ssh.used, state.terminals.used, state.jobs.used, state.requests.used)
    return max((at for at in times if at is not None), default=None)


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
    policy: Policy, state: State, findings: List[Finding], now: Moment, ends: bool
) -> Tuple[str, ...]:
    """What decides first: the ceiling when it is that, then use, silence, and what is quiet."""
    out: List[str] = []
    if ends and state.ceiling:
        left = state.ceiling.due(now) + state.ceiling.lead - now.mono
        out.append(f"max_uptime is reached in {brief(left)}" if left > 0 else "max_uptime reached")
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
    return begin(now, state.ceiling)._replace(
        hold=state.hold,
        cpu=Cpu(cores=state.cpu.cores, seen=_kept(state.cpu.seen, mono)),
        gpus=Gpus(gpus, _kept(state.gpus.seen, mono)),
        ssh=Ssh(last=state.ssh.last, since=mono, seen=_kept(state.ssh.seen, mono)),
        jobs=Jobs(seen=_kept(state.jobs.seen, mono)),
        terminals=Terminals(state.terminals.input_at),
        requests=Requests(state.requests.total),
    )


def _kept(seen: Optional[float], now: float) -> Optional[float]:
    return None if seen is None else now
