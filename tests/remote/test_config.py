"""devbox's own config and the pinned host keys."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from pathlib import Path

import msgspec
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devbox import paths
from devbox.errors import DevboxError, SshError
from devbox.model import Box, Endpoint
from devbox.remote import command, keys
from devbox.remote.config import blocks, known_hosts, parsed, ssh_config
from devbox.remote.exec import Exec
from devbox.spec import BoxSpec, encode_box
from tests.processes import command_line
from tests.remote.sshd import Sshd, box_at, make_box, wait_until

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2mLw2oT4cP3cH1bQGc1VQd4cQmJbGxkM9o6hXJ7a8b"
HOSTILE = [
    "", " ", "a b", "-oProxyCommand=touch /tmp/owned", "h\nProxyCommand touch /tmp/owned",
    "h\rHost *", "../../etc", '"', "'", "$(id)", "`id`", "h#c", "*", "?", "!h", "%h", "é", "😀",
    "a\0b", "x" * 10_000, "h,other", "[::1]:22", "\x1b[31m", "a\tb", "\\", "host|cat", "-", "--",
    "\u202eevil", "h;id", "h&id", "${HOME}", "~", "/etc/passwd", "a=b",
]  # fmt: skip


def test_ssh_reads_back_what_was_meant(home: Path) -> None:
    del home
    box = make_box("train", Endpoint("example.org", 2222, "me", (KEY,), "gateway.example"))
    ssh_config.publish([box, make_box("starting")])
    found = parsed.settings(paths.ssh_config(), "devbox-train")
    expected = {
        "hostname": "example.org",
        "port": "2222",
        "user": "me",
        "hostkeyalias": "gateway.example",
        "identityfile": str(paths.identity()),
        "identitiesonly": "yes",
        "stricthostkeychecking": "true",
        "userknownhostsfile": str(paths.known_hosts()),
        "controlmaster": "auto",
        "updatehostkeys": "false",
        "passwordauthentication": "yes",
        "preferredauthentications": "publickey",
        "forwardagent": "no",
    }
    assert {key: found[key] for key in expected} == expected
    assert found["controlpath"].startswith(str(paths.control_dir()))
    assert known_hosts.pinned("gateway.example") == (KEY,)
    assert "devbox-starting" not in paths.ssh_config().read_text()
    assert paths.ssh_config().stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("forwards", [True, False])
def test_the_agent_is_forwarded_where_that_was_asked_for_and_offers_no_key_to_log_in(
    home: Path, monkeypatch: pytest.MonkeyPatch, forwards: bool
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "agent"))
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(home / "agent")])
    server = Sshd(home / "sshd")
    try:
        wait_until((home / "agent").exists, "the agent listens")
        box = msgspec.structs.replace(
            server.box(), spec=encode_box(BoxSpec(forward_agent=forwards))
        )
        ssh_config.publish([box])
        asked = "ssh-add -l; echo $?"  # 1: an agent without keys; 2: none
        ran = Exec(box).run(["sh", "-c", asked]).out.split()
        assert ran[-1] == ("1" if forwards else "2")
        settings = parsed.settings(paths.ssh_config(), box.alias)
        assert settings["identitiesonly"] == "yes"
    finally:
        ssh_config.forget(box)
        server.stop()
        agent.kill()
        agent.wait()


@pytest.mark.parametrize("folder", ["with space", "it's", "100%", "é 😀", "[a]*", "#hash", "a%h"])
def test_any_home_that_ssh_can_read(
    home: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setenv("DEVBOX_HOME", str(home / folder))
    server = Sshd(home / "sshd")
    try:
        box = server.box()
        ssh_config.publish([box])
        ran = subprocess.run(command.argv(box, ["echo", "hi"]), capture_output=True, check=False)
        assert ran.stdout == b"hi\n", ran.stderr
    finally:
        ssh_config.forget(box)
        server.stop()


@pytest.mark.parametrize("folder", ['say "hi"', "back\\slash", "${HOME}", "new\nline"])
def test_a_home_that_ssh_cannot_read_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setenv("DEVBOX_HOME", str(home / folder))
    with pytest.raises(SshError, match="ssh cannot be told of the path"):
        ssh_config.publish([box_at(22, KEY)])
    assert not paths.ssh_config().exists()


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("field", ["host", "user", "host_key_alias"])
def test_hostile_endpoints_never_reach_the_file(home: Path, field: str, value: str) -> None:
    del home
    good = box_at(22, KEY, "good")
    # An empty host key alias is no attack: it means the box's own alias.
    value = value or "\n"
    endpoint = msgspec.structs.replace(Endpoint("example.org", 22, "me", (KEY,)), **{field: value})
    with pytest.raises(SshError, match="box bad has no usable ssh address"):
        ssh_config.publish([make_box("bad", endpoint), good])
    text = paths.ssh_config().read_text()
    assert "devbox-bad" not in text
    assert "devbox-good" in text
    assert text == blocks.render([good], ssh_config.place())


@pytest.mark.parametrize(
    "key",
    ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-ed25519 @@@@", f"{KEY}\nevil {KEY}"[12:],
     "* " + KEY, "ssh-dss " + KEY[12:], "ssh-rsa " + KEY[12:], "ssh-ed25519 " + "A" * 8000],
)  # fmt: skip
def test_malformed_host_keys_are_refused_whole(home: Path, key: str) -> None:
    del home
    known_hosts.pin("devbox-one", [KEY])
    with pytest.raises(SshError, match="not an ssh host key"):
        known_hosts.pin("devbox-one", [KEY, key])
    assert known_hosts.pinned("devbox-one") == (KEY,)


def test_pins_follow_the_boxes_and_a_gateway_stays(home: Path) -> None:
    del home
    other = keys.new_host_key()[1].rsplit(" ", 1)[0]
    known_hosts.pin("ssh.example", [KEY])
    ssh_config.publish([box_at(22, KEY, "a"), box_at(22, KEY, "b")])
    ssh_config.publish([box_at(22, other, "a"), make_box("b")])
    assert known_hosts.pinned("devbox-a") == (other,)
    assert known_hosts.pinned("devbox-b") == (KEY,)
    ssh_config.publish([box_at(22, other, "a")])
    assert known_hosts.pinned("devbox-b") == ()
    assert known_hosts.pinned("ssh.example") == (KEY,)
    known_hosts.pin("ssh.example", ())
    assert known_hosts.pinned("ssh.example") == ()


def test_a_write_that_ssh_does_not_read_back_is_undone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del home
    ssh_config.publish([box_at(22, KEY, "a")])
    before = paths.ssh_config().read_bytes()
    monkeypatch.setattr(blocks, "_FIXED", ("NoSuchOption yes",))
    with pytest.raises(SshError, match="Bad configuration option"):
        ssh_config.publish([box_at(22, KEY, "a"), box_at(23, KEY, "b")])
    assert paths.ssh_config().read_bytes() == before
    monkeypatch.setattr(blocks, "_FIXED", ("Port 1",))
    real = blocks.block

    def wrong(box: Box, place: blocks.Place) -> str:
        return real(box, place).replace("  Port 23\n", "")

    monkeypatch.setattr(blocks, "block", wrong)
    with pytest.raises(SshError, match=r"port differ"):
        ssh_config.publish([box_at(23, KEY, "b")])
    assert paths.ssh_config().read_bytes() == before


def test_two_hundred_boxes(home: Path) -> None:
    del home
    boxes = [box_at(1000 + n, KEY, f"b{n}") for n in range(200)]
    ssh_config.publish(boxes[:199])
    ssh_config.publish(boxes)
    assert parsed.settings(paths.ssh_config(), "devbox-b199")["port"] == "1199"
    assert len(known_hosts.pinned("devbox-b0")) == 1


def _publish(arguments: tuple[int, dict[str, str]]) -> None:
    number, environment = arguments
    os.environ.update(environment)
    known = paths.home() / "boxes"

    def boxes() -> list[Box]:
        (known / f"b{number}").touch()
        return [box_at(22, KEY, file.name) for file in sorted(known.iterdir())]

    ssh_config.publish(boxes)


def test_ten_processes_at_once_lose_nothing(home: Path) -> None:
    (paths.home() / "boxes").mkdir()
    environment = {"HOME": str(home), "DEVBOX_HOME": os.environ["DEVBOX_HOME"]}
    with multiprocessing.get_context("spawn").Pool(10) as pool:
        pool.map(_publish, [(n, environment) for n in range(10)], chunksize=1)
    text = paths.ssh_config().read_text()
    assert text.count("Host devbox-b") == 10
    assert all(known_hosts.pinned(f"devbox-b{n}") == (KEY,) for n in range(10))
    assert (
        subprocess.run(
            ["ssh-keygen", "-y", "-f", str(paths.identity())], capture_output=True, check=True
        ).stdout.split()[1]
        == keys.ensure_identity().split()[1].encode()
    )


def test_the_identity_is_made_once_and_never_replaced(home: Path) -> None:
    del home
    first = keys.ensure_identity()
    assert first.startswith("ssh-ed25519 ")
    assert paths.identity().stat().st_mode & 0o777 == 0o600
    public = paths.identity().with_name("id_ed25519.pub")
    public.unlink()
    paths.identity().chmod(0o644)
    assert keys.ensure_identity().split()[:2] == first.split()[:2]
    assert paths.identity().stat().st_mode & 0o777 == 0o600
    public.unlink()
    paths.identity().write_text("garbage")
    with pytest.raises(SshError, match="cannot be read"):
        keys.ensure_identity()
    assert paths.identity().read_text() == "garbage"


def test_without_a_shared_connection_there_is_nothing_to_close(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    box = box_at(22, KEY)
    ssh_config.forget(box)
    assert not paths.ssh_config().exists()
    ssh_config.publish([box])
    published = paths.ssh_config().read_text()
    assert f"Host {box.alias}\n" in published
    ssh_config.forget(box)
    assert paths.ssh_config().read_text() == published
    assert capfd.readouterr() == ("", "")


def test_forget_ends_the_shared_connection(sshd: Sshd) -> None:
    box = sshd.box()
    ssh_config.publish([box])
    assert subprocess.run(command.argv(box, ["true"]), check=False).returncode == 0
    folder = paths.control_dir()
    assert folder
    assert len(list(folder.iterdir())) == 1
    ssh_config.forget(box)
    assert list(folder.iterdir()) == []


def test_a_shared_connection_that_hangs_is_left_to_itself(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = sshd.box()
    ssh_config.publish([box])
    assert subprocess.run(command.argv(box, ["true"]), check=False).returncode == 0
    folder = paths.control_dir()
    assert folder
    (hung,) = [p for p in psutil.process_iter() if str(folder) in command_line(p)]
    hung.suspend()
    monkeypatch.setattr(ssh_config, "_PATIENCE", 0.2)
    ssh_config.forget(box)
    assert list(folder.iterdir()) == []
    hung.kill()


def test_a_wrecked_personal_config_never_matters(sshd: Sshd, home: Path) -> None:
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_bytes(b"\xff\x00 nonsense\nHost\nMatch\n")
    box = sshd.box()
    ssh_config.publish([box])
    ran = subprocess.run(command.argv(box, ["echo", "fine"]), capture_output=True, check=False)
    assert ran.stdout == b"fine\n"


@given(st.text(max_size=60))
@settings(max_examples=150)
def test_any_text_as_a_path_is_quoted_or_refused(text: str) -> None:
    try:
        word = blocks.quoted(Path("/" + text))
    except DevboxError:
        return
    assert word[0] == word[-1] == '"'
    assert not set(word[1:-1]) & set('"\n\r\0\\')


@given(st.text(max_size=80), st.text(max_size=80), st.integers())
@settings(max_examples=200)
def test_any_endpoint_is_one_clean_block_or_refused(host: str, user: str, port: int) -> None:
    place = blocks.Place(Path("/k"), (), Path("/h"), None)
    try:
        text = blocks.block(make_box("a", Endpoint(host, port, user)), place)
    except DevboxError:
        return
    assert text.count("\nHost ") == 0
    assert f"  HostName {host}\n" in text
    assert f"  User {user}\n" in text
    assert all(len(line.split()) >= 2 for line in text.splitlines())
