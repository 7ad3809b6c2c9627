"""An emulated Hugging Face Hub: Spaces with Dev Mode, Jobs with SSH, uploads, prices."""

from __future__ import annotations

from tests.emulators.hf.account import Account, Token
from tests.emulators.hf.hub import Times
from tests.emulators.hf.server import HfEmulator

__all__ = ["Account", "HfEmulator", "Times", "Token"]
