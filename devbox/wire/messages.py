"""Every message between the two halves, as a NamedTuple. What is accepted: see `codec`.

A float is in seconds, and a `Time` in unix seconds by the clock of who sent it, unless a docstring
says other.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, Optional, Tuple

from devbox.wire.codec import Between, Exactly, Most, Number, Text, Time, Word

VerdictState = Literal["active", "idle", "held", "warned", "saving", "pausing"]
Cause = Literal["idle", "ceiling"]


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
    body: Any = None
    armed: Word = ""


class Arming(NamedTuple):
    """The box's own clocks and boot when its config arrived, so that neither a wrong nor a changed
    clock moves the deadline. id: names one arming. left: seconds to the deadline then, where they
    are not counted from `sent`."""

    id: Word = ""
    wall: float = 0.0
    mono: float = 0.0
    boot: Word = ""
    left: Optional[Number] = None


class WatchdogConfig(NamedTuple):
    """What `arm` gives the box, kept there as config.json. deadline: max_uptime's end, None for
    none; pause None: the box cannot pause itself; disk_kept: the files of its own disk outlive a
    pause; volumes: where those are mounted that may be written to.

    The first config, which a box is made with, has `max_uptime` and no times. armed: the box adds
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
    armed: Arming = Arming()


class Hold(NamedTuple):
    """keep.json: no idle pause until then, by the box's wall clock and, in that boot, by the clock
    that never jumps."""

    until: float
    mono: float
    boot: Word = ""


class Kept(NamedTuple):
    """The answer to `keep`. until: by the asker's clock; capped: max_uptime comes first."""

    until: Time
    capped: bool = False


class Verdict(NamedTuple):
    """The idle policy's answer. state: active (in use), idle, held (idle, but kept), warned (the
    pause is near), saving, pausing. idle_for: seconds. pauses_at: as things stand, and cause: which
    of idle and ceiling it would be; None where nothing would pause it. deadline: max_uptime's end,
    by the clock of who armed it. warned: the user was told. unsynced: files of the workdir that
    changed on the box since they were last fetched, by its own count. now: when it was given.
    silent: seconds without a new verdict, when that is too long."""

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
