"""devbox.zerogpu with the real `spaces` package, ZeroGPU on, in processes of their own. The device
API is an emulator, and the GPU's tensors are CPU tensors that cannot be read in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.zerogpu import ZeroGPU

pytestmark = pytest.mark.xdist_group("zerogpu")
ROOT = Path(__file__).parents[2]
_PLAIN = {"array", "cpu"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], ZeroGPU]]:
    folder = tmp_path_factory.mktemp("space")
    with ZeroGPU(slots=200) as api:
        code = "from tests.zerogpu import space; space.main()"
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder)],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "OMP_NUM_THREADS": "1",
                "SPACES_ZERO_GPU": "1",
                "SPACES_ZERO_DEVICE_API_URL": api.url,
                "GRADIO_ANALYTICS_ENABLED": "False",
            },
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        yield json.loads(done.stdout), api


def test_without_help_21_of_23_shapes_fail_and_leave_leases_and_workers(ran: Any) -> None:
    seen, api = ran
    failed = {name for name, said in seen["raw"].items() if said != "ok"}
    assert failed == set(seen["raw"]) - _PLAIN
    assert len(failed) == 21
    assert len(api.held) >= 15  # never given back
    assert seen["raw children"] >= 15


def test_with_help_no_shape_fails_in_either_of_two_calls_also_of_a_generator(ran: Any) -> None:
    seen, _ = ran
    assert {name: both for name, both in seen["whole"].items() if both != ["ok", "ok"]} == {}
    assert {name: both for name, both in seen["stream"].items() if both != ["ok", "ok"]} == {}
    assert len(seen["whole"]) == len(seen["stream"]) == 23
    # one worker for each of the two functions, from the first call to the last
    assert seen["workers of 92 calls"] == seen["children"] == 2
    assert seen["after an early close"] == [3, 2]
    assert seen["descriptors of 40 tensors"] == 0


def test_with_help_no_lease_is_left(ran: Any) -> None:
    seen, api = ran
    ours = api.leases[seen["first lease with help"] :]
    assert {lease.state for lease in ours if lease.state != "released"} <= {"failed"}
    assert sum(lease.state == "failed" for lease in ours) == 1  # of the worker that died


def test_what_was_decorated_keeps_its_name_signature_and_kind(ran: Any) -> None:
    seen, _ = ran
    assert seen["signature"] == ["whole", "Make it.", "(name: 'str') -> 'Any'"]
    assert seen["is stream"] == [False, True]


def test_an_error_comes_with_class_and_message_and_the_worker_stays(ran: Any) -> None:
    seen, _ = ran
    for kind in ("error", "stream error"):
        assert seen[f"{kind} value"] == "Error: ValueError: no face in it"
        assert seen[f"{kind} exit"] == "Error: SystemExit: 3"
        assert seen[f"{kind} interrupt"] == "Error: KeyboardInterrupt"
        assert seen[f"{kind} gradio"] == "Error: Please send a picture"
    assert {tuple(seen[f"streamed before {name}"]) for name in ("value", "exit", "result")} == {
        (1,)
    }
    assert "work()['frames'][0] cannot leave its process" in seen["error result"]
    assert "a tensor on cuda" in seen["error module"]
    assert seen["workers after six errors"] == 1


def test_a_worker_that_died_or_lost_its_gpu_is_replaced(ran: Any) -> None:
    seen, _ = ran
    assert seen["error die"] == "Error: GPU task aborted"
    assert "illegal memory access" in seen["error cuda"]
    assert seen["new worker after die"]
    assert seen["new worker after cuda"]
    assert seen["children after errors"] == 4  # two of the shapes, work and stream


def test_arguments_that_cannot_travel_are_refused_before_a_gpu_is_asked_for(ran: Any) -> None:
    seen, _ = ran
    for name in ("fake", "fake in a thread", "module in a thread"):
        assert "a tensor that spaces holds for the GPU" in seen[name], name
    assert "[0]['image'] cannot leave" in seen["fake"]
    assert "arguments of work: [0] cannot leave" in seen["lock"]
    assert seen["leases of refused calls"] == 0
    assert seen["changed there"] == [[1.0, 1.0], [0.0, 0.0]]


def test_a_duration_may_be_computed_and_is_below_one_day(ran: Any) -> None:
    seen, api = ran
    assert seen["duration saw"] == ["Tensor"]
    assert "below one day" in seen["a day"]
    assert seen["leases of a day"] == 0
    ours = api.leases[seen["first lease with help"] :]
    assert any(lease.seconds not in (None, 60) for lease in ours)


def test_a_model_is_loaded_once_in_a_worker_or_inherited_from_the_space(ran: Any) -> None:
    seen, _ = ran
    assert seen["loads"] == ["x"]
    assert seen["same model"]
    assert seen["inherited"] == [True] * 3
    assert seen["a method of an object in the worker"] == [1, 2, 0]
    here, outside, on_gpu = seen["called inside a GPU function"]
    assert (here, outside) == (on_gpu, "Tensor")


def test_workers_that_spaces_forgets_are_ended(ran: Any) -> None:
    seen, _ = ran
    assert seen["four at once"] == 4
    assert seen["workers left of four"] == 1
    assert seen["cold is another"]
    assert seen["workers left of two"] == 1
