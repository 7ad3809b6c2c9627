"""The one tree of errors, what the user reads, and the exit codes.

DevboxError              1   something failed that fits nothing below
├── TookTooLong          1   a program did not end in the time it had
├── UsageError           2   the command line or an argument is wrong
├── SpecError            3   devbox.toml or the user config is wrong
├── NotFound             4   no such box, run, job, template
├── Conflict             5   the request collides with what exists or runs now
├── ProviderError        6   the provider said no or could not be reached
│   ├── AuthError        7   credentials missing, expired or without the right
│   │   └── WrongPlace   7   another account or engine answers than the box was made with
│   ├── Unavailable      8   a passing fault: retried, and may be tried again
│   │   └── NoCapacity   8   the provider has no such hardware free now
│   └── Gone             6   the resource no longer exists at the provider
├── SshError             9   the box cannot be reached or refused the key
│   ├── NoAnswer         9   nothing answers there (yet), or the connection was cut
│   │   └── NameUnknown  9   its host name has no address
│   ├── KeyRefused       9   it answers and does not accept our key (yet)
│   └── HostKeyRefused   9   its host key is not the pinned one, or none is pinned
├── SyncError           10   rsync failed or was cut
├── JobFailed           11   a run ended with failed items or a non-zero exit
├── BudgetError         12   the request would go over a budget
├── ToolMissing         13   a program devbox needs is not installed
├── BuildFailed         14   an image or Space did not build
├── NotTrusted          15   the project's devbox.toml wants what needs `devbox trust`
├── StateDamaged        16   devbox's own record cannot be read
├── Unanswered          17   a provider or box could not be looked at
└── CheckFailed         18   a checkpoint or its package is not what it should be
NotReached             124   `wait`: the time was over first
Interrupted            130   Ctrl-C; the state is consistent
"""

from __future__ import annotations

from pathlib import Path


class DevboxError(Exception):
    """Anything devbox tells a user about.

    what:  what happened, one sentence.
    means: what it means for money and data; empty when neither is touched.
    fix:   the next command to type or thing to do.
    """

    exit_code = 1

    def __init__(self, what: str, *, means: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.means, self.fix = what, means, fix

    def render(self) -> str:
        """The text a user reads: what, means and fix, each on its own line."""
        # What happened may quote another's text, whose lines must not read as ours.
        lines = ["error: " + self.what.replace("\n", "\n  ")]
        lines += [self.means] if self.means else []
        lines += [f"fix: {self.fix}"] if self.fix else []
        return "\n".join(lines)


class TookTooLong(DevboxError):
    """A program on this computer did not end in the time it had, and was stopped."""


class UsageError(DevboxError):
    exit_code = 2


class SpecError(DevboxError):
    exit_code = 3


class NotFound(DevboxError):
    exit_code = 4


class Conflict(DevboxError):
    exit_code = 5


class Locked(Conflict):
    """Another process of devbox holds a file for longer than was waited."""


class Busy(Conflict):
    """Another process of devbox is at work on the box."""


class ProviderError(DevboxError):
    exit_code = 6


class TimedOut(ProviderError):
    """A box did not come to where it was asked to be in the time it had."""


class AuthError(ProviderError):
    exit_code = 7


class WrongPlace(AuthError):
    exit_code = 7


class Unavailable(ProviderError):
    """A passing fault. retry_after: seconds the provider asked us to wait, if it said. no_effect:
    what was asked for surely did not happen and will not; else that is unknown."""

    exit_code = 8

    def __init__(
        self,
        what: str,
        *,
        means: str = "",
        fix: str = "",
        retry_after: float | None = None,
        no_effect: bool = False,
    ) -> None:
        super().__init__(what, means=means, fix=fix)
        self.retry_after = retry_after
        self.no_effect = no_effect


class NoCapacity(Unavailable):
    """The provider has none of the hardware free, now. Not retried at once: the next choice is, or
    the same after a while (`up --wait-for-capacity`)."""


def had_no_effect(error: DevboxError) -> bool:
    """Whether a call that failed so surely did nothing: it was turned away, not cut off."""
    return not isinstance(error, Unavailable) or error.no_effect


class Gone(ProviderError):
    exit_code = 6


class SshError(DevboxError):
    """box: id of a box that did not answer where it should have, for `lifecycle.why_silent`."""

    exit_code = 9

    def __init__(self, what: str, *, means: str = "", fix: str = "", box: str = "") -> None:
        super().__init__(what, means=means, fix=fix)
        self.box = box


class NoAnswer(SshError):
    exit_code = 9


class NameUnknown(NoAnswer):
    exit_code = 9


class KeyRefused(SshError):
    exit_code = 9


class HostKeyRefused(SshError):
    exit_code = 9


class SyncError(DevboxError):
    exit_code = 10


class JobFailed(DevboxError):
    exit_code = 11


class BudgetError(DevboxError):
    exit_code = 12


class ToolMissing(DevboxError):
    exit_code = 13


class BuildFailed(DevboxError):
    """quotes_log: what happened ends with the last lines of the build's log."""

    exit_code = 14

    def __init__(
        self, what: str, *, means: str = "", fix: str = "", quotes_log: bool = False
    ) -> None:
        super().__init__(what, means=means, fix=fix)
        self.quotes_log = quotes_log


class NotTrusted(DevboxError):
    """file: the devbox.toml. lines: key → shown value of each setting that needs trust."""

    exit_code = 15

    def __init__(
        self, what: str, *, means: str = "", fix: str = "", file: Path, lines: dict[str, str]
    ) -> None:
        super().__init__(what, means=means, fix=fix)
        self.file, self.lines = file, lines


class StateDamaged(DevboxError):
    exit_code = 16


class Unanswered(DevboxError):
    """Part of what was to be compared with the providers could not be looked at or finished."""

    exit_code = 17


class CheckFailed(DevboxError):
    """What was checked is not what it should be; nothing was published or put in place."""

    exit_code = 18


class NotReached(DevboxError):
    """What was waited for did not come about in the time it had; the code is that of timeout(1)."""

    exit_code = 124


class Interrupted(DevboxError):
    exit_code = 130
