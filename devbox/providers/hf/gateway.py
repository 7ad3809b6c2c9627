"""The ssh gateways in front of Spaces and Jobs: the user name says which box is meant."""

from __future__ import annotations

import re

from devbox.errors import SpecError
from devbox.model import Endpoint

_USER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,99}")


def endpoint(public: str, configured: str, name: str) -> Endpoint:
    """Where box `name` answers: at `public`, or at `configured` ("host:port") in its place.

    One host key serves all boxes behind a gateway, so it is pinned under the gateway's name.
    """
    host, port = split(configured) if configured else (public, 22)
    alias = host if port == 22 else f"{host}-{port}"
    # Not "devbox-…": the pins of boxes are dropped with them.
    return Endpoint(host, port, name, None, f"gateway-{alias.replace(':', '-')}")


def split(address: str) -> tuple[str, int]:
    """("host", port) of "host:port", "host" or "[::1]:port". SpecError otherwise."""
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:]+)\]|([\w.-]+))(?::([0-9]{1,5}))?", address)
    port = int(found[3]) if found and found[3] else 22
    if not found or not 1 <= port <= 65535:
        raise SpecError(
            "ssh_gateway in [providers.hf] is not an address",
            fix='write it as "host:port"',
        )
    return found[1] or found[2], port


def user(said: object) -> str:
    """A login name as the Hub gave it, '' when it is none."""
    return said if isinstance(said, str) and _USER.fullmatch(said) else ""
