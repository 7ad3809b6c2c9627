"""Models for the tests, loaded in a process of their own: `load` is what devbox.box.services.model
calls. Noisy at every level, as upstreams are."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import Any


class Echo:
    """Answers with its request, its pid and how many it has had."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.info = {"device": "cpu", **config}
        self.count = 0

    def __call__(self, request: Any) -> Any:
        self.count += 1
        print("printed by Python")
        os.write(1, b"written to descriptor 1\n")
        ctypes.CDLL(None).puts(b"printed by C")
        ctypes.CDLL(None).fflush(None)
        if request == "raise":
            raise ValueError("no face in it")
        if request == "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        if request == "exit":
            os._exit(7)
        if request == "hang":
            signal.pause()
        return {"request": request, "pid": os.getpid(), "count": self.count}


def load(config: dict[str, Any]) -> Any:
    sys.stdout = sys.stderr = None
    sys.stdout = sys.__stdout__
    if config.get("broken"):
        raise OSError("weights.bin is not there")
    if config.get("dies"):
        os._exit(3)
    if config.get("until"):
        while not os.path.exists(config["until"]):
            time.sleep(0.01)
    return Echo(config)
