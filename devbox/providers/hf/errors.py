"""The client library's faults as devbox errors, each with where to fix it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from devbox.errors import (
    AuthError,
    Conflict,
    DevboxError,
    Gone,
    NoCapacity,
    ProviderError,
    Unavailable,
)
from devbox.text import clean

if TYPE_CHECKING:
    import httpx2

TOKENS = "https://huggingface.co/settings/tokens"
KEYS = "https://huggingface.co/settings/keys"
BILLING = "https://huggingface.co/settings/billing"
PRO = "https://huggingface.co/pro"
LOG_IN = f"log in with: devbox login hf-space --again (make a token at {TOKENS})"
_LONGEST_WAIT = 600.0
#: what a Space shows as its error when the Hub found no machine for it, in public reports of users
_CAPACITY = re.compile(r"scheduling failure|not enough hardware capacity", re.IGNORECASE)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Run calls of the client library; `doing` completes "… failed", as in "creating me/box"."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    try:
        yield
    except DevboxError:
        raise
    except HfHubHTTPError as error:
        raise of_status(error.response, doing, error.server_message or "") from error
    except LocalTokenNotFoundError as error:
        raise no_token() from error
    except OfflineModeIsEnabled as error:
        raise ProviderError(
            f"{doing} failed: HF_HUB_OFFLINE keeps the client off the network",
            fix="unset HF_HUB_OFFLINE",
        ) from error
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        raise ProviderError(
            f"{doing} failed: {clean(str(error), 200)}",
            fix="check endpoint in [providers.hf], or HF_ENDPOINT",
        ) from error
    except httpx2.DecodingError as error:
        raise unreadable(doing, clean(str(error), 200)) from error
    except httpx2.HTTPError as error:
        said = clean(str(error), 200) or type(error).__name__
        raise Unavailable(
            f"{doing} failed: the Hub did not answer: {said}",
            fix="check the network and https://status.huggingface.co",
            no_effect=isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout)),
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(doing, "it is not whole JSON") from error
    except (KeyError, TypeError, AttributeError) as error:
        # The library reads answers without a schema.
        raise unreadable(doing, "it is incomplete") from error
    except ValueError as error:
        # The library refuses bad arguments so.
        raise ProviderError(f"{doing} failed: {clean(str(error), 300)}") from error


def unreadable(doing: str, why: str) -> Unavailable:
    """An answer with a good status that is not the Hub's: a proxy or a sign-in page of a network
    spoke in its place, or it was cut. It may come right by itself."""
    return Unavailable(
        f"{doing} failed: the answer cannot be read: {why}",
        fix="check the network: a proxy or a sign-in page may answer in the Hub's place; "
        "see https://status.huggingface.co",
    )


def refuse_html(response: httpx2.Response) -> None:
    """A hook of the client: raise for an HTML page in place of an API's answer, whoever asked. Some
    calls of the library do not read what they are answered, and would take it for success."""
    import httpx2

    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if response.is_success and kind == "text/html" and response.url.path.startswith("/api/"):
        raise httpx2.DecodingError("it is an HTML page", request=response.request)


def no_token() -> AuthError:
    return AuthError("no Hugging Face token was found", fix=LOG_IN)


def of_status(response: httpx2.Response, doing: str, said: str) -> DevboxError:
    """The error for an HTTP status. A 401 is never read as "not there"."""
    status = response.status_code
    reason = clean(said.strip(), 300)
    what = f"{doing} failed: {reason or 'no reason given'} (HTTP {status})"
    plain: dict[int, DevboxError] = {
        401: AuthError(f"{what}: the token is invalid or expired", fix=LOG_IN),
        402: AuthError(what, fix=_of_402(reason)),
        403: AuthError(what, fix=_of_403(reason)),
        404: Gone(what, fix="see: devbox ls --refresh"),
        409: Conflict(what, fix="try again"),
        412: Conflict(what, fix="try again"),
    }
    if status in plain:
        return plain[status]
    if lacks_hardware(reason):
        return NoCapacity(
            what,
            fix="try again later, or choose other hardware: devbox offers",
            retry_after=_retry_after(response),
            no_effect=status < 500,
        )
    if status in (408, 429) or status >= 500:
        return Unavailable(
            what,
            fix="try again; see https://status.huggingface.co",
            retry_after=_retry_after(response),
            no_effect=status == 429,  # a 5xx may come from a gateway before a server that did it
        )
    return ProviderError(what)


def lacks_hardware(said: str) -> bool:
    """Whether the Hub says that it has no machine of the kind that was asked for free."""
    return bool(_CAPACITY.search(said))


def _of_402(reason: str) -> str:
    if re.search(r"\bPRO\b|subscription", reason):
        return f"subscribe to PRO at {PRO}, or use an organization with a plan"
    return f"add a payment method or credits at {BILLING}"


def _of_403(reason: str) -> str:
    if re.search(r"\bPRO\b|Dev Mode", reason):
        return f"Dev Mode needs PRO ({PRO}) or a Team plan"
    return f"use a token with write access to this namespace: {TOKENS}"


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds, from `Retry-After` or the `t=` of `RateLimit`, when the server said."""
    said = response.headers.get("Retry-After", "")
    if not said.isdecimal():
        found = re.search(r"\bt=(\d{1,6})\b", response.headers.get("RateLimit", ""))
        said = found[1] if found and response.status_code == 429 else ""
    return min(float(said), _LONGEST_WAIT) if said else None
