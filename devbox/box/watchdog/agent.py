"""What the watchdog does each second: one sample of the box, a verdict, and what follows from it.

It survives whatever one of its parts meets: the fault becomes an event and the loop continues, so
that neither a broken driver nor a full disk keeps a box past its ceiling.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import deque
from pathlib import Path
from typing import Callable, Deque, Dict, Mapping, NamedTuple, Optional, Protocol, Tuple, TypeVar

from devbox.box import event_log, json_file, processes
from devbox.box.files import volume_save
from devbox.box.notices.courier import Courier
from devbox.box.probes.gpu.health import Health
from devbox.box.probes.terminals import Terminals
from devbox.box.runs import folder, then
from devbox.box.watchdog import config, policy
from devbox.box.watchdog.deadline import Moment
from devbox.box.watchdog.digest import Digests
from devbox.box.watchdog.effects import BoxEffects
from devbox.box.watchdog.escalation import CALM, Effects, Rung, Watchdog
from devbox.box.watchdog.then import Order
from devbox.box.with_timeout import within
from devbox.wire.codec import Word
from devbox.wire.messages import Arming, Identity, Verdict, WatchdogConfig

T = TypeVar("T")

JUDGE_EVERY = 5.0  # seconds between verdicts; sampling is once a second
_FAULT_EVERY = 600.0  # seconds before the same fault is told again
_RETRY_SAMPLER = 60.0
_LOG_MOST = 1 << 20  # bytes of agent.log
_SYNC_MOST = 3600.0  # seconds a sync before the pause may ask not to count
_TELLING = 2.0  # seconds to tell what was saved before a pause: a volume may hang
_SETTLE_EVERY = 60.0  # seconds between looks for runs whose supervisor died
# After a warning ssh traffic counts this much later: a laptop that comes to fetch what the pause
# would lose says so (`keep --syncing`) only once it is logged in, and its login is no use either.
_LATE = 5.0
_STARTING = 90.0  # seconds that a run may take from its order to its first status
_LOOK_EVERY = 60.0  # seconds between looks for files that the end after a run would lose
_OWN_ECHO = 3.0  # seconds in which our own line on a terminal passes through ssh


class Sampler(Protocol):
    def sample(self, now: float) -> Dict[str, object]: ...

    def close(self) -> None: ...


class History(Protocol):
    def append(self, sample: Mapping[str, object]) -> bool: ...

    def close(self) -> None: ...


def running_code() -> str:
    """Names the code this process runs, so that `arm` sees whether the agent's is the same."""
    program = os.path.realpath(sys.argv[0])
    if program.endswith(".pyz"):
        return os.path.basename(program)
    return str(max(path.stat().st_mtime_ns for path in Path(__file__).parents[1].rglob("*.py")))


