"""terminate, the ceiling and the watchdog: what ends costs nothing and leaves nothing."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest

from devbox.errors import DevboxError, NoAnswer
from devbox.providers import guarded
from devbox.providers.base import Provider
from devbox.spec import Bytes, Idle, Seconds
from devbox.wire.codec import convert, plain
from devbox.wire.messages import PauseRecipe
from tests.contract.harness import Harness, needs

HOSTILE = [
    "",
    "..",
    "../x",
    "/etc",
    "a/../../b",
    ".locks",
    "x\0y",
    "x\ny",
    "-oProxyCommand=touch x",
    "$(touch x)",
    "`touch x`",
    "'; drop table boxes; --",
    "*",
    "é" * 300,
    "a" * 10_000,
    "\u202ex",
    "%2e%2e%2f",
]


def test_terminate_ends_a_box_for_good(harness: Harness, provider: Provider) -> None:
    handle = provider.create(harness.request())
    harness.running(provider, handle)
    provider.terminate(handle)
    harness.gone(provider, handle)
    assert harness.live() == 0
    harness.found(provider, lambda listing: all(not seen.billed for seen in listing))
    provider.terminate(handle)
    harness.make().terminate(handle)
    harness.gone(provider, handle)


def test_terminate_of_a_box_on_its_way(harness: Harness, provider: Provider) -> None:
    handle = provider.create(harness.request())
    provider.terminate(handle)
    harness.gone(provider, handle)
    assert harness.live() == 0


def test_terminate_spares_the_others(harness: Harness, provider: Provider) -> None:
    one, two = (provider.create(harness.request(name)) for name in ("one", "two"))
    for handle in (one, two):
        harness.running(provider, handle)
    provider.terminate(one)
    harness.gone(provider, one)
    harness.running(provider, two)
    assert harness.live() == 1


def test_hostile_handles_touch_nothing(harness: Harness, provider: Provider) -> None:
    kept = provider.create(harness.request())
    for handle in HOSTILE:
        for call in (provider.observe, provider.terminate, provider.watchdog):
            try:
                seen = call(handle)
            except DevboxError as error:
                assert len(error.render()) < 2000, handle
            else:
                assert call is provider.watchdog or seen is None, handle
        harness.running(provider, kept)
        assert harness.live() == 1, handle


@needs("ceiling")
def test_a_box_ends_at_its_ceiling_by_itself(harness: Harness, provider: Provider) -> None:
    handle = provider.create(harness.request(max_uptime=Seconds(harness.short)))
    harness.pass_uptime()
    harness.until(provider, handle, lambda seen: seen is None or not seen.billed)
    assert harness.live() == 0


@needs("login", "watchdog")
def test_the_watchdogs_recipe_stops_the_bill(harness: Harness, provider: Provider) -> None:
    request = harness.request()
    handle = provider.create(request)
    seen = harness.running(provider, handle)
    recipe = provider.watchdog(handle)
    assert recipe is not None
    assert convert(plain(recipe), PauseRecipe) == recipe
    # The box may be gone before it can say how the recipe went.
    with harness.login(request, seen) as connection, suppress(NoAnswer):
        if recipe.kind == "exec":
            connection.run(recipe.argv, check=False)
        else:
            connection.run(
                [
                    "sh",
                    "-c",
                    _CURL,
                    "sh",
                    recipe.method,
                    recipe.url,
                    recipe.token_env,
                    json.dumps(recipe.body),
                ]
            )
    harness.until(provider, handle, lambda seen: seen is None or not seen.billed)
    assert harness.live() == 0


_CURL = (
    'python3 -c "import os,sys,urllib.request as u;'
    "u.urlopen(u.Request(sys.argv[2],sys.argv[4].encode(),"
    "{'Authorization':'Bearer '+os.environ[sys.argv[3]],'Content-Type':'application/json'},"
    'method=sys.argv[1]))" "$@"'
)


@needs("guarded")
def test_a_box_that_nobody_comes_back_to_pauses_or_ends_itself(
    harness: Harness, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The laptop asked for it and was never seen again: nobody logs in, nothing is armed."""
    monkeypatch.setattr(guarded, "LEAST", 3.0)
    quiet = Idle(after=Seconds(3), warn=Seconds(1), cpu_util=1000.0, net_bytes=Bytes(2**50))
    handle = provider.create(harness.request(idle=quiet))
    harness.running(provider, handle)
    harness.until(provider, handle, lambda seen: seen is None or not seen.billed)
    assert harness.live() == 0
