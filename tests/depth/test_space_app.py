"""`devbox init depth-space`: its app with the real `spaces` and `gradio` packages, ZeroGPU on,
asked over HTTP. The device API is an emulator; the model is the stand-in, which leaves a tensor of
the GPU deep in what it returns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from devbox import templates
from tests.depth.conftest import UPSTREAM, picture
from tests.emulators.zerogpu import ZeroGPU

ROOT = Path(__file__).parents[2]


@pytest.mark.xdist_group("zerogpu")
def test_the_app_answers_every_time_with_one_model_and_leaves_nothing_behind(
    tmp_path: Path, checkpoint: Any
) -> None:
    folder = tmp_path / "space"
    folder.mkdir()
    written = templates.write(templates.get("depth-space"), folder)
    assert folder / "zerogpu" / "calls.py" in written
    paths = [str(tmp_path / f"{k}.png") for k in range(2)]
    for k, path in enumerate(paths):
        picture(k).save(path)
    (tmp_path / "bad.png").write_bytes(Path(paths[0]).read_bytes()[:200])
    paths.append(str(tmp_path / "bad.png"))
    with ZeroGPU(slots=1) as api:
        done = subprocess.run(
            [sys.executable, "-c", "from tests.depth import space_app; space_app.main()", *paths],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "PYTHONPATH": f"{folder}:{UPSTREAM}:{ROOT}",
                "OMP_NUM_THREADS": "1",
                "SPACES_ZERO_GPU": "1",
                "SPACES_ZERO_DEVICE_API_URL": api.url,
                "GRADIO_ANALYTICS_ENABLED": "False",
                "GRADIO_TEMP_DIR": str(tmp_path / "gradio"),
                "DA3_MODEL": str(checkpoint("da3-large")),
                "STAND_IN_LOADS": str(tmp_path / "loads"),
                "HF_HUB_OFFLINE": "1",
            },
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-4000:]
    seen = json.loads(done.stdout)
    assert seen["loaded on"] == "cuda:0"  # as spaces shows it where there is no GPU yet
    assert (seen["gallery"], seen["again"], seen["shape"]) == (2, 2, [2, 168, 252])
    assert seen["same"]
    assert "bad.png is not a picture" in seen["no picture"]
    assert "Choose a picture" in seen["nothing"]
    assert len((tmp_path / "loads").read_text().split()) == 1
    assert seen["workers"] == 1
    assert [lease.state for lease in api.leases] == ["released"] * 4
    assert {lease.seconds for lease in api.leases} != {None}
    assert api.reports == 1
