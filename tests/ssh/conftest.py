"""The real server, for every test of this folder."""

from tests.ssh.sshd import sshd

__all__ = ["sshd"]
