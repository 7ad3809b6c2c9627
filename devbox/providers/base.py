"""The provider contract: five mandatory calls, and what more there may be is in `abilities`.

Rules every provider keeps (tests/contract holds them):
- Calls are synchronous and safe from several threads. They raise only devbox.errors types:
  AuthError, Unavailable (a passing fault; safe to call again), Gone, ProviderError.
- A provider never sleeps to wait for a state: `lifecycle` polls `observe`.
- A provider never retries by itself beyond its client library: `lifecycle` owns retries.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from devbox.model import BoxState, Endpoint, Offer, Price
from devbox.spec import BoxSpec
from devbox.spec.provider_settings import OwnSettings
from devbox.wire.messages import PauseRecipe

T = TypeVar("T")


class Step(Protocol):
    """Runs one call of an operation that needs several. `lifecycle` journals each under its name
    and retries it alone, so that what an earlier call made is not made again."""

    def __call__(self, name: str, action: Callable[[], T], /) -> T: ...


def at_once(_: str, action: Callable[[], T], /) -> T:
    """A step that is neither journalled nor retried."""
    return action()


class Kept(NamedTuple):
    """What outlives a pause. disk: the files of the box's own disk do. words: what does, as in
    'a pause keeps …'."""

    disk: bool
    words: str = "its files"


class Request(NamedTuple):
    """What `create` needs. token: random, unique to this box, our tag at the provider.
    secrets: resolved values, to be handed only to the provider's own secret store.
    public_key: one OpenSSH line allowed to log in. host_key: private key in OpenSSH PEM form for
    the box's sshd, where the provider lets us place one. root: folder of devbox.toml.
    asking: called right before the call that makes something, by a provider that does long work
    (an image) first: it notes the time from which on what is made may appear, although this
    process is killed."""

    name: str
    token: str
    spec: BoxSpec
    hardware: str
    public_key: str
    host_key: str
    secrets: Mapping[str, str]
    root: str = ""
    asking: Callable[[], None] = lambda: None


class Observation(NamedTuple):
    """What the provider says of one resource, now.

    state: never `lost` (that is for a missing resource: observe returns None).
    stage: the provider's own word, shown to the user.
    billed: it costs money in this state. billed_since / ended_at: the provider's own times of the
    begin of the current billed stretch (when none is billed: of the last one) and of the end of
    the last one, where it tells.
    dated: billed_since was noted by the provider's clock. Told otherwise of the same stretch, it is
    this computer's clock that was set meanwhile.
    price: for the hardware it runs on now; None when unchanged from the offer.
    endpoint: where ssh answers, once known.
    """

    handle: str
    name: str
    token: str
    state: BoxState
    stage: str = ""
    message: str = ""
    endpoint: Endpoint | None = None
    hardware: str = ""
    price: Price | None = None
    billed: bool = False
    billed_since: float | None = None
    ended_at: float | None = None
    deadline: float | None = None
    dated: bool = False


def _silent(*_: str) -> None:
    """Narration that nobody asked for."""


#: (level ok|warn|fail|unknown, what, fix); a fix is '' only where there is nothing to do
Finding = tuple[str, str, str]


class Provider(ABC):
    """One place boxes come from."""

    name: str
    #: tells a user, line by line, what a call that may take long is doing, and what they should
    #: know before it costs; a Workspace sets it to its own
    narrate: Callable[[str], None] = staticmethod(_silent)
    #: (name of a box, line of its image's build), while a call of ours builds it; as `narrate`
    tell_build: Callable[[str, str], None] = staticmethod(_silent)
    #: folder on a box for the user's files where the spec names none: that of the code that the
    #: box runs, where its provider puts it there (`registry.code_folder`)
    workdir: str = "work"
    #: what a user does to have {} answer again, as `identity` names it
    go_back: str = "log in to {}"
    #: seconds by which `find` may lag behind `create` (an eventually consistent listing)
    find_lag: float = 0.0
    #: the end of a box deletes the files of its disk
    end_deletes: bool = True
    #: seconds after which a create that was asked for can no longer begin to take effect, also
    #: when its answer never came
    create_lag: float = 0.0
    #: two resources may carry one token, as nothing at the provider keeps a name to one of them
    may_double: bool = False
    #: a box of its may be a program of the user's (`command` of its spec), without ssh, and is
    #: over when that is
    runs_commands: bool = False
    #: what it has accepted may wait, at no cost, for a machine that it gets whether or not anybody
    #: still waits; a pause takes such a box back from the queue
    queues: bool = False
    #: its boxes cost real money, also while this computer cannot see them
    bills: bool = True
    #: what its boxes need in their image is what Dev Mode of a Space does (`images.lint`)
    dev_mode: bool = False
    #: it ends a box at max_uptime itself, whatever happens on the box
    keeps_ceiling: bool = False

    def identity(self) -> str:
        """Who answers here, in a word that stays the same as long as it is the same account,
        workspace or engine: `observe` answering None and `terminate` of something unknown prove
        an end only when the same one was asked. '' where there is nobody else to be confused
        with. Asks the provider: who answered a while ago need not be who answers now."""
        return ""

    @abstractmethod
    def offers(self) -> list[Offer]:
        """All hardware with prices, live where the provider tells, else the dated catalogue."""

    def offers_for(self, wanted: BoxSpec) -> list[Offer]:
        """The offers for one spec, where a part of it (cpu, memory) changes the price."""
        return self.offers()

    def renew_prices(self) -> bool:
        """Have `observe` tell prices by the provider's list as it is now: asked for, unless it was
        within minutes. Whether it was asked for and came; False where a box keeps the price that
        it was made at. It raises nothing: without an answer the last prices stay."""
        return False

    def hardware_name(self, asked: str) -> str:
        """The provider's own name of hardware that a user asked for, where it takes other
        names or any letter case; what it does not know comes back unchanged or nearly so."""
        return asked

    def default_image(self, hardware: str) -> str:
        """The image of a box on that hardware whose spec names none: one with CUDA and torch where
        it has a GPU. Empty where boxes have no image of devbox's. The spec of a `create` or
        `resume` request always has the image in it."""
        return ""

    @abstractmethod
    def create(self, request: Request) -> str:
        """Start provisioning, tagged with the token; returns the handle.

        Idempotent by token: called again after a lost reply it returns the first one's handle.
        A box of the same name that carries our tag with another token was made by another
        computer of this account: create joins it and returns its handle, and `observe` tells its
        token. Two computers that bring up the same name get one box.
        Both of the provider's timeouts are armed before it returns. Returns as soon as the
        provider has accepted; it does not wait for the box to run.
        """

    @abstractmethod
    def observe(self, handle: str) -> Observation | None:
        """The resource's state now; None when the provider no longer knows it. Safe to repeat."""

    @abstractmethod
    def find(self, token: str | None = None) -> list[Observation]:
        """Everything in this account that carries our tag, or only that token's. Safe to repeat."""

    @abstractmethod
    def terminate(self, handle: str) -> None:
        """Ask to end it permanently. Idempotent: one that is gone is success. The caller keeps
        observing until the provider confirms."""

    def end_means(self, wanted: BoxSpec) -> str:
        """What the end of such a box does, for the question before it: 'End b and …?'."""
        return "delete what is on it"

    def pause_keeps(self, wanted: BoxSpec) -> Kept:
        """What such a box has after a pause, and after whatever else stops it for a while: a
        restart, other hardware, a successor."""
        return Kept(disk=True)

    def forget(self, handle: str) -> str:
        """Drop what this computer keeps of a box, without asking anybody: the user gives up on
        it. Returns what may continue without us and how to end it, for the user; '' for nothing
        beyond that."""
        return ""

    def own_guards(self, hardware: str) -> list[str]:
        """What the provider itself does to a box on that hardware when nobody acts, each a
        sentence; none where it does nothing."""
        return []

    def can_arm(self, handle: str) -> bool:
        """Whether the box's watchdog gets a way to pause it (`watchdog`); no call is made."""
        return True

    def arm_help(self, handle: str) -> str:
        """What would give it one; '' for nothing."""
        return ""

    def wakes(self, stage: str) -> str:
        """What may start a box that does not run, in this stage of the provider's own, without any
        command of ours; '' for nothing."""
        return ""

    def lacks_hardware(self, stage: str, message: str) -> bool:
        """Whether a box that shows this stage and message of the provider's own waits for hardware
        that is not free, or failed for want of it. A call that is refused for it raises
        NoCapacity."""
        return False

    def watchdog(self, handle: str) -> PauseRecipe | None:
        """How the box half pauses its own box with the laptop off: by a program, or by a call of
        the provider with a token found in the box's environment; None when it cannot, and `up`
        says so."""
        return None

    def login_help(self, handle: str) -> str:
        """What the user must do when the box's gateway does not accept our key; '' when there
        is nothing to add to the ssh error itself."""
        return ""

    def checks(self, wanted: Sequence[BoxSpec] = ()) -> list[Finding]:
        """Credentials, plan, money, keys and reachability, for `devbox login` and
        `devbox doctor`. What its API does not tell is `unknown`. wanted: the specs of the boxes it
        is asked for, where a check depends on them."""
        return []


def own_price(config: OwnSettings) -> Price:
    """What a machine of the user's own costs: what its provider's settings say, else nothing."""
    if config.price is None:
        return Price(0, "own machine")
    return Price(round(config.price * 1_000_000), "config")
