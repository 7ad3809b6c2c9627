"""The Modal client's faults as devbox errors, each with where to fix it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from devbox import installation
from devbox.errors import (
    AuthError,
    BuildFailed,
    Conflict,
    DevboxError,
    Gone,
    NoCapacity,
    ProviderError,
    ToolMissing,
    Unavailable,
)
from devbox.text import clean

BILLING = "https://modal.com/settings/billing"
STATUS = "https://status.modal.com"
LOG_IN = "take a new token with: devbox login modal --again"
_MONEY = re.compile(r"payment|billing|credit|spend|budget", re.IGNORECASE)
#: what Modal's servers say to a client they no longer serve; its status, FAILED_PRECONDITION, has
#: other causes too
_OUTDATED = re.compile(r"client.?version|version \S+ of .modal|too old|outdated", re.IGNORECASE)
_LONGEST_WAIT = 600.0
#: modal 1.6.4 says "Insufficient capacity to create sandbox." of one that was not scheduled in time
#: (modal/sandbox/_impl_v1.py); rate limits have the same status
_CAPACITY = re.compile(r"\bcapacity\b", re.IGNORECASE)
#: what a sandbox can do without, as Modal's refusals name it
EXTRAS = ("snapshot", "idle")


class Unsupported(ProviderError):
    """Modal refused a request and named what it asks for besides a sandbox. parts: of EXTRAS."""

    def __init__(self, what: str, parts: frozenset[str]) -> None:
        super().__init__(what)
        self.parts = parts


class Exists(Conflict):
    """A sandbox of that name runs already."""


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Run calls of the client; `doing` completes "… failed", as in "listing sandboxes"."""
    try:
        from grpclib.exceptions import StreamTerminatedError
        from modal import exception as modal
    except ImportError as error:
        raise not_installed() from error
    try:
        yield
    except DevboxError:
        raise
    except modal.ImageBuildError as error:
        raise BuildFailed(
            f"{doing} failed: {_said(error)}",
            means="no sandbox was started",
            fix="change image in devbox.toml, then: devbox up",
        ) from error
    except (modal.AuthError, modal.PermissionDeniedError) as error:
        raise _refused(doing, _said(error), isinstance(error, modal.AuthError)) from error
    except modal.NotFoundError as error:
        raise Gone(f"{doing} failed: {_said(error)}", fix="see: devbox ls --refresh") from error
    except modal.AlreadyExistsError as error:
        raise Exists(f"{doing} failed: {_said(error)}", fix="try again") from error
    except modal.ResourceExhaustedError as error:
        raise _exhausted(doing, error) from error
    except modal.VersionError as error:
        raise _outdated(doing, _said(error)) from error
    except modal.ConflictError as error:
        if _OUTDATED.search(_said(error)):
            raise _outdated(doing, _said(error)) from error
        raise _passing(doing, error) from error
    except (
        modal.ServiceError,
        modal.InternalError,
        modal.ConnectionError,
        modal.TimeoutError,
        modal.ClientClosed,
        StreamTerminatedError,
        TimeoutError,
        OSError,
    ) as error:
        raise _passing(doing, error) from error
    except modal.Error as error:
        raise _other(doing, _said(error)) from error


def _other(doing: str, said: str) -> ProviderError:
    what = f"{doing} failed: {said}"
    parts = frozenset(part for part in EXTRAS if part in said.lower())
    return Unsupported(what, parts) if parts else ProviderError(what)


def not_installed() -> ToolMissing:
    return ToolMissing(
        "the modal client is not installed",
        means="nothing was started",
        fix=installation.fix_extra("modal"),
    )


def _passing(doing: str, error: BaseException) -> Unavailable:
    said = _said(error) or type(error).__name__
    return Unavailable(
        f"{doing} failed: Modal did not answer as it should: {said}",
        fix=f"try again; see {STATUS}",
    )


def _outdated(doing: str, said: str) -> ProviderError:
    return ProviderError(
        f"{doing} failed: Modal no longer serves the installed client: {said}",
        means="nothing was changed at Modal; boxes there keep running and costing",
        fix=f"{installation.fix_upgrade('modal')}, then the same command again",
    )


def _refused(doing: str, said: str, unknown: bool) -> AuthError:
    if unknown:
        return AuthError(f"{doing} failed: {said}", fix=LOG_IN)
    if _MONEY.search(said):
        return AuthError(f"{doing} failed: {said}", fix=f"add a payment method at {BILLING}")
    return AuthError(
        f"{doing} failed: {said}", fix=f"use a token of a member with that right; {LOG_IN}"
    )


def _exhausted(doing: str, error: Exception) -> DevboxError:
    """Rate limits and missing capacity pass; a spending limit does not."""
    said = _said(error)
    if re.search(r"spend|billing|payment", said, re.IGNORECASE):
        return AuthError(f"{doing} failed: {said}", fix=f"raise the limit at {BILLING}")
    waits = [
        float(detail.retry_after_secs)
        for detail in getattr(error, "_grpc_details", None) or ()
        if hasattr(detail, "retry_after_secs")
    ]
    kind = NoCapacity if _CAPACITY.search(said) else Unavailable
    return kind(
        f"{doing} failed: {said}",
        fix="wait a little, or choose other hardware: devbox offers",
        retry_after=min(waits[0], _LONGEST_WAIT) if waits else None,
        no_effect=True,
    )


def _said(error: BaseException) -> str:
    return clean(" ".join(str(error).split()), 300)
