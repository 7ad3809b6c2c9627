"""Processes that may end while a test looks at them."""

from __future__ import annotations

from contextlib import suppress

import psutil


def arguments(process: psutil.Process) -> list[str]:
    """Its command line; none when it has ended, waits to be reaped, or is not ours to read."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def command_line(process: psutil.Process) -> str:
    return " ".join(arguments(process))


def named(process: psutil.Process) -> str:
    """Its name; "" when it has ended."""
    try:
        return str(process.name())
    except psutil.Error:
        return ""


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def send(process: psutil.Process, number: int) -> None:
    """A signal to it; none when it has ended."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
