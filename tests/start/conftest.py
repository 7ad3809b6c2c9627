"""The installed wheel."""

from tests.start.wheel import installed

__all__ = ["installed"]
