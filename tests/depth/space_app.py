"""Run by test_space_app.py as a Space's process, ZeroGPU on: the template's app, asked through its
own HTTP API. Prints one JSON object. Arguments: pictures, the last one of them broken."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import sys
from typing import Any

import numpy as np

from tests.zerogpu import cuda


def main() -> None:
    output = os.dup(1)
    os.dup2(2, 1)
    cuda.install()
    importlib.import_module("spaces")
    cuda.use_no_device()
    app: Any = importlib.import_module("app")
    upstream: Any = importlib.import_module("depth_anything_3.api")
    upstream.TENSOR = cuda.cuda
    clients: Any = importlib.import_module("gradio_client")

    seen: dict[str, Any] = {"loaded on": str(next(app.model().parameters()).device)}
    _, url, _ = app.demo.launch(prevent_thread_lock=True, quiet=True)
    client = clients.Client(url, verbose=False)
    *files, last = [clients.handle_file(path) for path in sys.argv[1:]]
    broken = [last]
    depths = []
    for _ in range(3):
        gallery, file = client.predict(files, 252, api_name="/solve")
        with np.load(file) as arrays:
            depths.append(arrays["depth"])
        seen["gallery"] = len(gallery)
    seen["shape"] = list(depths[0].shape)
    seen["same"] = all(np.array_equal(each, depths[0]) for each in depths)
    for name, what in (("no picture", broken), ("nothing", [])):
        try:
            client.predict(what, 252, api_name="/solve")
        except Exception as error:
            seen[name] = str(error)
    seen["again"] = len(client.predict(files, 252, api_name="/solve")[0])
    seen["workers"] = len(multiprocessing.active_children())
    for child in multiprocessing.active_children():
        child.kill()
    os.write(output, json.dumps(seen).encode())
    os._exit(0)  # threads of gradio's wait for more requests
