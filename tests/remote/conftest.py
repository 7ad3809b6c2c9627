"""The real server, for every test of this folder."""

from tests.remote.sshd import sshd

__all__ = ["sshd"]
