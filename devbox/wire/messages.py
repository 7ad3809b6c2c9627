"""Every message between the two halves, as a NamedTuple. What is accepted: see `codec`.

A float is in seconds, and a `Time` in unix seconds by the clock of who sent it, unless a docstring
says other.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Optional, Tuple

from devbox.wire.codec import Between, Exactly, Json, Most, Number, Text, Time, Word
from devbox.wire.notices import Notify

VerdictState = Literal["active", "idle", "held", "warned", "saving", "pausing"]
Cause = Literal["idle", "ceiling", "budget", "then"]
End = Literal["pause", "down"]
Waits = Literal["", "run", "others", "answer", "keep", "use", "files", "fetch"]


class Policy(NamedTuple):
    """When a box counts as idle; the fields and their units are those of devbox.spec.Idle: seconds,
    per cent, bytes a minute."""

    enabled: bool = True
    after: Annotated[float, Between(1e-9)] = 1800.0
    warn: float = 300.0
    stuck_after: float = 7200.0
    gpu_util: float = 5.0
    cpu_util: float = 20.0
    ssh_bytes: float = 2048.0
    net_bytes: float = 64.0 * (1 << 20)
    save_command: Tuple[Word, ...] = ()
    save_timeout: float = 120.0


class PauseRecipe(NamedTuple):
    """How the box asks its own provider to pause it.

    exec: run `argv`; exit code 0 is acceptance. http: `method` to `url` with the token that the
    variable `token_env` holds and `body` as JSON; a 2xx reply is acceptance. armed: a file that the
    box's main process waits for (devbox.providers.guarded)."""

    kind: Literal["exec", "http"]
    argv: Tuple[Word, ...] = ()
    method: Literal["POST", "PUT", "DELETE", "PATCH", "GET"] = "POST"
    url: Word = ""
    token_env: Word = ""
    body: Json = None
    armed: Word = ""


class Arming(NamedTuple):
    """The box's own clocks and boot when its config arrived, so that neither a wrong nor a changed
    clock moves the deadline. id: names one arming. left: seconds to the deadline then, where they
    are not counted from `sent`; allowed: the same of the budget."""

    id: Word = ""
    wall: float = 0.0
    mono: float = 0.0
    boot: Word = ""
    left: Optional[Number] = None
    allowed: Optional[Number] = None


class Allowance(NamedTuple):
    """What a box may still spend from `sent` of its orders on. micro: micro-dollars; price: of an
    hour; unit: seconds of the billing unit, of which one that has begun counts whole, 0 for none.
    name: of the budget that would end it."""

    micro: int
    price: Annotated[int, Between(1)]
    unit: int = 0
    name: Annotated[str, Text(120)] = "its budget"


class WatchdogConfig(NamedTuple):
    """What `arm` gives the box, kept there as config.json. deadline: max_uptime's end, None for
    none; pause None: the box cannot pause itself; disk_kept: the files of its own disk outlive a
    pause; volumes: where those are mounted that may be written to.

    notify: what it tells by itself, with the secret that signs it; not in the first config.
    budget: None for no limit before max_uptime; not in the first config.

    The first config, which a box is made with, has `max_uptime` and no times. token: whose config
    it is, for the script that lets a host go (devbox.providers.host.scripts). armed: the box adds
    it."""

    box: Annotated[str, Text(60)]
    policy: Policy
    deadline: Optional[float]
    started: Optional[float] = None
    sent: Optional[float] = None
    pause: Optional[PauseRecipe] = None
    workdir: Word = "work"
    disk_kept: bool = True
    volumes: Tuple[Annotated[str, Exactly("[^\0\ud800-\udfff]+")], ...] = ()
    max_uptime: Optional[float] = None
    token: Word = ""
    notify: Notify = Notify()
    budget: Optional[Allowance] = None
    armed: Arming = Arming()


class Hold(NamedTuple):
    """keep.json: no idle pause until then, by the box's wall clock and, in that boot, by the clock
    that never jumps."""

    until: float
    mono: float
    boot: Word = ""


class Kept(NamedTuple):
    """The answer to `keep`. until: by the asker's clock; capped: max_uptime or a budget comes
    first."""

    until: Time
    capped: bool = False


class Then(NamedTuple):
    """What a box does with itself once a run and all others on it have ended (`devbox run --then`).
    do: it pauses, or ends. waits: for what it has not begun yet: the run, others, an answer which
    runs there are, the end of a `keep`, a user at work, files that are only on it, or a computer
    that fetches them; '' for nothing. text: the same as a sentence, about the box."""

    do: End
    run: Annotated[str, Text(80)]
    waits: Waits = ""
    text: Annotated[str, Text(300)] = ""


class Verdict(NamedTuple):
    """The idle policy's answer. state: active (in use), idle, held (idle, but kept), warned (the
    pause is near), saving, pausing. idle_for: seconds. pauses_at: as things stand, and cause: which
    of idle, ceiling (max_uptime), budget and then it would be; None where nothing would pause it.
    deadline: max_uptime's end, by the clock of who armed it. warned: the user was told. unsynced:
    files of the workdir that changed on the box since they were last fetched, by its own count.
    now: when it was given. silent: seconds without a new verdict, when that is too long. then: what
    was ordered with a run."""

    state: VerdictState
    idle_for: Time
    pauses_at: Optional[Time]
    reasons: Annotated[Tuple[str, ...], Most(20)]
    cause: Optional[Cause] = None
    keep_until: Optional[Time] = None
    deadline: Optional[Time] = None
    warned: bool = False
    unsynced: Annotated[str, Text(100)] = ""
    now: Time = 0.0
    silent: Time = 0.0
    then: Optional[Then] = None


