"""The model's own process: what it prints, raises and dies of stays there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from devbox.box.service import Service
from devbox.box.services.model import Model, ModelDied, ModelError, NotReady
from tests.jobs.conftest import oldest_python

HERE = "tests.services.models"


@pytest.fixture
def model() -> Iterator[Model[Any]]:
    made: Model[Any] = Model(HERE, {"size": 3})
    yield made
    made.close()


def test_answers_come_whole_whatever_the_model_prints(capfd: pytest.CaptureFixture[str]) -> None:
    model: Model[Any] = Model(HERE, {"size": 3})
    assert model.ask({"image": b"\0" * 3_000_000})["request"] == {"image": b"\0" * 3_000_000}
    assert model.info == {"device": "cpu", "size": 3}
    model.close()
    out, err = capfd.readouterr()
    assert out == ""
    for text in ("printed by Python", "written to descriptor 1", "printed by C"):
        assert text in err


def test_what_it_raises_is_told_and_the_process_continues(model: Model[Any]) -> None:
    first = model.ask(1)
    with pytest.raises(ModelError, match="ValueError: no face in it") as raised:
        model.ask("raise")
    assert raised.value.status == 500
    assert model.ask(2) == {"request": 2, "pid": first["pid"], "count": 3}


@pytest.mark.parametrize(
    ("how", "said"), [("die", "was killed by SIGSEGV"), ("exit", "ended with code 7")]
)
def test_its_death_is_told_and_it_is_loaded_again(model: Model[Any], how: str, said: str) -> None:
    first = model.ask(1)
    with pytest.raises(ModelDied, match=f"the model's process {said}"):
        model.ask(how)
    again = model.ask(2)
    assert (again["request"], again["count"]) == (2, 1)
    assert again["pid"] != first["pid"]


def test_one_that_takes_too_long_is_killed() -> None:
    model: Model[Any] = Model(HERE, timeout=0.2)
    pid = model.ask(1)["pid"]
    with pytest.raises(ModelDied, match=r"took over 0\.2 s"):
        model.ask("hang")
    assert not psutil.pid_exists(pid)
    assert model.ask(2)["request"] == 2
    model.close()


async def test_calls_are_answered_in_their_order_and_one_that_was_given_up_is_left_out(
    model: Model[Any],
) -> None:
    await asyncio.to_thread(model.wait)
    calls = [asyncio.ensure_future(model.call(n)) for n in range(20)]
    await asyncio.sleep(0)
    calls[15].cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers[15], asyncio.CancelledError)
    kept = [answer for answer in answers if isinstance(answer, dict)]
    assert [answer["request"] for answer in kept] == [n for n in range(20) if n != 15]
    assert [answer["count"] for answer in kept] == list(range(1, 20))


async def test_while_it_loads_a_call_is_refused_with_when_to_come_back(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    model: Model[Any] = Model(HERE, {"until": str(gate)})
    with pytest.raises(NotReady, match="is being loaded") as raised:
        await model.call(1)
    assert (raised.value.status, raised.value.headers) == (503, {"Retry-After": "5"})
    gate.touch()
    assert await asyncio.to_thread(model.wait, 20)
    assert (await model.call(1))["request"] == 1
    model.close()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"broken": True}, "OSError: weights.bin is not there"),
        ({"dies": True}, "ended with code 3"),
    ],
)
def test_one_that_cannot_be_loaded_ends_the_service(config: dict[str, bool], said: str) -> None:
    told: list[str] = []
    service = Service()
    service.on_fail(told.append)
    model: Model[Any] = Model(HERE, config, service=service)
    assert not model.wait(60)
    assert (model.state, model.error) == ("failed", said)
    with pytest.raises(NotReady, match="cannot be loaded"):
        model.ask(1)
    model.close()
    assert told == [f"the model cannot be loaded: {said}"]


def test_it_may_have_another_interpreter_than_the_service() -> None:
    """The machine's oldest, as an environment of its own may have."""
    model: Model[Any] = Model(HERE, {"size": 3}, python=oldest_python())
    assert model.ask({"picture": b"\xff" * 1000})["request"] == {"picture": b"\xff" * 1000}
    assert psutil.Process(model.pid).exe() == os.path.realpath(oldest_python())
    model.close()


def test_it_ends_with_whoever_started_it() -> None:
    model: Model[Any] = Model(HERE)
    pid = model.ask(1)["pid"]
    assert os.getpid() == psutil.Process(pid).ppid()
    model.close()
    assert not psutil.pid_exists(pid)
