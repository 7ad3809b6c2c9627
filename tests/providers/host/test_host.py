"""Adopting a host that a user has, and letting it go, over a real sshd."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from devbox.errors import (
    AuthError,
    Conflict,
    DevboxError,
    Gone,
    KeyRefused,
    ProviderError,
    Unavailable,
    UsageError,
)
from devbox.model import BoxState
from devbox.providers.base import Request
from devbox.providers.host import scripts, user_ssh
from devbox.providers.host.provider import Host
from devbox.remote.config import ssh_config
from devbox.remote.connection import Connection, connect
from devbox.spec import BoxSpec, SshSettings
from devbox.wire.messages import PauseRecipe
from tests.boxes import put, request_for
from tests.providers.host.conftest import MakeMachine
from tests.providers.host.machine import Machine
from tests.remote.sshd import free_port, make_box, wait_until

pytestmark = pytest.mark.real_time

HOSTILE = [
    "-oProxyCommand=touch /tmp/pwned", "$(touch /tmp/pwned)", "`touch /tmp/pwned`", "a b", "a\nb",
    "a;touch /tmp/pwned", "user@", "@host", "a@b@c", "ssh://", "\x1b[31m", "é" * 300, "a\0b", "'",
    '"', "me@-oProxyCommand=x", "host|x", "../../etc", "%h", "host:22:33", "\u202ehost",
]  # fmt: skip


def wanted(
    host: str = "lab", *, name: str = "b", token: str | None = None, **fields: Any
) -> Request:
    return request_for(name, BoxSpec(provider="ssh", host=host, **fields), token=token)


def login(provider: Host, handle: str) -> Connection:
    seen = provider.observe(handle)
    assert seen is not None
    box = make_box(seen.name, seen.endpoint, "ssh")
    ssh_config.publish([box])
    return connect(box)


def test_adopting_adds_one_line_and_reads_the_host_key(lab: Machine, provider: Host) -> None:
    before = lab.admitted
    request = wanted()
    handle = provider.create(request)
    seen = provider.observe(handle)
    assert seen is not None
    assert (seen.state, seen.billed, seen.token) == (BoxState.RUNNING, True, request.token)
    assert seen.endpoint is not None
    assert seen.endpoint.port == lab.sshd.port
    assert " ".join(lab.sshd.host_key.split()[:2]) in (seen.endpoint.host_keys or ())
    assert lab.admitted[:-1] == before
    assert lab.admitted[-1].endswith(f"devbox:{request.token}")


def test_releasing_takes_back_exactly_our_line(lab: Machine, provider: Host) -> None:
    handle = provider.create(wanted(token="b-11112222"))
    strangers = [
        "# a comment",
        "",
        "ssh-ed25519 AAAA devbox:b-11112222-33334444",
        "ssh-ed25519 AAAA notdevbox:b-11112222",
        "ssh-ed25519 AAAA devbox:b-11112222 and more",
    ]
    lab.admit(*lab.admitted, *strangers)
    file = lab.home / ".ssh" / "authorized_keys"
    file.chmod(0o640)
    before = lab.admitted
    provider.terminate(handle)
    assert lab.admitted == [line for line in before if not line.endswith(" devbox:b-11112222")]
    assert len(lab.admitted) == len(before) - 1
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in (lab.home / ".ssh").iterdir()) == ["authorized_keys"]
    assert not (lab.home / ".devbox-box").exists()
    assert provider.observe(handle) is None
    provider.terminate(handle)


def test_an_authorized_keys_that_is_a_link_or_lacks_its_last_newline(
    lab: Machine, provider: Host
) -> None:
    file, real = lab.home / ".ssh" / "authorized_keys", lab.home / "dotfiles"
    text = file.read_text().rstrip("\n")
    file.rename(real)
    real.write_text(text)
    file.symlink_to(real)
    handle = provider.create(wanted())
    assert lab.admitted[0] == text
    assert len(lab.admitted) == 2
    provider.terminate(handle)
    assert file.is_symlink()
    assert lab.admitted == [text]


def test_environment_and_secrets_are_in_one_private_file_until_the_release(
    lab: Machine, provider: Host
) -> None:
    value = 'it\'s "quoted"\n$(touch /tmp/pwned) é\\'
    request = wanted(env={"GREETING": value})._replace(secrets={"HIDDEN": "s3cret"})
    handle = provider.create(request)
    (file,) = (lab.home / ".devbox-box").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    with login(provider, handle) as connection:
        assert connection.run(["printenv", "GREETING"]).out == value + "\n"
        assert connection.run(["printenv", "HIDDEN"]).out == "s3cret\n"
        assert connection.run(["pwd"]).out.strip() == str(lab.home)
        put(connection, b"bytes", "folder/note.bin")
        assert connection.run(["cat", "folder/note.bin"]).out == "bytes"
    assert (lab.home / "folder" / "note.bin").read_bytes() == b"bytes"
    assert user_ssh.ask("lab", "printenv HIDDEN || echo none").out == "none\n"
    provider.terminate(handle)
    assert not file.exists()
    with pytest.raises(UsageError, match="environment variable"):
        provider.create(wanted(env={"A B": "x"}))


def test_through_a_jump_host(make_machine: MakeMachine, provider: Host) -> None:
    make_machine("gate")
    inner = make_machine("inner", via="ProxyJump gate")
    handle = provider.create(wanted("inner"))
    seen = provider.observe(handle)
    assert seen is not None
    assert seen.endpoint is not None
    assert " -W '[%h]:%p' " in seen.endpoint.via
    with login(provider, handle) as connection:
        assert connection.run(["printenv", "TESTED_MACHINE"]).out == "inner\n"
        done = connection.run(["cat"], input=b"x" * 3_000_000)
        assert len(done.out) == 3_000_000
    provider.terminate(handle)
    assert inner.ours == []


def test_the_persons_own_proxy_command_with_shell_in_it(
    make_machine: MakeMachine, provider: Host
) -> None:
    gate = make_machine("gate")
    make_machine("inner", via="ProxyCommand ssh -F ~/.ssh/config -W '[%h]:%p' gate 2>/dev/null")
    handle = provider.create(wanted("inner"))
    connection = login(provider, handle)
    gate.off()
    wait_until(lambda: not connection._fabric.is_connected, "the cut is noticed")
    connection.close()
    with pytest.raises(Unavailable):
        provider.observe(handle)


def test_a_jump_host_that_is_off_is_named(make_machine: MakeMachine, provider: Host) -> None:
    gate = make_machine("gate")
    make_machine("inner", via="ProxyJump gate")
    handle = provider.create(wanted("inner"))
    login(provider, handle).close()
    gate.off()
    seen = provider.find(handle)[0]
    with pytest.raises(DevboxError, match=r"does not answer as an ssh server: .*refused"):
        connect(make_box(seen.name, seen.endpoint, "ssh"))


def test_an_unknown_host_key_is_the_persons_to_accept(
    make_machine: MakeMachine, provider: Host
) -> None:
    lab = make_machine(known=False)
    with pytest.raises(AuthError, match="does not know the host key") as caught:
        provider.create(wanted())
    assert caught.value.fix == "make this work first, without a password: ssh lab"
    assert lab.ours == []
    assert provider.find() == []
    lab.know()
    provider.create(wanted())
    lab.off()
    lab.sshd.new_host_key()
    lab.on()
    with pytest.raises(AuthError, match="another host key"):
        user_ssh.ask("lab", "true")


def test_a_refused_login(lab: Machine, provider: Host) -> None:
    kept = lab.admitted
    lab.admit()
    with pytest.raises(AuthError, match="does not let you in"):
        provider.create(wanted())
    assert provider.find() == []
    lab.admit(*kept)
    handle = provider.create(wanted())
    provider.observe(handle)  # the first look after an adoption is the adoption itself
    lab.admit(*lab.ours)
    seen = provider.observe(handle)
    assert seen is not None
    assert seen.state is BoxState.RUNNING
    assert "does not let you in" in seen.message
    login(provider, handle).close()
    lab.admit(*kept)
    with pytest.raises(KeyRefused):
        login(provider, handle)
    assert "AuthorizedKeysFile" in provider.login_help(handle)


def test_a_host_that_is_off(lab: Machine, provider: Host) -> None:
    handle = provider.create(wanted())
    seen = provider.observe(handle)
    assert seen is not None
    assert seen.state is BoxState.RUNNING
    lab.off()
    with pytest.raises(Unavailable):
        provider.observe(handle)
    with pytest.raises(Unavailable) as caught:
        provider.terminate(handle)
    assert "stays in its authorized_keys" in caught.value.means
    assert "devbox down b --forget" in caught.value.fix
    assert provider.find(handle)[0].billed
    lab.on()
    provider.terminate(handle)
    assert lab.ours == []


def test_two_boxes_on_one_host_are_one_too_many(lab: Machine, provider: Host) -> None:
    provider.create(wanted())
    with pytest.raises(Conflict, match="is the box b already"):
        provider.create(wanted(f"ssh://{lab.sshd.box().endpoint.user}@lab", name="c"))  # type: ignore[union-attr]
    assert len(lab.ours) == 1


def test_two_creates_on_one_host_at_once_adopt_it_once(lab: Machine, provider: Host) -> None:
    results: list[str] = []

    def create(name: str) -> None:
        try:
            results.append(provider.create(wanted(name=name)))
        except Conflict:
            results.append("")

    threads = [threading.Thread(target=create, args=(name,)) for name in ("b", "c", "d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len([r for r in results if r]) == 1
    assert len(lab.ours) == 1


@pytest.mark.parametrize("step", ["before", "after"])
def test_an_adoption_that_was_cut_off_is_finished_by_create(
    lab: Machine, provider: Host, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    request, ask = wanted(), user_ssh.ask

    def cut(target: str, script: str) -> object:
        if step == "after":
            ask(target, script)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(user_ssh, "ask", cut)
        with pytest.raises(KeyboardInterrupt):
            provider.create(request)
    (seen,) = provider.find(request.token)
    assert (seen.state, seen.billed) == (BoxState.FAILED, False)
    assert provider.create(request) == request.token
    assert len(lab.ours) == 1
    seen_now = provider.observe(request.token)
    assert seen_now is not None
    assert seen_now.state is BoxState.RUNNING


def test_a_pause_command_puts_it_to_sleep_and_it_wakes_by_itself(lab: Machine, home: Path) -> None:
    now = [1000.0]
    provider = Host(SshSettings(), clock=lambda: now[0])
    mark = lab.home / "asleep it's"
    request = wanted(pause_command=("touch", str(mark)))
    handle = provider.create(request)
    recipe = provider.watchdog(handle)
    assert recipe == PauseRecipe("exec", ("touch", str(mark)))
    now[0] = 2000.0
    assert provider.pause(handle) == handle
    seen = provider.observe(handle)
    assert seen is not None
    assert (seen.state, seen.billed) == (BoxState.PAUSING, True)
    wait_until(mark.exists, "the command runs")
    lab.off()
    seen = provider.observe(handle)
    assert seen is not None
    assert (seen.state, seen.billed, seen.ended_at) == (BoxState.PAUSED, False, 2000.0)
    provider.pause(handle)
    with pytest.raises(ProviderError, match="cannot wake it"):
        provider.resume(request, handle)
    now[0] = 5000.0
    lab.on()
    seen = provider.observe(handle)
    assert seen is not None
    assert (seen.state, seen.billed_since) == (BoxState.RUNNING, 5000.0)
    assert provider.resume(request, handle) == handle
    provider.terminate(handle)
    with pytest.raises(Gone):
        provider.pause(handle)
    with pytest.raises(Gone):
        provider.resume(request, handle)


def test_a_pause_that_never_arrived_is_no_pause(lab: Machine, provider: Host) -> None:
    handle = provider.create(wanted(pause_command=("true",)))
    provider.observe(handle)  # the first look after an adoption is the adoption itself
    lab.off()
    with pytest.raises(Unavailable):
        provider.pause(handle)
    with pytest.raises(Unavailable):
        provider.observe(handle)
    assert provider.find(handle)[0].state is BoxState.RUNNING


def test_without_a_pause_command_it_says_so(lab: Machine, provider: Host) -> None:
    del lab
    handle = provider.create(wanted())
    assert provider.watchdog(handle) is None
    with pytest.raises(ProviderError, match="no pause_command"):
        provider.pause(handle)


@pytest.mark.parametrize("host", HOSTILE, ids=lambda host: ascii(host)[:24])
def test_a_hostile_host_runs_nothing(lab: Machine, provider: Host, host: str) -> None:
    with pytest.raises(DevboxError) as caught:
        provider.create(wanted(host))
    assert len(caught.value.render()) < 2000
    assert "\x1b" not in caught.value.render()
    assert not Path("/tmp/pwned").exists()
    assert provider.find() == []
    assert lab.ours == []


def test_no_host_at_all(provider: Host) -> None:
    with pytest.raises(UsageError, match="names no host"):
        provider.create(wanted(""))


def test_a_machine_without_anything_we_need_says_so(lab: Machine, provider: Host) -> None:
    (lab.home / ".devbox-box").write_text("in the way")
    with pytest.raises(ProviderError, match="could not be adopted"):
        provider.create(wanted())
    assert lab.ours == []
    assert provider.find() == []


def test_a_port_nobody_listens_on(home: Path, provider: Host) -> None:
    del home
    with pytest.raises(Unavailable, match="does not answer"):
        provider.create(wanted(f"ssh://127.0.0.1:{free_port()}"))
    assert provider.find() == []


def test_scripts_hold_hostile_values_as_they_are() -> None:
    script = scripts.adopt("t", "ssh-ed25519 AAAA x'; touch /tmp/pwned; '", {"A": "';x"})
    assert "'; touch" not in script.replace("'\"'\"'", "")