class Agent:
    """The loop's one second, with its parts handed in. sampler: makes the sampler. digests: what is
    kept for weeks. effects: what
    the ladder does under some orders (default: the real things)."""

    def __init__(
        self,
        root: Path,
        sampler: Callable[[], Sampler],
        history: History,
        *,
        digests: Optional[Digests] = None,
        effects: Callable[[WatchdogConfig], Effects] | None = None,
        ttys: Optional[Terminals] = None,
        owns: Callable[[], bool] = lambda: True,
    ) -> None:
        self._root, self._make, self._history = root, sampler, history
        self._digests, self._owns = digests, owns
        self._ttys = Terminals() if ttys is None else ttys
        self._effects = effects or (lambda given: BoxEffects(root, given, self._ttys, self._spoke))
        self._sampler: Optional[Sampler] = None
        self._made_at = float("-inf")
        self._watch: Optional[_Watch] = None
        self._stamp: Tuple[int, int] = (0, 0)
        self._muted_until = float("-inf")
        self._faults: Dict[str, float] = {}
        self._settled_at: Optional[float] = None
        self._pending: Deque[Tuple[float, object]] = deque()
        self._over = _Over()
        self._sessions: object = None
        self._now = Moment(0.0, 0.0)
        self._health = Health()
        self._courier = Courier(root)

    def tick(self, now: Moment, *, woken: bool = False) -> None:
        """One sample; a verdict and the ladder's steps when they are due. Never raises."""
        self._now = now
        self._guard("orders", self._heed)
        sample = self._guard("sampling", self._sample)
        if sample is not None:
            self._guard("the history", lambda: self._keep(sample))
            self._guard("the GPUs' health", lambda: self._tell_health(sample))
            self._guard("the digests", lambda: self._digest(sample))
        if self._settled_at is None:
            self._settled_at = now.mono
        elif now.mono - self._settled_at >= _SETTLE_EVERY:
            self._settled_at = now.mono
            self._guard("dead runs", folder.settle_dead)
        self._guard("notices", lambda: self._courier.tick(now))
        watch = self._watch
        if watch is None:
            return
        if self._guard("the sample", lambda: self._observe(watch, sample)) is None:
            self._observe(watch, None)
        often = woken or watch.ladder.rung.name != CALM or watch.policy.after < 12 * JUDGE_EVERY
        if often or now.mono - watch.judged_at >= JUDGE_EVERY:
            watch.judged_at = now.mono
            self._guard("the watchdog", lambda: self._judge(watch))
            self._guard("agent.log", _bound_log)

    def close(self) -> None:
        """The end of an agent that was asked to end."""
        self._guard("the history", self._history.close)
        if self._digests is not None:
            self._guard("the digests", self._digests.close)
        if self._sampler is not None:
            self._guard("sampling", self._sampler.close)

    def _heed(self) -> None:
        """Take new orders when config.json changed, and say whose are followed."""
        stamp = config.stamp(self._root)
        if self._stamp == stamp or not self._owns():
            return
        given = config.read(self._root, self._now)
        self._stamp = stamp  # from before reading: what came meanwhile is read at the next tick
        known = self._watch and self._watch.given
        if given is not None and self._watch and _is_amended(self._watch.given, given):
            self._watch.amend(given)
        elif given is not None and given != known:
            self._watch = self._obey(given)
            self._guard("what was saved before a pause", lambda: self._tell_saved(given))
        me, order = processes.identity(os.getpid()), given.armed.id if given else ""
        if me is not None:
            json_file.write(self._root / "agent.json", RunningAgent(*me, running_code(), order))

    def _tell_saved(self, given: WatchdogConfig) -> None:
        """Before the orders are answered, so that whoever armed the box reads it then."""
        if given.volumes:
            within(_TELLING, lambda: volume_save.tell(self._root, given.volumes, given.box))

    def _obey(self, given: WatchdogConfig) -> _Watch:
        effects, rung = self._effects(given), None
        state = policy.begin(self._now, config.ceiling(given), config.allowance(given))
        saved = json_file.load(self._root / "ladder.json", _Saved) if self._watch is None else None
        # An agent that was killed a moment ago continues where it stood, under the same config.
        if saved and (saved.orders, saved.boot) == (given.armed.id, processes.boot_id()):
            if 0 <= self._now.mono - saved.mono <= policy.tuning_of(given.policy).patience:
                state = policy.restored(state, saved.idle, self._now)
                rung = saved.rung
                effects.event("restarted", "the watchdog was restarted and continues")
            else:
                message = "the watchdog was not running; the idle clock begins afresh"
                effects.event("restarted", message)
        can_pause = given.pause is not None
        ladder = Watchdog(given.policy, given.box, effects, can_pause=can_pause, rung=rung)
        return _Watch(given, state, ladder, effects)

    def _sample(self) -> Optional[Dict[str, object]]:
        if self._sampler is None:
            if self._now.mono - self._made_at < _RETRY_SAMPLER:
                return None
            self._made_at = self._now.mono
            self._sampler = self._make()
        sample = self._sampler.sample(self._now.wall)
        sample["tty"] = self._ttys.look(self._now.mono)
        return sample

    def _keep(self, sample: Mapping[str, object]) -> None:
        if not self._history.append(sample):
            raise OSError("the disk does not take it")

    def _digest(self, sample: Mapping[str, object]) -> None:
        if self._digests is not None:
            self._digests.add(sample, self._watch.verdict if self._watch else None)

    def _tell_health(self, sample: Mapping[str, object]) -> None:
        for kind, message in self._health.observe(sample.get("gpus"), self._now.mono):
            if self._watch is not None:
                self._watch.effects.event(kind, message)
            else:
                event_log.append(self._root, kind, message)

    def _observe(self, watch: _Watch, sample: Optional[Mapping[str, object]]) -> bool:
        muted = self._muted()
        ssh = sample.get("ssh") if sample else None
        self._sessions = ssh.get("sessions") if isinstance(ssh, dict) else None
        sample = self._late(sample, calm=watch.ladder.rung.name == CALM, syncing=all(muted))
        watch.state = policy.observe(watch.policy, watch.state, sample, self._now, muted=muted)
        return True

    def _late(
        self, sample: Optional[Mapping[str, object]], *, calm: bool, syncing: bool
    ) -> Optional[Mapping[str, object]]:
        """The sample with its ssh counters as they were _LATE ago, while a pause is announced."""
        if sample is None or calm or syncing:
            self._pending.clear()
            return sample
        self._pending.append((self._now.mono, sample.get("ssh")))
        due = self._now.mono - _LATE
        while len(self._pending) > 1 and self._pending[1][0] <= due:
            self._pending.popleft()
        at, part = self._pending[0]
        return {**sample, "ssh": part if at <= due else None}

    def _judge(self, watch: _Watch) -> None:
        now = self._now
        watch.state = watch.state._replace(
            hold=config.hold(self._root, now),
            then=self._guard("the order of a run", lambda: self._then(watch)),
        )
        verdict = policy.judge(watch.policy, watch.state, now)
        verdict = watch.verdict = watch.ladder.tick(verdict, watch.state, now)
        json_file.write(self._root / "verdict.json", verdict)
        idle = policy.summary(watch.policy, watch.state, now)
        saved = _Saved(watch.given.armed.id, processes.boot_id(), now.mono, watch.ladder.rung, idle)
        json_file.write(self._root / "ladder.json", saved)

    def _then(self, watch: _Watch) -> Optional[Order]:
        """What was ordered with a run, and how that run is."""
        order = then.read(self._root)
        if order is None:
            return None
        now = self._now
        since = order.mono if order.boot == processes.boot_id() else float("-inf")
        found = Order(order.do, order.run, since)
        status = folder.RunFolder(order.run).settled()
        if status is None:  # not started yet, or never
            if 0 <= now.wall - order.given < _STARTING:
                return found
        elif not status.is_over:
            return found
        ended = status.state if status else "did not start"
        if self._over.order != order:
            self._over = _Over(order, now.mono)
        if now.mono >= self._over.look:
            self._over.files = not watch.given.volumes and bool(watch.effects.at_risk())
            self._over.look = now.mono + _LOOK_EVERY
        # A computer that was closed while it fetched has no login left, but its note of it.
        fetching = all(self._muted()) and self._sessions != 0
        if self._over.files or fetching:
            self._over.since = now.mono  # a minute and its warning come after that
        return found._replace(
            over=self._over.since, ended=ended, files=self._over.files, fetching=fetching
        )

    def _muted(self) -> Tuple[bool, bool]:
        """ssh directions that do not count now: a sync that belongs to the pause, our own lines."""
        syncing = json_file.read(self._root / "syncing.json") or {}
        until = json_file.number(syncing.get("until")) or 0.0
        if self._now.wall < until <= self._now.wall + _SYNC_MOST:
            return True, True
        return False, self._now.mono < self._muted_until

    def _spoke(self) -> None:
        self._muted_until = self._now.mono + _OWN_ECHO

    def _guard(self, what: str, work: Callable[[], T]) -> Optional[T]:
        try:
            return work()
        except Exception as error:  # one broken part must not stop the watchdog
            if self._now.mono - self._faults.get(what, float("-inf")) >= _FAULT_EVERY:
                self._faults[what] = self._now.mono
                fault = f"{what}: {type(error).__name__}: {error}"
                print(fault, file=sys.stderr, flush=True)
                try:
                    event_log.append(self._root, "fault", fault)
                except OSError as second:
                    print(f"events: {second}", file=sys.stderr, flush=True)
            return None


