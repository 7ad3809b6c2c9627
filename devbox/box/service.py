"""What a service's code works with: its arguments, its checkpoints, the run's log.

    def create_app(service: Service) -> Starlette:
        ...

`create_app` runs once, in the process that then serves the app; a model that takes long to load is
loaded in the background (devbox.box.services.model), and the app's /health says when it is ready.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Callable, Dict, Mapping, Optional

from devbox.box.job import Args


class Service:
    """One service, as its code sees it.

    args:        argument values, typed as service.toml declares them.
    checkpoints: checkpoint name → path on the box.
    failed:      why it had to give up; "" while it has not.

    A test may make one without a box: `create_app(Service(args={"engine": "cascade"}))`.
    """

    def __init__(
        self,
        *,
        args: Optional[Mapping[str, object]] = None,
        checkpoints: Optional[Mapping[str, Path]] = None,
    ) -> None:
        self.args: Args = dict(args or {})
        self.checkpoints: Dict[str, Path] = {k: Path(v) for k, v in (checkpoints or {}).items()}
        self.failed = ""
        self._on_fail: Callable[[str], None] = lambda why: None

    def log(self, text: str) -> None:
        """One line in the run's log."""
        print(text, flush=True)

    def fail(self, why: str) -> None:
        """Give up, such as when the model cannot be loaded: requests in flight are finished, and
        the run ends as failed with this text. May be called from any thread."""
        if self.failed:
            return
        self.failed = why
        print(why, file=sys.stderr, flush=True)
        self._on_fail(why)

    def on_fail(self, act: Callable[[str], None]) -> None:
        """What follows when it gives up; set by whoever serves it."""
        self._on_fail = act
        if self.failed:
            act(self.failed)
