"""The Hub emulator at the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.emulators.common import Clock
from tests.emulators.common.running import Running
from tests.emulators.hf.account import Account
from tests.emulators.hf.hub import Times
from tests.emulators.hf.server import HfEmulator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Ports, times, keys."""
    parser.description = "An emulated Hugging Face Hub with an SSH gateway, on loopback."
    parser.add_argument("--port", type=int, default=0, help="HTTP port (default: a free one)")
    parser.add_argument("--gateway-port", type=int, default=0, help="SSH port (default: free)")
    parser.add_argument("--speed", type=float, default=1.0, help="emulated seconds per second")
    parser.add_argument("--build", type=float, default=8.0, help="seconds a build takes")
    parser.add_argument("--start", type=float, default=3.0, help="seconds a start takes")
    parser.add_argument("--state", type=Path, help="keep boxes, volumes and host key here")
    parser.add_argument("--key", type=Path, action="append", help="register this public key file")
    parser.add_argument("--free", action="store_true", help="an account without PRO and payment")


@contextmanager
def start(arguments: argparse.Namespace) -> Iterator[Running]:
    """Run it; without ``--key`` any key gets in."""
    keys = [path.read_text() for path in arguments.key] if arguments.key else None
    paying = not arguments.free
    with HfEmulator(
        clock=Clock(speed=arguments.speed),
        times=Times(build=arguments.build, start=arguments.start, schedule=arguments.start),
        account=Account(pro=paying, can_pay=paying, ssh_keys=keys),
        state_dir=arguments.state,
        port=arguments.port,
        gateway_port=arguments.gateway_port,
    ) as emulator:
        yield Running(
            emulator.env(),
            (
                f"SSH gateway: {emulator.gateway_host_port} in place of ssh.hf.space and"
                " ssh.hf.jobs; in ~/.devbox/config.toml:",
                "[providers.hf]",
                f'ssh_gateway = "{emulator.gateway_host_port}"',
                f"Host key: {emulator.gateway.host_key_line}",
                "Keys: " + ("any" if keys is None else f"{len(keys)} registered"),
                "Boxes are real processes of yours on this machine. Ctrl-C ends them all.",
            ),
        )
