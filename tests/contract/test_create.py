"""create, observe and find: one box a token, tagged, told as it is."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from devbox.model import BoxState
from devbox.providers import registry
from devbox.providers.base import Provider
from tests.contract.harness import Harness, needs


def test_every_provider_is_under_contract(harnesses: list[type[Harness]]) -> None:
    assert {each.name for each in harnesses} == set(registry.NAMES)


def test_offers_have_names_and_dated_prices(harness: Harness, provider: Provider) -> None:
    offers = provider.offers()
    names = [offer.hardware.name for offer in offers]
    assert harness.hardware in names
    assert len(set(names)) == len(names)
    for offer in offers:
        assert offer.provider == provider.name == harness.name
        assert offer.price.micro_per_hour is None or offer.price.micro_per_hour >= 0
        assert offer.price.source
        assert 0 < offer.as_of <= time.time() + 60


def test_a_created_box_comes_to_run_and_bills(harness: Harness, provider: Provider) -> None:
    before = time.time()
    request = harness.request("work")
    handle = provider.create(request)
    seen = harness.running(provider, handle)
    assert (seen.handle, seen.name, seen.token) == (handle, "work", request.token)
    assert seen.hardware in ("", harness.hardware)
    assert seen.billed
    assert seen.billed_since is None or before - 1 <= seen.billed_since
    assert seen.endpoint is not None
    assert harness.live() == 1


def test_before_it_runs_a_box_is_on_its_way(harness: Harness, provider: Provider) -> None:
    handle = provider.create(harness.request())
    seen = provider.observe(handle)
    assert seen is not None
    assert seen.state in {
        BoxState.PROVISIONING,
        BoxState.BUILDING,
        BoxState.STARTING,
        BoxState.RUNNING,
    }


def test_create_is_idempotent_by_token(harness: Harness, provider: Provider) -> None:
    request = harness.request()
    first = provider.create(request)
    assert provider.create(request) == first
    harness.running(provider, first)
    assert harness.make().create(request) == first
    assert harness.live() == 1


def test_creates_of_one_token_at_once_make_one_box(harness: Harness, provider: Provider) -> None:
    request = harness.request()
    with ThreadPoolExecutor(4) as pool:
        handles = set(pool.map(lambda _: harness.make().create(request), range(4)))
    assert len(handles) == 1
    harness.running(provider, handles.pop())
    harness.found(provider, lambda listing: len(listing) == 1)
    assert harness.live() == 1


def test_find_lists_what_carries_our_tag(harness: Harness, provider: Provider) -> None:
    one, two = harness.request("one"), harness.request("two")
    handles = {request.token: provider.create(request) for request in (one, two)}
    for handle in handles.values():
        harness.running(provider, handle)
    harness.found(provider, lambda listing: len(listing) == 2)
    assert {seen.token: seen.handle for seen in harness.make().find()} == handles
    assert [seen.name for seen in provider.find(two.token)] == ["two"]
    assert provider.find("0" * 32) == []


def test_a_box_that_never_was(harness: Harness, provider: Provider) -> None:
    assert provider.observe(harness.unknown) is None
    assert provider.find("0" * 32) == []
    provider.terminate(harness.unknown)


def test_calls_from_many_threads(harness: Harness, provider: Provider) -> None:
    handle = provider.create(harness.request())
    harness.running(provider, handle)
    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(lambda _: provider.observe(handle), range(16)))
    assert {seen.state for seen in states if seen is not None} == {BoxState.RUNNING}


@needs("login")
def test_a_running_box_lets_us_in_with_its_pinned_key(harness: Harness, provider: Provider) -> None:
    request = harness.request(env={"GREETING": 'it\'s "here"'})
    handle = provider.create(request)
    with harness.login(request, harness.running(provider, handle)) as connection:
        assert connection.run(["printenv", "GREETING"]).out == 'it\'s "here"\n'
        assert connection.run(["sh", "-c", "exit 7"], check=False).code == 7


@needs("login")
def test_secrets_reach_the_box_and_are_never_told(harness: Harness, provider: Provider) -> None:
    secret = "s3cret-value-that-nobody-tells"
    request = harness.request()._replace(secrets={"TOKEN_OF_TEST": secret})
    handle = provider.create(request)
    seen = harness.running(provider, handle)
    with harness.login(request, seen) as connection:
        assert connection.run(["printenv", "TOKEN_OF_TEST"]).out.strip() == secret
    assert secret not in repr((seen, provider.find(), provider.checks(), provider.offers()))
    assert secret not in repr(provider.watchdog(handle))


def test_its_checks_say_what_to_do(provider: Provider) -> None:
    found = provider.checks()
    assert found
    for level, what, fix in found:
        assert level in {"ok", "warn", "fail", "unknown"}
        assert what
        assert fix or level == "ok"
