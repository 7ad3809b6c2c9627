"""What is used of SAM-Body4D's parts, as types; upstream.py says which of its names they are."""

from __future__ import annotations

from typing import Dict, Iterable, List, Optional, Protocol, Sequence, Tuple, TypedDict

from devbox.box.arrays import Array, Floats, Pixels, Tensor


class Pictured(Protocol):
    """frames: pictures of each video that was asked for."""

    @property
    def frames(self) -> Sequence[Sequence[object]]: ...


class Pipeline(Protocol):
    def __call__(
        self,
        first: Tensor,
        second: Tensor,
        /,
        *,
        height: int,
        width: int,
        num_frames: int,
        generator: object,
        decode_chunk_size: int,
        motion_bucket_id: int,
        fps: int,
        noise_aug_strength: float,
        min_guidance_scale: float,
        max_guidance_scale: float,
    ) -> Pictured: ...


class LoadMasks(Protocol):
    def __call__(
        self, folder: str, /, *, resolution: Tuple[int, int], obj_id: int
    ) -> Tuple[Tensor, ...]: ...


class LoadRgbs(Protocol):
    def __call__(self, folder: str, /, *, resolution: Tuple[int, int]) -> Tuple[Tensor, ...]: ...


class Session(TypedDict):
    """What is used of a session of SAM 3."""

    num_frames: int


class Predictor(Protocol):
    """What is used of SAM 3's tracker."""

    def init_state(
        self, *, video_path: List[str], offload_video_to_cpu: bool, offload_state_to_cpu: bool
    ) -> Session: ...

    def clear_all_points_in_video(self, session: Session, /) -> object: ...

    def add_new_mask(
        self, *, inference_state: Session, frame_idx: int, obj_id: int, mask: Tensor
    ) -> object: ...

    def add_new_points_or_box(
        self, *, inference_state: Session, frame_idx: int, obj_id: int, box: Floats
    ) -> object: ...

    def propagate_in_video(
        self,
        session: Session,
        /,
        *,
        start_frame_idx: int,
        max_frame_num_to_track: int,
        reverse: bool,
        propagate_preflight: bool,
    ) -> Iterable[Tuple[int, List[int], object, Tensor, object, object]]: ...


class Detector(Protocol):
    def run_human_detection(
        self,
        image: Pixels,
        /,
        *,
        det_cat_id: int,
        bbox_thr: float,
        nms_thr: float,
        default_to_full_image: bool,
    ) -> Iterable[Sequence[float]]: ...


class FieldOfView(Protocol):
    def get_cam_intrinsics(self, rgb: Pixels, /) -> Tensor: ...


class Estimator(Protocol):
    """What is used of SAM 3D Body."""

    faces: Array

    @property
    def detector(self) -> Detector: ...

    @property
    def fov_estimator(self) -> FieldOfView: ...


#: what upstream says of one person in one frame
Body = Dict[str, object]
#: upstream's scale and shape of one person
Shape = Dict[int, object]


class FindBodies(Protocol):
    def __call__(
        self,
        estimator: Estimator,
        images: List[str],
        masks: List[str],
        places: Dict[int, Dict[str, str]],
        indexes: Dict[int, object],
        shape: Shape,
        seen: Dict[int, List[int]],
        /,
        *,
        cam_int: Optional[Tensor],
    ) -> Tuple[List[List[Body]], object, object]: ...


class SaveMesh(Protocol):
    def __call__(
        self,
        *,
        outputs: List[Body],
        faces: Array,
        save_dir: str,
        focal_dir: str,
        image_path: str,
        id_current: List[int],
    ) -> object: ...


class Module(Protocol):
    def to(self, device: str, /) -> object: ...