class RunningAgent(NamedTuple):
    """agent.json: the running agent, its code, and the id of the arming that it follows."""

    pid: int
    started: Word
    boot: Word
    code: Word = ""
    orders: Word = ""

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.started, self.boot)


class _Saved(NamedTuple):
    """ladder.json: where an agent stood at `mono` of that boot, under the config of that arming."""

    orders: str
    boot: str
    mono: float
    rung: Rung
    idle: policy.Idle


class _Over:
    """The run of an order is over. since: when (mono) that was first seen, or that files or a fetch
    were waited for. files: some would be
    lost, as at the last look; look: when (mono) the next one is due."""

    def __init__(self, order: Optional[then.Order] = None, since: float = 0.0) -> None:
        self.order, self.since = order, since
        self.files, self.look = False, since


class _Watch:
    """Orders being followed, and how far."""

    def __init__(
        self, given: WatchdogConfig, state: policy.State, ladder: Watchdog, effects: Effects
    ) -> None:
        self.given, self.policy, self.state, self.ladder = given, given.policy, state, ladder
        self.effects = effects
        self.judged_at = float("-inf")
        self.verdict: Optional[Verdict] = None

    def amend(self, given: WatchdogConfig) -> None:
        """Orders that differ in what may be spent: the idle clock and the ladder continue."""
        ceiling, budget = config.ceiling(given), config.allowance(given)
        self.given, self.state = given, self.state._replace(ceiling=ceiling, budget=budget)


def _is_amended(known: WatchdogConfig, given: WatchdogConfig) -> bool:
    """Whether orders that arrived after others differ from them only in what may be spent."""
    if known.armed.id == given.armed.id:
        return False
    before, after = (
        each._replace(sent=None, budget=None, armed=Arming()) for each in (known, given)
    )
    return before == after


def _bound_log() -> None:
    """agent.log is our stderr; it begins again when it has grown too long."""
    about = os.fstat(2)
    if stat.S_ISREG(about.st_mode) and about.st_size > _LOG_MOST:
        os.ftruncate(2, 0)
