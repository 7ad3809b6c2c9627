"""The depth job on the real architecture of Depth Anything 3 (da3-small, random weights, CPU): the
same numbers as upstream's own inference, bit for bit. Not tried: a GPU, real weights, Gaussians."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]
#: the smallest set that upstream imports and that this environment lacks, of what its image has
PACKAGES = [
    "depth-anything-3==0.1.1", "torchvision==0.28.0", "einops==0.8.2", "omegaconf==2.4.0",
    "evo==1.38.1", "scipy==1.17.1", "plyfile==1.1.3", "matplotlib==3.11.2", "cycler==0.12.1",
    "kiwisolver==1.5.1", "pyparsing==3.3.3", "imageio==2.38.1", "trimesh==5.2.0",
]  # fmt: skip


@pytest.fixture(scope="session")
def packages() -> Path:
    """A folder with upstream and what it imports, made once on this computer."""
    name = hashlib.sha256(f"{sys.version_info[:2]} {PACKAGES}".encode()).hexdigest()[:12]
    cache = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache" / "devbox-tests"
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder, part = cache / f"da3-{name}", cache / f"da3-{name}.part"
    with FileLock(cache / "da3.lock"):
        if not folder.is_dir():
            shutil.rmtree(part, ignore_errors=True)
            install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
            subprocess.run([*install, str(part), *PACKAGES], check=True)
            part.rename(folder)
    return folder


@pytest.mark.xdist_group("da3")
def test_numbers_and_files_are_those_of_upstreams_own_inference(
    packages: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from tests.depth import real; real.main()", str(tmp_path)],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PYTHONPATH": str(packages),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["name"] == ["da3-small", True, False]
    assert set(seen["equal"].values()) == {True}, seen["equal"]
    assert seen["shapes"]["depth"] == ["float32", [2, 84, 112]]
    assert seen["shapes"]["extrinsics"] == ["float32", [2, 3, 4]]
    assert seen["metres"] is False
    assert seen["failed"] == []
    assert seen["files"] == [
        *("depth_vis/0000.jpg", "depth_vis/0001.jpg", "exports/mini_npz/results.npz"),
        *("scene.glb", "scene.jpg", "views.json"),
    ]
    assert set(seen["written"]) == {"depth", "conf", "extrinsics", "intrinsics"}
    assert set(seen["written"].values()) == {True}
    assert seen["same picture"]
    assert seen["points"] == [5000]
    assert seen["cameras"] == 2
    assert seen["sizes"] == [True] * 6
    assert "does not hold the weights of da3-small" in seen["half the keys"]
    # upstream logs to stdout in colours unless told not to
    assert "\x1b[" not in done.stdout
