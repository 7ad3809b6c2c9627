"""The template's way into upstream's Gradio app: its own paths, and upstream's folder untouched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from devbox import paths

SCRIPT = paths.data("templates") / "sam-body4d/gradio_app.py"
CONFIG = """paths:
  ckpt_root: "path to global checkpoint root"
sam_3d_body:
  detector_path: ""
  segmentor_path: ""
runtime:
  output_dir: ./outputs
"""
APP = """
import os
root = os.path.dirname(__file__)
print(open(os.path.join(root, "configs/body4d.yaml")).read())
print(os.listdir(os.path.join(root, "models")), os.environ["GRADIO_SERVER_PORT"])
"""


def run(home: Path, config: str) -> subprocess.CompletedProcess[str]:
    for name, text in (("configs/body4d.yaml", config), ("app.py", APP), ("models/m.py", "")):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    env = {**os.environ, "SAM_BODY4D_HOME": str(home), "HOME": "/home/user"}
    words = [sys.executable, str(SCRIPT), "7861"]
    return subprocess.run(
        words, env=env, cwd=home.parent, capture_output=True, text=True, check=False
    )


def test_the_app_finds_this_projects_weights(tmp_path: Path) -> None:
    done = run(tmp_path / "upstream", CONFIG)
    assert done.returncode == 0, done.stderr
    assert 'ckpt_root: "/home/user/checkpoints"' in done.stdout
    assert 'detector_path: "/home/user/checkpoints/vitdet"' in done.stdout
    assert f'output_dir: "{tmp_path}/results/app"' in done.stdout
    assert "['m.py'] 7861" in done.stdout
    assert (tmp_path / "upstream/configs/body4d.yaml").read_text() == CONFIG


def test_another_version_is_told_and_not_half_configured(tmp_path: Path) -> None:
    done = run(tmp_path / "upstream", CONFIG.replace("detector_path", "detector"))
    assert done.returncode
    assert "another version" in done.stderr
