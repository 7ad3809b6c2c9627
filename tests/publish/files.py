"""Checkpoints and a project to publish, made for a test."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

CARD = """---
license: apache-2.0
---
# m
## Model Details
## Intended Uses & Limits
## Training Details
## Citation
```
TBD in code does not count
```
"""
TOML = """\
project = "p"
[publish]
repo = "me/m-{variant}"
config = "configs/{variant}.yaml"
card = "cards/{variant}.md"
lora_card = "cards/lora.md"
files = ["requirements.txt"]
source = ["src/model"]
[publish.variants.tiny]
parameters = 20
expect = { "model.d_model" = 4 }
"""


class Tiny(nn.Module):  # type: ignore[misc]
    """20 parameters, 4 elements in buffers and a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.arange(5.0))
        self.register_buffer("inv_freq", torch.ones(4))
        self.register_buffer("num_batches_tracked", torch.tensor(7))


def save(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(value, path)
    return path


def training(model: nn.Module) -> dict[str, object]:
    """What a training script saves: weights, optimizer, counters."""
    optimizer = torch.optim.Adam(model.parameters())
    sum(p.sum() for p in model.parameters()).backward()
    optimizer.step()
    return {
        "epoch": 3,
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "losses": [0.5, 0.25],
    }


def write_project(root: Path, toml: str = TOML) -> Path:
    """The project's folder."""
    for name, text in {
        "devbox.toml": toml,
        "cards/tiny.md": CARD,
        "cards/lora.md": CARD,
        "configs/tiny.yaml": "model:\n  d_model: 4\n",
        "LICENSE": "Apache License\n  Version 2.0, January 2004\n",
        "requirements.txt": "torch\n",
        "src/__init__.py": "",
        "src/model/__init__.py": "from .net import Net\n",
        "src/model/net.py": "from src.physics import gravity\nimport os\nclass Net: pass\n",
        "src/model/__pycache__/net.cpython-311.pyc": "x",
        "src/physics/__init__.py": "from . import units\n",
        "src/physics/gravity.py": "G = 9.81\n",
        "src/physics/units.py": "",
        "src/physics/unused.py": "",
        "secrets/key.py": "KEY = 1\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root
