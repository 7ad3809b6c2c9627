"""One HTTP request that carries a secret. Its imports are heavy (6 MB that stay): load it where a
request is really made."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import List, Mapping, NamedTuple, Optional

from devbox.box.address import is_loopback

_MOST = 500  # bytes of an error's text


class Reply(NamedTuple):
    """status: 0 where no reply came. text: the start of what an error says. after: seconds that
    the server asks to wait, as it wrote it."""

    status: int
    text: str
    after: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


def send(
    url: str,
    *,
    method: str,
    body: Optional[bytes],
    headers: Mapping[str, str],
    secrets: Mapping[str, str],
    timeout: float,
) -> Reply:
    """Send it. Redirects are not followed, and no proxy is used for this machine. secrets: headers
    of which no text here shows a value. It never raises for what the network does; timeout: seconds
    of silence."""
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked when it was received
        url, data=body, method=method, headers=dict(headers)
    )
    for name, value in secrets.items():
        request.add_unredirected_header(name, value)
    handlers: List[urllib.request.BaseHandler] = [_NoRedirect()]
    if is_loopback(url):
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout) as reply:
            return Reply(reply.status, "")
    except urllib.error.HTTPError as error:
        after = error.headers.get("Retry-After") or ""
        with error:
            return Reply(error.code, error.read(_MOST).decode(errors="replace"), after)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Reply(0, f"{type(error).__name__}: {error}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect becomes its own HTTP error."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None
