"""What fits a GPU, what is refused before loading, and how upstream's parts are found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from devbox.box.jobs.sam_body4d import memory, upstream

GB = memory.GB


@pytest.mark.parametrize(
    ("people", "batch", "occlusion", "used"),
    [(1, 64, False, 14.49), (5, 64, False, 40.87), (5, 32, True, 35.19), (5, 64, True, 53.28)],
)
def test_a_card_takes_what_was_measured_on_it_and_a_tenth_more(
    people: int, batch: int, occlusion: bool, used: float
) -> None:
    assert memory.batch(int((used / 0.9 + 0.2) * GB), people, occlusion) == batch
    assert memory.batch(int(used * GB), people, occlusion) == batch // 2


@pytest.mark.parametrize(
    ("vram", "people", "plan"),
    [
        (16, 1, memory.Plan(32, False, (256, 512))),
        (24, 5, memory.Plan(16, False, (256, 512))),
        (48, 5, memory.Plan(32, True, (512, 1024))),
        (80, 5, memory.Plan(64, True, (512, 1024))),
    ],
)
def test_what_is_chosen_for_a_card(vram: int, people: int, plan: memory.Plan) -> None:
    assert memory.plan(vram * GB, people, size=0, occlusion="auto", resolution="auto") == plan


def test_what_the_user_chose_stands() -> None:
    found = memory.plan(80 * GB, 5, size=3, occlusion="off", resolution="256x512")
    assert found == memory.Plan(3, False, (256, 512))
    assert memory.plan(8 * GB, 1, size=0, occlusion="off", resolution="auto").batch == 1


PATHS = {
    "sam3": "sam3.pt",
    "sam_3d_body": "body/model.ckpt",
    "sam_3d_body_config": "body/model_config.yaml",
    "mhr_model": "body/assets/mhr_model.pt",
    "moge": "moge.pt",
    "vitdet": "vitdet/model_final_f05665.pkl",
    "vas_masks": "vas/masks",
    "vas_content": "vas/content",
    "depth_anything_v2": "depth.pth",
}


def checkpoints(folder: Path) -> dict[str, Path]:
    for path in PATHS.values():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"w")
    return {name: folder / path for name, path in PATHS.items()}


@pytest.mark.parametrize("missing", upstream.BODY)
def test_a_missing_file_is_named_and_never_fetched_by_upstream(
    tmp_path: Path, missing: str
) -> None:
    found = checkpoints(tmp_path)
    found[missing].unlink()
    with pytest.raises(upstream.Unprepared, match=found[missing].name):
        upstream.load(found, False)
    del found[missing]
    with pytest.raises(upstream.Unprepared, match=missing):
        upstream.load(found, False)


@pytest.mark.parametrize(
    ("name", "path"), [("sam_3d_body_config", "elsewhere.yaml"), ("vitdet", "detector.pkl")]
)
def test_files_that_upstream_looks_for_under_other_names(
    tmp_path: Path, name: str, path: str
) -> None:
    found = checkpoints(tmp_path)
    found[name] = found[name].rename(tmp_path / path)
    with pytest.raises(upstream.Unprepared, match="must"):
        upstream.load(found, False)


def test_the_completion_models_are_asked_for_only_when_used(tmp_path: Path) -> None:
    found = checkpoints(tmp_path)
    found["depth_anything_v2"].unlink()
    upstream.check(found, False)
    with pytest.raises(upstream.Unprepared, match="depth_anything_v2"):
        upstream.check(found, True)


def test_another_image_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(upstream.HOME, str(tmp_path / "nowhere"))
    with pytest.raises(upstream.Unprepared, match='image = "sam-body4d"'):
        upstream.load(checkpoints(tmp_path), False)


def test_without_a_gpu_it_says_so() -> None:
    with pytest.raises(upstream.Unprepared, match="no GPU"):
        upstream.vram()


TREE = {
    "utils/__init__.py": "DAVIS_PALETTE = b'palette'",
    "models/diffusion_vas/utils.py": "raise SystemExit('the wrong utils')",
    "models/diffusion_vas/demo.py": (
        "load_and_transform_masks = load_and_transform_rgbs = rgb_to_depth = 1\n"
        "def init_amodal_segmentation_model(path): return ('masks', path)\n"
        "def init_rgb_model(path): return ('rgb', path)\n"
        "def init_depth_model(path, encoder): return ('depth', path, encoder)\n"
    ),
    "models/sam3/sam3/model_builder.py": (
        "from types import SimpleNamespace as N\n"
        "def build_sam3_video_model(checkpoint_path):\n"
        "    assert checkpoint_path.endswith('sam3.pt')\n"
        "    return N(tracker=N(), detector=N(backbone='shared'), to=print)\n"
    ),
    "models/sam_3d_body/notebook/utils.py": "process_image_with_mask = save_mesh_results = 2",
    "models/sam_3d_body/sam_3d_body/__init__.py": (
        "class SAM3DBodyEstimator:\n"
        "    def __init__(self, **parts): self.parts = parts\n"
        "def load_sam_3d_body(checkpoint, device, mhr_path):\n"
        "    assert checkpoint.endswith('model.ckpt')\n"
        "    assert mhr_path.endswith('assets/mhr_model.pt')\n"
        "    return 'model', 'config'\n"
    ),
    "models/sam_3d_body/tools/build_detector.py": (
        "class HumanDetector:\n"
        "    def __init__(self, name, device, path):\n"
        "        assert name == 'vitdet' and path.endswith('/vitdet'), 'an empty path downloads'\n"
        "        self.detector = self\n"
        "    def to(self, device): pass\n"
    ),
    "models/sam_3d_body/tools/build_fov_estimator.py": (
        "class FOVEstimator:\n"
        "    def __init__(self, name, device, path): assert name == 'moge2' and path\n"
    ),
    "models/sam_3d_body/tools/vis_utils.py": "visualize_sample = visualize_sample_together = 3",
}


def test_the_parts_are_found_by_upstreams_own_names(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name, text in TREE.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    (tmp_path / "weights").mkdir()
    checkpoints(tmp_path / "weights")
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from devbox.box.jobs.sam_body4d import upstream\n"
        "from tests.sam_body4d.test_plan import PATHS\n"
        "names = {name: Path(sys.argv[1]) / path for name, path in PATHS.items()}\n"
        "found = upstream.load(names, True)\n"
        "assert found.palette == b'palette' and found.predictor.backbone == 'shared'\n"
        "assert len(found.tracking) == 2\n"
        "assert found.complete.depth == ('depth', str(names['depth_anything_v2']), 'vitl')\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "weights")]
    env = {**os.environ, upstream.HOME: str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
