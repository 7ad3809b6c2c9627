"""The provider contract: five mandatory calls, and capabilities as mixins a caller tests for.

Rules every provider keeps (tests/contract holds them):
- Calls are synchronous and safe from several threads. They raise only devbox.errors types:
  AuthError, Unavailable (a passing fault; safe to call again), Gone, ProviderError.
- A provider never sleeps to wait for a state: `lifecycle` polls `observe`.
- A provider never retries by itself beyond its client library: `lifecycle` owns retries.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from devbox.model import BoxState, Endpoint, Offer, Price
from devbox.spec import BoxSpec
from devbox.spec.provider_settings import OwnSettings

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

    def watchdog(self, handle: str) -> Mapping[str, Any] | None:
        """How the box half pauses its own box with the laptop off, as the JSON that
        `devbox.box.watchdog.pause_recipe` takes; None when it cannot, and `up` says so.

        {"kind": "exec", "argv": [...]} runs a program; {"kind": "http", "method", "url",
        "token_env", "body"} calls the provider with a token found in the box's environment.
        """
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


class Secrets(NamedTuple):
    """What lets a user in. needs: sentences that say which credentials and where to make them.
    asks: the name of each value to be typed, without its being shown."""

    needs: tuple[str, ...]
    asks: tuple[str, ...]


class CanLogIn(ABC):
    """Its credentials can be typed once, and are kept where its own client keeps them."""

    @abstractmethod
    def secrets(self) -> Secrets:
        """What to ask a user for who has no credentials yet."""

    @abstractmethod
    def has_secrets(self) -> bool:
        """Whether there are credentials; they may be wrong. Asks nobody."""

    @abstractmethod
    def log_in(self, values: Sequence[str]) -> str:
        """Check these values of `secrets().asks` with the provider, then keep them; the file they
        are in. AuthError when they are refused: nothing is kept then."""


class CanPause(ABC):
    """Stop paying; `Provider.pause_keeps` says which files outlive it."""

    #: keys of the spec that `resume` follows as they are then; the others stay as they were made
    resume_takes: frozenset[str] = frozenset()

    def check_pause(self, handle: str) -> None:  # noqa: B027
        """ProviderError when this box can never be paused, before anything is done for it."""

    @abstractmethod
    def pause(self, handle: str) -> str:
        """Ask to pause; idempotent. Returns the handle to use from now on (it may change)."""

    def pause_by(self, step: Step, handle: str) -> str:
        """`pause`, with each of its calls run by `step`. Where a pause takes several calls, and
        one of them makes something new each time, the provider says here which they are."""
        return step("pause", lambda: self.pause(handle))

    @abstractmethod
    def resume(self, request: Request, handle: str) -> str:
        """Ask to run again; idempotent. Returns the handle to use from now on."""


class CanRestart(ABC):
    @abstractmethod
    def restart(self, handle: str, *, factory: bool) -> None:
        """Start the box's app again on the same hardware; with `factory`, build its image again.
        Files outside volumes are lost as on a pause. The caller observes until it runs."""


class CanResize(ABC):
    @abstractmethod
    def resize(self, handle: str, hardware: str) -> None:
        """Ask to move the box to other hardware of the provider's offers; idempotent. Files
        outside volumes are lost as on a pause. The caller observes until it runs there."""


class CanRenew(ABC):
    """Continues past its provider's longest life: in a successor with the same files."""

    @abstractmethod
    def renew(self, request: Request, handle: str, step: Step = at_once) -> str:
        """Save its files, end it and start a successor from them; programs that ran are gone.
        Each call is run by `step`. Idempotent by the handle of the box as it is before. Returns
        the handle to use from now on. Never are both billed at once; cut off in between, the box
        is paused."""


class CanAdmit(ABC):
    """Lets another key into a running box without logging in, through the provider's own way."""

    @abstractmethod
    def admit(self, handle: str, public_key: str) -> None:
        """Allow one more OpenSSH public key line to log in. Idempotent. Gone when it does not
        run."""


class HostRequest(NamedTuple):
    """A service to run where nobody keeps a box for it. app: its name at the provider. image: one
    of devbox's, with `packages` beside what it has. module: of the box half, whose functions `web`
    (returns the ASGI app) and `predict` are hosted. env: what they find; secrets: the same, only
    for the provider's secret store. wanted: hardware, memory, region and volumes of the box that
    it stands for. folder: kept between containers, for checkpoints. concurrent: requests that one
    container takes at a time; most: containers at a time; idle: seconds that one waits for a
    further request, and costs. public: anybody may call it, else the provider asks for its own
    credentials."""

    app: str
    image: str
    packages: tuple[str, ...]
    module: str
    env: Mapping[str, str]
    secrets: Mapping[str, str]
    wanted: BoxSpec
    hardware: str
    folder: str
    concurrent: int
    most: int
    idle: int
    public: bool


class Hosted(NamedTuple):
    """url: of the ASGI app. page: where a user looks after it. credentials: how a caller shows
    them, '' where it is public. end: the command that removes it."""

    url: str
    page: str
    credentials: str
    end: str


class CanHost(ABC):
    """Runs a service only while it is asked, and is paid for that."""

    @abstractmethod
    def host(self, request: HostRequest) -> Hosted:
        """Make or replace the service of that name. Nothing of it runs, or costs, until it is
        called. Idempotent. BuildFailed."""


class HasBuildLogs(ABC):
    @abstractmethod
    def build_logs(self, handle: str, *, follow: bool) -> Iterator[str]:
        """Lines of the image build, oldest first, untrusted text. Ends when the build ends."""

    def build_steps(self, handle: str) -> int | None:
        """How many steps that build has, where its log does not say so itself."""
        return None


class HasRunLogs(ABC):
    @abstractmethod
    def run_logs(self, handle: str, *, follow: bool) -> Iterator[str]:
        """Lines of the box's main process, oldest first, untrusted text."""


class HasPublicPorts(ABC):
    @abstractmethod
    def public_url(self, handle: str, port: int) -> str | None:
        """The https URL at which everybody reaches that port of the box, one of those its spec
        exposes; None while it is not known, or for another port."""


class Charge(NamedTuple):
    """A line of a provider's own report. handle: the box's, or its token; hardware: its name; each
    '' where the report names none. kind: compute, storage, egress or other. start, end: unix
    seconds, end infinite where it goes on. micro: micro-dollars. product: in the provider's own
    words."""

    handle: str
    hardware: str
    kind: str
    start: float
    end: float
    micro: int
    product: str = ""


class HasBill(ABC):
    #: what of time just gone by is not in the report yet, seconds
    bill_lag: float = 0.0

    @abstractmethod
    def bill(self, start: float, end: float) -> list[Charge]:
        """The provider's own account of cost between two times. AuthError says which right is
        missing."""


def own_price(config: OwnSettings) -> Price:
    """What a machine of the user's own costs: what its provider's settings say, else nothing."""
    if config.price is None:
        return Price(0, "own machine")
    return Price(round(config.price * 1_000_000), "config")
