"""What a provider may do beside the contract of `base`: each a mixin that a caller tests for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from devbox.providers.base import Observation, Request, Step, at_once
from devbox.spec import BoxSpec


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


class HasHistory(ABC):
    """Lists what is over, with its own times: also what nobody looked at while it was there."""

    @abstractmethod
    def history(self, token: str) -> list[Observation]:
        """Everything that carries this token of ours and that the provider still lists, whether it
        runs or is over. Where `may_double` is false these are lives of one box, one after the
        other. Safe to repeat."""


class Charge(NamedTuple):
    """A line of a provider's own report. handle: the box's, or its token; hardware: its name; each
    '' where the report names none. kind: compute, storage, egress or other. start, end: unix
    seconds, end infinite where it is not over. micro: micro-dollars. product: in the provider's own
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
