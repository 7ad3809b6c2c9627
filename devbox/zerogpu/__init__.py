"""Helpers for functions on a ZeroGPU Space: results that always arrive, models loaded once.

    from devbox.zerogpu import gpu, once, to_cpu      # or: from zerogpu import …, where copied

    @once
    def model(): ...                                  # loaded once in a process

    @gpu(duration=60)                                 # spaces.GPU, and what it returns arrives
    def predict(image):
        return model()(image)

A ZeroGPU Space runs such a function in a forked process and pickles what it returns. A CUDA tensor
anywhere in it cannot be read outside: the call fails, and its GPU lease and process are never
given back, so that later calls are refused. Here results are moved to the CPU at any depth,
proved to travel, and carried as bytes.

No dependency: this folder works when it is copied into a Space alone, on Python 3.9 and newer.
Torch, gradio and spaces are used only where they are loaded or ZeroGPU is on.
"""

from .calls import WorkerError, gpu
from .move import to_cpu
from .once import once
from .pack import NotPortable

__all__ = ["NotPortable", "WorkerError", "gpu", "once", "to_cpu"]
