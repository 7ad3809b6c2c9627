"""A service where a provider runs functions in place of boxes. It calls these by their names:

    web()          the service's ASGI app
    predict(...)   the same model without HTTP: what the service's module gives as `direct(service)`

What the service is comes in the environment variable devbox put there, as JSON: {"module", "args",
"checkpoints": {name: {"path", "source", "sha256", "bytes", "size"}}}. A checkpoint that is missing
at its path is fetched when the first of them is called.
"""

from __future__ import annotations

import importlib
import json
import os
import threading
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Callable, Dict, Optional, Tuple

from devbox.box.checkpoints import source
from devbox.box.checkpoints.provide import Report, Wanted, provide
from devbox.box.service import Service

if TYPE_CHECKING:
    from starlette.types import ASGIApp

VARIABLE = "DEVBOX_SERVICE"
SECRETS = "DEVBOX_CHECKPOINT_SECRETS"  # JSON: checkpoint name → token, for gated ones

_lock = threading.Lock()
_direct: Optional[Callable[..., object]] = None


def web() -> ASGIApp:
    """The ASGI app. CheckpointError when a checkpoint cannot be had."""
    module, service = _service()
    app: ASGIApp = module.create_app(service)
    return app


def predict(*args: object, **more: object) -> object:
    """One answer of the model, which is loaded once in each process."""
    global _direct  # noqa: PLW0603 - the one model of this process
    with _lock:
        if _direct is None:
            module, service = _service()
            _direct = module.direct(service)
    return _direct(*args, **more)


def _service() -> Tuple[ModuleType, Service]:
    wanted = json.loads(os.environ[VARIABLE])
    secrets: Dict[str, str] = json.loads(os.environ.get(SECRETS) or "{}")
    places: Dict[str, Path] = {}
    for name, each in wanted["checkpoints"].items():
        places[name] = Path(each["path"])
        origin = source.parse(each["source"], sha256=each["sha256"])
        rest = (each["sha256"], each["bytes"], each["size"], secrets.get(name, ""))
        places[name].parent.mkdir(parents=True, exist_ok=True)
        provide(Wanted(name, places[name], origin, *rest), _say)
    module = importlib.import_module(wanted["module"])
    return module, Service(args=wanted["args"], checkpoints=places)


def _say(report: Report) -> None:
    if report.get("message"):
        print(report["message"], flush=True)
