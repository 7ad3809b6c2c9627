"""devbox: remote GPU dev environments. This file also travels in the box half: keep it empty."""

__version__ = "0.3.0"