class Cpu(NamedTuple):
    """util: per cent over all `count` cores."""

    util: Optional[float] = None
    count: Optional[int] = None  # type: ignore[assignment] # of tuple.count
    load1: Optional[float] = None


class Memory(NamedTuple):
    """Bytes."""

    used: Optional[int] = None
    total: Optional[int] = None


class Disk(NamedTuple):
    """Fill of the file system at `path`, bytes; traffic of the box's disks, bytes a second."""

    path: Optional[str] = None
    used: Optional[int] = None
    total: Optional[int] = None
    read_bps: Optional[float] = None
    write_bps: Optional[float] = None


class Net(NamedTuple):
    """Bytes a second."""

    rx_bps: Optional[float] = None
    tx_bps: Optional[float] = None


class Ssh(NamedTuple):
    """Logins now; cumulative bytes without devbox's own streams."""

    sessions: Optional[int] = None
    rx_bytes: Optional[int] = None
    tx_bytes: Optional[int] = None


class Tty(NamedTuple):
    """Terminals of the box's user; input_at: the latest keystroke at one."""

    count: Optional[int] = None  # type: ignore[assignment] # of tuple.count
    input_at: Optional[float] = None


class Process(NamedTuple):
    """A process on a GPU. mem_used: bytes of GPU memory."""

    pid: Optional[int] = None
    name: Optional[str] = None
    mem_used: Optional[int] = None


class Gpu(NamedTuple):
    """One GPU. Utilisation in per cent, memory in bytes, watts, degrees Celsius, megahertz.
    throttle: reasons; ecc_errors: uncorrected since boot; xid: a critical error since the last
    sample."""

    index: Optional[int] = None  # type: ignore[assignment] # of tuple.index
    uuid: Optional[str] = None
    name: Optional[str] = None
    util: Optional[float] = None
    mem_util: Optional[float] = None
    mem_used: Optional[int] = None
    mem_total: Optional[int] = None
    power_w: Optional[float] = None
    power_limit_w: Optional[float] = None
    temp_c: Optional[Number] = None
    sm_mhz: Optional[int] = None
    mem_mhz: Optional[int] = None
    throttle: Optional[Annotated[Tuple[str, ...], Most(20)]] = None
    ecc_errors: Optional[int] = None
    mig: Optional[bool] = None
    lost: Optional[bool] = None
    xid: Optional[int] = None
    processes: Optional[Annotated[Tuple[Process, ...], Most(64)]] = None


class TopProcess(NamedTuple):
    """A process that uses much of the box. cpu: per cent of one core since the list before; mem:
    resident bytes."""

    pid: int
    name: str
    cpu: float
    mem: int


class Use(NamedTuple):
    """What a digest stands for: the policy's verdict at its end, for how long nothing was in use
    then, and how many seconds of samples it folds."""

    state: VerdictState
    idle_for: Time
    seconds: Time


class Sample(NamedTuple):
    """The box at its time `t`. `boot` names one run of the sampler and `seq` counts up within it,
    so a reader resumes with "everything after (boot, seq)".

    None is not measurable; of a part that cannot be measured all leaves are None. requests:
    cumulative count of requests that services took, in_flight: those that are open now; jobs: ids
    of the runs that run, but for services that have been ready and for those in `waiting`, which
    are queued, or have rounds and none to work on. processes: the busiest first; there only every
    few seconds. use: of a digest, which stands for several samples."""

    boot: Annotated[str, Exactly("[A-Za-z0-9_-]{1,64}")]
    seq: int
    t: Time
    cpu: Cpu = Cpu()
    mem: Memory = Memory()
    disk: Disk = Disk()
    net: Net = Net()
    ssh: Ssh = Ssh()
    tty: Tty = Tty()
    requests: Optional[int] = None
    in_flight: Optional[int] = None
    jobs: Optional[Annotated[Tuple[str, ...], Most(100)]] = None
    waiting: Optional[Annotated[Tuple[str, ...], Most(100)]] = None
    gpus: Optional[Annotated[Tuple[Gpu, ...], Most(64)]] = None
    processes: Optional[Annotated[Tuple[TopProcess, ...], Most(30)]] = None
    use: Optional[Use] = None

    @property
    def position(self) -> Tuple[str, int]:
        return self.boot, self.seq


class BoxEvent(NamedTuple):
    """What the watchdog on the box did, or what happened in a run. seq counts up for the life of
    the box, or of the run."""

    seq: int
    t: Time
    kind: Annotated[str, Text(40)]
    message: Annotated[str, Text(900)]


class EventLine(NamedTuple):
    """An event as a line of the stream."""

    event: BoxEvent


class Heartbeat(NamedTuple):
    """The stream lives and had nothing to say. hb: when; agent: the box's sampler runs."""

    hb: Time
    agent: bool = False


class Identity(NamedTuple):
    """One process, for certain: a pid alone is used again. started: in the system's own form; boot:
    changes with every boot of the machine."""

    pid: int
    started: Word
    boot: Word


Level = Literal["ok", "warn", "fail", "unknown"]


class Check(NamedTuple):
    """One finding of a doctor, and the command that helps."""

    level: Level
    what: Annotated[str, Text(300)]
    fix: Annotated[str, Text(300)] = ""


class BoxReport(NamedTuple):
    """What the box's own doctor found. time: the box's clock."""

    time: Time
    checks: Annotated[Tuple[Check, ...], Most(200)]
