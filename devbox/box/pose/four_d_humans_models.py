"""HMR2, its person detector and PHALP, loaded from one folder of files and from nowhere else.

Upstream's own loaders download what is missing, look into the current folder and ~/.cache, open a
renderer, accept a checkpoint of another model, and read pickles unseen. None of that here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, Tuple

from devbox.box.arrays import Tensor
from devbox.box.pose import weights as files
from devbox.box.pose.four_d_humans import Config, Detector, Hmr2, Models
from devbox.box.pose.tracks import Phalp

_BOX = (192, 256)  # width to height of the crop that HMR2 was trained on


def load_models(weights: Path, hashes: Path, device: str) -> Models:
    """files.WeightsMissing where a file is missing, unknown or another one; ValueError where the
    checkpoint is of another model."""
    weights, hashes = weights.expanduser().absolute(), hashes.expanduser().absolute()
    tracker = files.check(weights, hashes)
    os.environ.setdefault("HOME", str(weights))  # upstream's imports need one
    os.environ["TORCH_HOME"] = str(weights / "phalp/torch")
    model, cfg = _hmr2(weights, device)
    detector = _detector(weights)
    if not tracker:
        print(f"no {weights / files.PHALP}: people are told apart by where they are", flush=True)
    phalp = _phalp(weights, model, detector, device) if tracker else None
    return Models(detector, model, cfg, device, phalp)


def _hmr2(weights: Path, device: str) -> Tuple[Hmr2, Config]:
    import torch
    from hmr2.configs import get_config
    from hmr2.models import HMR2

    cfg = get_config(str(weights / files.CONFIG))
    cfg.defrost()
    cfg.MODEL.BBOX_SHAPE = list(_BOX)
    cfg.MODEL.BACKBONE.pop("PRETRAINED_WEIGHTS", None)  # a path of the training machine
    cfg.SMPL.MODEL_PATH = str((weights / files.SMPL).parent)
    cfg.SMPL.JOINT_REGRESSOR_EXTRA = str(weights / files.JOINTS)
    cfg.SMPL.MEAN_PARAMS = str(weights / files.MEAN)
    cfg.freeze()
    model = HMR2(cfg, init_renderer=False)
    # A Lightning checkpoint holds objects of its own, which torch opens only when told to trust it;
    # its hash was checked above.
    saved = torch.load(weights / files.CHECKPOINT, map_location="cpu", weights_only=False)
    missing = model.load_state_dict(saved["state_dict"], strict=False).missing_keys
    missing = [key for key in missing if not key.startswith("smpl.")]  # SMPL has its own file
    if missing:
        raise ValueError(
            f"{weights / files.CHECKPOINT} is a checkpoint of another model: it lacks "
            f"{len(missing)} of HMR2's parameters, such as {missing[0]}"
        )
    return model.eval().to(device), cfg


def _detector(weights: Path) -> Detector:
    import hmr2
    from detectron2.config import LazyConfig
    from hmr2.utils.utils_detectron2 import DefaultPredictor_Lazy

    package = Path(hmr2.__file__).parent
    cfg = LazyConfig.load(str(package / "configs" / "cascade_mask_rcnn_vitdet_h_75ep.py"))
    cfg.train.init_checkpoint = str(weights / files.DETECTOR)
    for stage in range(3):
        cfg.model.roi_heads.box_predictors[stage].test_score_thresh = 0.25
    detector: Detector = DefaultPredictor_Lazy(cfg)
    return detector


def _phalp(weights: Path, model: Hmr2, detector: Detector, device: str) -> Phalp:
    """PHALP with this detector and this HMR2 in place of its own, and no renderer."""
    from hmr2.datasets.utils import expand_bbox_to_aspect_ratio
    from omegaconf import OmegaConf
    from phalp.configs.base import FullConfig
    from phalp.models.hmar.hmr import HMR2018Predictor
    from phalp.trackers.PHALP import PHALP

    class Features(HMR2018Predictor):  # type: ignore[misc, no-any-unimported, unused-ignore]
        """Appearance from PHALP's own network, the body from HMR2."""

        def __init__(self, cfg: object) -> None:
            super().__init__(cfg)
            self.body = model

        def forward(self, crops: Tensor) -> Dict[str, object]:
            body = self.body({"img": crops[:, :3]})
            seen = dict(self.hmar_old(crops))
            return {**seen, "pose_smpl": body["pred_smpl_params"], "pred_cam": body["pred_cam"]}

    class Tracker(PHALP):  # type: ignore[misc, no-any-unimported, unused-ignore]
        def cached_download_from_drive(self, additional_urls: object = None) -> None:
            """Its files are in the folder of weights."""

        def setup_hmr(self) -> None:
            self.HMAR = Features(self.cfg)

        def setup_detectron2(self) -> None:
            self.detector = detector

        def setup_visualizer(self) -> None:
            """Nothing is rendered."""

        def default_setup(self) -> None:
            """No folders are made."""

        def get_detections(self, *args: object) -> Tuple[object, ...]:
            boxes, _, *rest = super().get_detections(*args)
            return (boxes, expand_bbox_to_aspect_ratio(boxes, _BOX), *rest)

    cfg = OmegaConf.structured(FullConfig)
    cfg.device = device
    cfg.render.enable = False
    cfg.hmr.hmar_path = str(weights / files.HMAR)
    cfg.pose_predictor.config_path = str(weights / files.PREDICTOR_CONFIG)
    cfg.pose_predictor.weights_path = str(weights / files.PREDICTOR)
    cfg.pose_predictor.mean_std = str(weights / files.MEAN_STD)
    cfg.SMPL.MODEL_PATH = str((weights / files.SMPL).parent)
    cfg.SMPL.JOINT_REGRESSOR_EXTRA = str(weights / files.JOINTS)
    cfg.SMPL.TEXTURE = str(weights / files.TEXTURE)
    cfg.MODEL.SMPL_HEAD.SMPL_MEAN_PARAMS = str(weights / files.MEAN)
    tracker: Phalp = Tracker(cfg)
    return tracker
