"""The Hub's request limit: so many per window and token, told in every answer's headers.

Header shape: IETF draft-ietf-httpapi-ratelimit-headers, as ``parse_ratelimit_headers``
of the client library reads it.
"""

from __future__ import annotations

import math

from tests.emulators.common import Clock


class RateLimit:
    """A fixed window of ``quota`` requests per ``window`` emulator seconds."""

    def __init__(self, clock: Clock, quota: int, window: float) -> None:
        self._clock = clock
        self.quota = quota
        self.window = window
        self._opened = clock.now()
        self._used = 0

    def spend(self) -> bool:
        """Count one request; ``False`` when the window has none left."""
        now = self._clock.now()
        if now >= self._opened + self.window:
            self._opened, self._used = now, 0
        if self._used >= self.quota:
            return False
        self._used += 1
        return True

    def headers(self) -> dict[str, str]:
        """``RateLimit`` and ``RateLimit-Policy``."""
        left = math.ceil(self._opened + self.window - self._clock.now())
        return rate_headers(self.quota - self._used, left, self.quota, self.window)


def rate_headers(remaining: int, reset: int, quota: int, window: float) -> dict[str, str]:
    return {
        "RateLimit": f'"api";r={remaining};t={max(0, reset)}',
        "RateLimit-Policy": f'"fixed window";"api";q={quota};w={round(window)}',
    }
