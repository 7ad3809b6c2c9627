"""Hugging Face Jobs under the contract suite."""

from __future__ import annotations

from typing import ClassVar

from tests.contract.hf import HfHarness


class HfJobHarness(HfHarness):
    name = "hf-job"
    able: ClassVar[frozenset[str]] = frozenset(
        {"login", "watchdog", "guarded", "ceiling", "fault:auth", "fault:unavailable"}
    )
    unknown = "me/0123456789abcdef01234567"
    changing = ("run_job", "cancel_job")


HARNESS = HfJobHarness
