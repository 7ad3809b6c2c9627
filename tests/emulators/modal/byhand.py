"""The Modal emulator at the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from tests.emulators.common import Clock
from tests.emulators.common.running import Running
from tests.emulators.modal.emulator import ModalEmulator
from tests.emulators.modal.world import Stages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Port and times."""
    parser.description = "An emulated Modal workspace on loopback. Needs root on Linux."
    parser.add_argument("--port", type=int, default=0, help="gRPC port (default: a free one)")
    parser.add_argument("--speed", type=float, default=1.0, help="emulated seconds per second")
    parser.add_argument("--build", type=float, default=2.0, help="seconds an image layer takes")
    parser.add_argument("--schedule", type=float, default=2.0, help="seconds until a box starts")
    parser.add_argument("--list-lag", type=float, default=0.0, help="seconds a listing is behind")
    parser.add_argument(
        "--reach", type=int, action="append", default=[], help="a loopback port boxes can reach"
    )


@contextmanager
def start(arguments: argparse.Namespace) -> Iterator[Running]:
    """Run it; any token gets in."""
    with ModalEmulator(
        clock=Clock(speed=arguments.speed),
        stages=Stages(image_build=arguments.build, scheduling=arguments.schedule),
        port=arguments.port,
        list_lag=arguments.list_lag,
        reach=arguments.reach,
    ) as emulator:
        yield Running(
            emulator.env(),
            (
                "The modal CLI works too: modal app list, modal billing rates.",
                "In ~/.devbox/config.toml, in place of the variable:",
                "[providers.modal]",
                f'server_url = "{emulator.url}"',
                "Boxes are isolated processes on this machine. Ctrl-C ends them all.",
            ),
        )
