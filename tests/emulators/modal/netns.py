"""Reaching into a machine's network from a thread of the emulator."""

from __future__ import annotations

import ctypes
import os
import socket
from concurrent.futures import ThreadPoolExecutor

CLONE_NEWNET = 0x40000000
CONNECT_LIMIT = 5.0


def worker(pid: int) -> ThreadPoolExecutor:
    """One thread that lives in the network namespace of process ``pid``."""
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    return ThreadPoolExecutor(1, f"netns-{pid}", initializer=_enter, initargs=(namespace,))


def connect(port: int) -> socket.socket:
    """A non-blocking connection to 127.0.0.1 of the calling thread's namespace."""
    connection = socket.create_connection(("127.0.0.1", port), CONNECT_LIMIT)
    connection.setblocking(False)
    return connection


def listen(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1 of the calling thread's namespace."""
    server = socket.create_server(("127.0.0.1", port))
    server.setblocking(False)
    return server


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if libc.setns(namespace, CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"setns: {os.strerror(code)}")
    finally:
        os.close(namespace)
