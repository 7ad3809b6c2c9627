"""SAM-Body4D's own Gradio app on the checkpoints of this project: `devbox serve app`.

The app reads configs/body4d.yaml beside itself, so it gets a folder that is the image's but for
that file.
"""

import os
import sys
import tempfile
from pathlib import Path

UPSTREAM = Path(os.environ.get("SAM_BODY4D_HOME", "/opt/devbox/sam-body4d"))
WEIGHTS = Path.home() / "checkpoints"
SETTINGS = {
    'ckpt_root: "path to global checkpoint root"': f'ckpt_root: "{WEIGHTS}"',
    'detector_path: ""': f'detector_path: "{WEIGHTS}/vitdet"',
    "output_dir: ./outputs": f'output_dir: "{Path("results/app").absolute()}"',
}


def config() -> str:
    """Upstream's, with our paths. It would download what is not named."""
    text = (UPSTREAM / "configs/body4d.yaml").read_text()
    for theirs, ours in SETTINGS.items():
        if theirs not in text:
            sys.exit(f"{UPSTREAM}/configs/body4d.yaml has no line {theirs}: another version of it?")
        text = text.replace(theirs, ours)
    return text


def main() -> None:
    home = Path(tempfile.mkdtemp(prefix="sam-body4d-"))
    for each in UPSTREAM.iterdir():
        if each.name not in ("app.py", "configs"):
            (home / each.name).symlink_to(each)
    (home / "app.py").write_bytes((UPSTREAM / "app.py").read_bytes())
    (home / "configs").mkdir()
    (home / "configs/body4d.yaml").write_text(config())
    os.environ["GRADIO_SERVER_PORT"] = sys.argv[1]
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    os.execv(sys.executable, [sys.executable, "-u", str(home / "app.py")])  # noqa: S606


main()
