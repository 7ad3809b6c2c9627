"""The servers that the tests of this folder run at are what their names say."""

from __future__ import annotations

import socket

import pytest

from devbox import lifecycle
from devbox.workspace import Workspace
from tests.providers.host.machine import Machine

BANNERS = {
    "embedded": "SSH-2.0-devbox",
    "openssh": "SSH-2.0-OpenSSH_",
    "machine": "SSH-2.0-OpenSSH_",
}


@pytest.mark.openssh
@pytest.mark.machine
def test_a_server_says_what_it_is(
    ws: Workspace, server: Machine | None, request: pytest.FixtureRequest
) -> None:
    endpoint = lifecycle.up(ws, "b").endpoint
    assert endpoint
    address = ("127.0.0.1", server.sshd.port) if server else (endpoint.host, endpoint.port)
    with socket.create_connection(address, 30) as client, client.makefile("rb") as said:
        banner = said.readline().decode()  # RFC 4253, 4.2
    assert banner.startswith(BANNERS[request.node.callspec.params["server"]])
