"""Hugging Face Spaces under the contract suite."""

from __future__ import annotations

from typing import ClassVar

from tests.contract.hf import HfHarness


class HfSpaceHarness(HfHarness):
    name = "hf-space"
    able: ClassVar[frozenset[str]] = frozenset(
        {"pause", "login", "watchdog", "ceiling", "fault:auth", "fault:unavailable"}
    )
    unknown = "me/devbox-never"
    changing = ("create_repo", "pause", "restart", "delete_repo", "commit", "request_hardware")


HARNESS = HfSpaceHarness
