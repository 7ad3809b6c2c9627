"""`ssh devbox-NAME` and scp, whatever the user's `Host *` says; and the keys that are offered."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devbox import paths
from devbox.errors import SshError
from devbox.model import Box
from devbox.remote.config import blocks, include, parsed, ssh_config
from devbox.remote.connection import connect
from tests.remote.sshd import Sshd

# Each of them stops a login, an editor or scp when it holds for the box.
STOPS_A_LOGIN = {
    "no keys": "PubkeyAuthentication no",
    "no session": "SessionType none",
    "no stdin": "StdinNull yes",
    "in the background": "ForkAfterAuthentication yes",
    "host key types": "HostKeyAlgorithms rsa-sha2-512",
    "key types": "PubkeyAcceptedAlgorithms rsa-sha2-512",
    "key types, as they were called": "PubkeyAcceptedKeyTypes rsa-sha2-512",
    "canonical names": "CanonicalizeHostname always\n  CanonicalDomains example.invalid\n"
    "  CanonicalizeFallbackLocal no",
    "another address family": "AddressFamily inet6",
    "ciphers": "Ciphers 3des-cbc",
    "macs": "MACs hmac-md5",
    "key exchange": "KexAlgorithms diffie-hellman-group1-sha1",
    "a jump host": "ProxyJump nowhere.invalid",
    "a proxy": "ProxyCommand false",
    "a proxy that passes a socket": "ProxyUseFdpass yes",
    "a source address": "BindAddress 192.0.2.7",
    "a tunnel": "Tunnel yes\n  ExitOnForwardFailure yes",
    "no forwards": "ClearAllForwardings yes",
    "a command of its own": "RemoteCommand sleep 1000",
    "a command before": "PermitLocalCommand yes\n  LocalCommand kill $PPID",
    "another user, port and place": "User nobody\n  Port 1\n  HostName nowhere.invalid",
    "other known hosts": "UserKnownHostsFile /dev/null\n  HostKeyAlias x",
    "a program for known hosts": "KnownHostsCommand /bin/false",
    "passwords only": "PreferredAuthentications password",
    "a terminal": "RequestTTY force",
    "an agent that is not there": "IdentityAgent /no/such/agent",
    "a card that is not there": "PKCS11Provider /no/such.so",
    "a dead shared connection": "ControlMaster no\n  ControlPath /no/such/folder/%C",
}  # fmt: skip


@pytest.fixture
def box(sshd: Sshd, home: Path) -> Box:
    found = sshd.box()
    ssh_config.publish([found])
    (home / ".ssh").mkdir(mode=0o700)
    return found


def _write(home: Path, text: str) -> Path:
    file = home / ".ssh" / "config"
    file.write_text(text)
    include.install()
    return file


def _works(file: Path, box: Box, home: Path) -> None:
    """A command with stdin, once more over the shared connection, a forward, and a copy."""
    ssh = ["ssh", "-F", str(file)]
    for _ in range(2):
        ran = subprocess.run(
            [*ssh, box.alias, "cat; echo done"],
            input=b"in", capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert (ran.returncode, ran.stdout) == (0, b"indone\n"), ran.stderr
    source, target = home / "a file", home / "copy"
    source.write_text("content")
    subprocess.run(
        ["scp", "-q", "-F", str(file), str(source), f"{box.alias}:{target}"], check=True, timeout=60
    )
    assert target.read_text() == "content"


@pytest.mark.parametrize("settings", STOPS_A_LOGIN.values(), ids=STOPS_A_LOGIN.keys())
def test_no_setting_for_every_host_stops_ssh_to_a_box(box: Box, home: Path, settings: str) -> None:
    file = _write(home, f"Host *\n  {settings}\n")
    _works(file, box, home)
    include.check(box)


def test_a_forward_for_every_host_on_a_taken_port_stops_nothing(box: Box, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file = _write(
            home, f"Host *\n  ExitOnForwardFailure yes\n  LocalForward {port} 127.0.0.1:1\n"
        )
        _works(file, box, home)


def test_settings_that_do_no_harm_are_left_to_the_user(box: Box, home: Path) -> None:
    file = _write(home, "Host *\n  Compression yes\n  LogLevel ERROR\n  SendEnv MINE\n")
    found = parsed.settings(file, box.alias)
    assert (found["compression"], found["loglevel"], found["sendenv"]) == ("yes", "ERROR", "MINE")
    include.check(box)


def test_what_cannot_be_taken_back_is_named(
    box: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(home, "Host *\n  BindInterface vpn0\n")
    with pytest.raises(SshError, match="bindinterface vpn0") as caught:
        include.check(box)
    assert "Host * !devbox-*" in caught.value.fix
    _write(home, "Host * !devbox-*\n  BindInterface vpn0\n")
    include.check(box)
    (home / ".ssh" / "config").write_text("Host *\n  Port 1\n")
    with pytest.raises(SshError, match="does not find devbox-one"):
        include.check(box)


def test_the_users_ignore_unknown_keeps_its_meaning(box: Box, home: Path) -> None:
    """It holds for every host only while no line before it says another."""
    file = _write(home, "IgnoreUnknown UseKeychain\nHost *\n  UseKeychain yes\n")
    _works(file, box, home)
    assert parsed.settings(file, "elsewhere")["ignoreunknown"] == "UseKeychain"


def test_an_older_ssh_gets_no_word_that_it_does_not_know(box: Box) -> None:
    listed = parsed.keywords() - {"sessiontype", "stdinnull", "pubkeyacceptedalgorithms"}
    text = blocks.block(box, ssh_config.place()._replace(known=listed))
    assert "ForkAfterAuthentication" in text
    for word in ("SessionType", "StdinNull", "KnownHostsCommand"):
        assert word not in text
    assert "SessionType" in blocks.block(box, ssh_config.place())


@pytest.fixture
def agent(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    address = home / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", address], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(address))
    while subprocess.run(["ssh-add", "-L"], capture_output=True, check=False).returncode == 2:
        assert process.poll() is None
    yield
    process.kill()
    process.wait()


def _add(private: Path) -> None:
    subprocess.run(["ssh-add", "-q", private], check=True)


@pytest.mark.parametrize("right", ["ours", "the agent's third", "the user's own file"])
def test_both_clients_get_in_past_an_agent_with_eight_keys(
    sshd: Sshd, home: Path, agent: None, keypair: Callable[[], tuple[Path, str]], right: str
) -> None:
    del agent
    made = [keypair() for _ in range(8)]
    for private, _ in made:
        _add(private)
    (home / ".ssh").mkdir(mode=0o700)
    own, own_public = keypair()
    os.replace(own, home / ".ssh" / "id_ed25519")
    if right == "the agent's third":
        sshd.authorise(made[2][1])
    elif right == "the user's own file":
        sshd.authorise(own_public)
    box = sshd.box(gateway=True)
    ssh_config.publish([box])
    ran = subprocess.run(
        ["ssh", "-F", str(paths.ssh_config()), box.alias, "echo in"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert ran.stdout == b"in\n", ran.stderr
    ssh_config.forget(box)
    with connect(box) as connection:
        assert connection.run(["echo", "in"]).out == "in\n"


def test_both_clients_offer_the_same_keys_in_the_same_order(
    sshd: Sshd, home: Path, agent: None, keypair: Callable[[], tuple[Path, str]]
) -> None:
    del agent
    for _ in range(8):
        _add(keypair()[0])
    (home / ".ssh").mkdir(mode=0o700)
    own, _ = keypair()
    os.replace(own, home / ".ssh" / "id_ed25519")
    os.replace(own.with_suffix(".pub"), home / ".ssh" / "id_ed25519.pub")
    _add(home / ".ssh" / "id_ed25519")
    sshd.authorise(keypair()[1])
    box = sshd.box(gateway=True)
    ssh_config.publish([box])

    def tried(login: Callable[[], object]) -> list[str]:
        before = len((sshd.folder / "log").read_text())
        login()
        lines = (sshd.folder / "log").read_text()[before:].splitlines()
        return [line.split("SHA256:")[1].split()[0] for line in lines if "Failed publickey" in line]

    def refused() -> None:
        with pytest.raises(SshError):
            connect(box)

    line = ["ssh", "-F", str(paths.ssh_config()), "-o", "ControlPath=none", box.alias, "true"]
    by_ssh = tried(lambda: subprocess.run(line, capture_output=True, check=False))
    by_paramiko = tried(refused)
    assert len(by_ssh) == 5
    assert by_paramiko == by_ssh


def test_an_agent_is_never_asked_for_a_box_that_knows_only_our_key(
    sshd: Sshd, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that waits for someone to unlock it would hold every login."""
    box = sshd.box()
    ssh_config.publish([box])
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(home / "silent"))
        silent.listen()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "silent"))
        ran = subprocess.run(
            ["ssh", "-F", str(paths.ssh_config()), box.alias, "echo in"],
            capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert ran.stdout == b"in\n", ran.stderr
        with connect(box) as connection:
            assert connection.run(["true"]).code == 0
