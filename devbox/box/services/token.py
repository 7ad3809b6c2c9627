"""Lets a request of a public service in only with its token: `Authorization: Bearer TOKEN`.

The health path is open, since whoever looks whether it is well has no token. A refused request is
never counted as use, so that strangers cannot keep a box up.
"""

from __future__ import annotations

import hmac
import json
from typing import Any, Dict


class Guarded:
    """The app behind its token. 401 for a request without it; a WebSocket is closed."""

    def __init__(self, app: Any, token: str, open_path: str) -> None:
        if not token:
            raise ValueError("a public service needs a token")
        self._app, self._open = app, open_path
        self._wanted = b"Bearer " + token.encode()

    async def __call__(self, scope: Dict[str, Any], receive: Any, send: Any) -> None:
        kind = scope["type"]
        if kind == "lifespan" or self._may_pass(scope):
            await self._app(scope, receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            body = json.dumps({"error": "the token is missing or wrong"}).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"www-authenticate", b"Bearer"),
            ]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    def _may_pass(self, scope: Dict[str, Any]) -> bool:
        if scope["type"] == "http" and scope["path"] == self._open:
            return True
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        # Each is compared, in a time that does not tell how much of it is right.
        return len(given) == 1 and hmac.compare_digest(given[0], self._wanted)
