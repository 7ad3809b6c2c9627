"""Offers and their age, credentials, and what each refusal of the Hub becomes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from devbox.errors import (
    AuthError,
    Conflict,
    DevboxError,
    Gone,
    ProviderError,
    SpecError,
    Unavailable,
)
from devbox.providers.hf import errors, gateway, times
from devbox.providers.hf.hardware import Rates
from devbox.providers.hf.hub import Hub
from devbox.providers.hf.job import HfJob
from devbox.providers.hf.space import HfSpace
from devbox.remote import keys
from devbox.remote.config import known_hosts, ssh_config
from devbox.spec import HfSettings
from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator
from tests.remote.sshd import make_box

NOWHERE = "http://127.0.0.1:9"


def test_offers_are_live_then_cached_with_their_age(hub: HfEmulator, config: HfSettings) -> None:
    now = [time.time()]

    def rates() -> Rates:
        return Rates(Hub(config), "spaces", "hf-space", lambda: now[0])

    live = {offer.hardware.name: offer for offer in rates().offers()}
    t4 = live["t4-small"]
    assert (t4.price.micro_per_hour, t4.price.source) == (6667 * 60, "live")
    assert (t4.hardware.gpu, t4.hardware.gpus, t4.hardware.vram) == ("T4", 1, 16 * 1024**3)
    assert (t4.hardware.cpus, t4.hardware.memory) == (4, 15 * 1024**3)
    assert live["cpu-basic"].price.micro_per_hour == 0
    now[0] += 1800
    asked = hub.calls.routes.count("space_hardware")
    assert rates().offers()[0].price.source == "cached 30m"
    assert hub.calls.routes.count("space_hardware") == asked
    now[0] += 2 * 3600
    hub.knobs.set("space_hardware", Fault.server_error())
    old = rates().offers()[0]
    assert (old.price.source, old.as_of) == ("cached 2h30m", t4.as_of)
    assert rates().offers()[0].price.source == "live"


@pytest.mark.parametrize(("make", "date"), [(HfSpace, "2026-07-21"), (HfJob, "2026-08-21")])
def test_without_any_answer_the_catalogue_says_its_date(make: Any, date: str, home: Any) -> None:
    offers = {o.hardware.name: o for o in make(HfSettings(endpoint=NOWHERE)).offers()}
    a100 = offers["a100-large"]
    assert (a100.price.micro_per_hour, a100.price.source) == (2_500_000, f"catalogue {date}")
    assert (a100.hardware.cpus, a100.hardware.memory) == (12, 142 * 1024**3)
    assert a100.hardware.vram == 80 * 1024**3
    assert ("h200" in offers) is (make is HfJob)


def test_hardware_that_cannot_be_read_is_left_out_and_unknown_units_have_no_price(
    hub: HfEmulator, config: HfSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {"name": "gpu", "unitCostMicroUSD": 5, "unitLabel": "fortnight", "accelerator": 7}
    rows: list[Any] = [None, {}, {"name": "a b"}, {"name": 3}, good]
    monkeypatch.setattr(Hub, "public_list", lambda *_, **__: rows)
    (only,) = Rates(Hub(config), "jobs", "hf-job").offers()
    assert (only.hardware.name, only.price.micro_per_hour) == ("gpu", None)


class _Reply:
    def __init__(self, status: int, **headers: str) -> None:
        self.status_code, self.headers = status, headers


@pytest.mark.parametrize(
    ("status", "said", "kind", "fix"),
    [
        (400, "bad flavor", ProviderError, ""),
        (401, "", AuthError, "devbox login hf-space --again"),
        (402, "add a payment method", AuthError, "settings/billing"),
        (402, "requires a PRO subscription", AuthError, "huggingface.co/pro"),
        (403, "Dev Mode requires PRO", AuthError, "huggingface.co/pro"),
        (403, "no right", AuthError, "settings/tokens"),
        (404, "", Gone, ""),
        (409, "exists", Conflict, ""),
        (429, "slow down", Unavailable, ""),
        (503, "", Unavailable, ""),
    ],
)
def test_each_refusal_says_where_to_fix_it(
    status: int, said: str, kind: type[DevboxError], fix: str
) -> None:
    reply: Any = _Reply(status)
    error = errors.of_status(reply, "creating me/b", said)
    assert type(error) is kind
    assert fix in error.fix
    assert said in error.what


def test_the_wait_that_was_asked_for_is_told() -> None:
    reply: Any = _Reply(429, **{"Retry-After": "7"})
    error = errors.of_status(reply, "x", "")
    assert isinstance(error, Unavailable)
    assert error.retry_after == 7
    reply = _Reply(429, RateLimit='"api";r=0;t=33')
    error = errors.of_status(reply, "x", "")
    assert isinstance(error, Unavailable)
    assert error.retry_after == 33


def test_a_hub_that_does_not_answer_is_a_passing_fault(home: Any, hub: HfEmulator) -> None:
    with pytest.raises(Unavailable):
        HfSpace(HfSettings(endpoint=NOWHERE)).observe("me/x")
    with pytest.raises(ProviderError):
        HfSpace(HfSettings(endpoint="nonsense")).observe("me/x")


def test_no_token_is_told_with_the_way_to_one(
    hub: HfEmulator, space: HfSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nonexistent")
    with pytest.raises(AuthError) as caught:
        space.find()
    assert "devbox login hf-space --again" in caught.value.fix
    ((level, _, fix),) = HfJob(HfSettings()).checks()
    assert (level, "devbox login hf-space --again" in fix) == ("fail", True)


def test_doctor_names_what_the_account_lacks(
    hub: HfEmulator, config: HfSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> str:
        return repr(HfSpace(config).checks())

    assert "logged in to" in told()
    assert "no PRO" not in told()
    assert "pause themselves while this computer is off" in told()
    hub.account.pro = False
    hub.account.can_pay = False
    assert "huggingface.co/pro" in told()
    assert "settings/billing" in told()
    hub.account.add_token("hf_reads", write=False)
    monkeypatch.setenv("HF_TOKEN", "hf_reads")
    assert "may only read" in told()
    hub.account.revoke_token("hf_reads")
    assert "'fail'" in told()
    assert "hf_reads" not in told()
    config = HfSettings(pause_token="env:NOT_SET")
    assert "pause_token" in repr(HfSpace(config).checks())


def test_the_refused_key_is_named_with_the_settings_page(hub: HfEmulator, space: HfSpace) -> None:
    told = space.login_help("me/x")
    assert keys.ensure_identity() in told
    assert "/settings/keys" in told


def test_gateways() -> None:
    assert gateway.split("example.org") == ("example.org", 22)
    assert gateway.split("[::1]:2222") == ("::1", 2222)
    assert gateway.endpoint("ssh.hf.space", "", "me-b").host_key_alias == ("gateway-ssh.hf.space")
    for bad in ("", "a:b", "a:0", "a:70000", "a b", "x;y:1", "[::1"):
        with pytest.raises(SpecError):
            gateway.split(bad)
    assert gateway.user("-oProxyCommand=x") == ""
    assert gateway.user(None) == ""


def test_times_of_the_hub() -> None:
    assert times.moment("1970-01-01T00:00:10.500Z") == 10.5
    for bad in (None, 3, "", "never", "1970-01-01T00:00:10", "9" * 50):
        assert times.moment(bad) is None


@pytest.mark.parametrize("configured", ["", "localhost:2222", "127.0.0.1:2222", "[::1]:22"])
def test_a_gateways_pin_outlives_the_boxes_behind_it(home: Path, configured: str) -> None:
    """It is believed once, so it must not be believed again after every other box's change."""
    del home
    behind = gateway.endpoint("ssh.hf.space", configured, "me-space")
    key = keys.new_host_key()[1].rsplit(" ", 1)[0]
    known_hosts.pin(behind.host_key_alias, [key])
    ssh_config.publish([make_box("a", behind, "hf-space"), make_box("b")])
    ssh_config.publish([make_box("b")])
    assert known_hosts.pinned(behind.host_key_alias) == (key,)
