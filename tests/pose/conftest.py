from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest


@pytest.fixture
def mediapipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A box whose environments stay between runs of the tests, as those of images do: the first
    test that needs mediapipe makes its environment by the product's own code."""
    cache = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache" / "devbox-tests" / "box"
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    monkeypatch.setenv("DEVBOX_BOX_ROOT", str(cache))
