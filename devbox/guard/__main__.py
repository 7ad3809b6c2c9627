"""`python -P -m devbox.guard`: what the service runs, and `devbox guard` becomes."""

from __future__ import annotations

import sys

from devbox.errors import DevboxError
from devbox.guard import place
from devbox.guard.watch import Watch, say


def main() -> int:
    try:
        lock = place.hold()
    except DevboxError as error:
        say(error.render())
        return error.exit_code
    Watch().run()
    del lock  # it was held until here
    return 0


if __name__ == "__main__":
    sys.exit(main())
