"""The files of 4D-Humans and PHALP: which there must be, and which need a known hash to be opened.

    weights/                                    what hmr2_data.tar.gz holds, and beside it
      logs/train/multiruns/hmr2/0/model_config.yaml
      logs/train/multiruns/hmr2/0/checkpoints/epoch=35-step=1000000.ckpt
      data/smpl/SMPL_NEUTRAL.pkl, data/SMPL_to_J19.pkl, data/smpl_mean_params.npz
      model_final_f05665.pkl                    the person detector, ViTDet
      phalp/…                                   the tracker; without this folder there is none

Most of them are pickles: opening one runs whatever it says. So the user names, in a file that
sha256sum can write and check, the hash of each that may be opened.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Dict, List, Sequence

CHECKPOINT = "logs/train/multiruns/hmr2/0/checkpoints/epoch=35-step=1000000.ckpt"
CONFIG = "logs/train/multiruns/hmr2/0/model_config.yaml"
DETECTOR = "model_final_f05665.pkl"
SMPL = "data/smpl/SMPL_NEUTRAL.pkl"
JOINTS = "data/SMPL_to_J19.pkl"
MEAN = "data/smpl_mean_params.npz"
PHALP = "phalp"
HMAR = "phalp/weights/hmar_v2_weights.pth"
PREDICTOR = "phalp/weights/pose_predictor.pth"
PREDICTOR_CONFIG = "phalp/weights/pose_predictor.yaml"
MEAN_STD = "phalp/3D/mean_std.npy"
TEXTURE = "phalp/3D/texture.npz"
RESNET = "phalp/torch/hub/checkpoints/resnet50-19c8e357.pth"

_HMR2 = (CONFIG, CHECKPOINT, DETECTOR, SMPL, JOINTS, MEAN)
_TRACKER = (HMAR, PREDICTOR, PREDICTOR_CONFIG, MEAN_STD, TEXTURE, RESNET)
_PICKLES = (CHECKPOINT, DETECTOR, SMPL, JOINTS, HMAR, PREDICTOR, MEAN_STD, RESNET)
_CHUNK = 1 << 22


class WeightsMissing(ValueError):
    """A file is not there, or is not one that may be opened; the text says which and what to do."""


def check(folder: Path, hashes: Path) -> bool:
    """That every file is there, and every pickle is one that `hashes` names. Whether the tracker's
    files are there too. WeightsMissing."""
    tracker = (folder / PHALP).is_dir()
    wanted = _HMR2 + (_TRACKER if tracker else ())
    for name in wanted:
        if not (folder / name).is_file():
            raise WeightsMissing(
                f"{folder / name} is missing: get it from its owner (docs/systems/4d-humans.md "
                "says where), put it there, or name another folder with --weights"
            )
    _verify(folder, [name for name in wanted if name in _PICKLES], hashes)
    return tracker


def _verify(folder: Path, names: Sequence[str], hashes: Path) -> None:
    known = _read(hashes)
    unknown: List[str] = []
    for name in names:
        found = _sha256(folder / name)
        if name not in known:
            unknown.append(f"{found}  {name}")
        elif known[name] != found:
            raise WeightsMissing(
                f"{folder / name} has sha256 {found}, and {hashes} says {known[name]}: it is not "
                "opened; fetch the file again"
            )
    if unknown:
        raise WeightsMissing(
            f"{hashes} does not name these files, which run code when they are opened. Compare "
            "their hashes with those of their owner, and where they agree add these lines to it:\n"
            + "\n".join(unknown)
        )


def _read(hashes: Path) -> Dict[str, str]:
    """File → hash, from lines as sha256sum writes them; empty where there is no such file."""
    try:
        lines = hashes.read_text().splitlines()
    except FileNotFoundError:
        return {}
    known: Dict[str, str] = {}
    for line in lines:
        digest, _, name = line.strip().partition(" ")
        if len(digest) == 64:
            known[name.lstrip(" *")] = digest.lower()
    return known


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
