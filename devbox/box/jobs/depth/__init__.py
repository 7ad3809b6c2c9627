"""The `depth` job: Depth Anything 3 over pictures and videos. Each video, and each folder of
pictures, is one scene, solved together (`views = single`: each picture by itself). What is left of
a scene: see outputs.py. A picture that cannot be read fails by itself, and its scene goes without
it."""

from __future__ import annotations

import importlib.util
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Dict, NamedTuple, Optional, Tuple

from devbox.box import pieces, pipeline
from devbox.box.job import Job
from devbox.box.jobs.depth import outputs, scenes
from devbox.box.jobs.depth.model import Factory, Model, load
from devbox.box.jobs.depth.solve import Limits, Solved, solve
from devbox.box.media import frames, pictures


class _Done(NamedTuple):
    """files: a temporary folder of what was made on the device, to be moved and removed."""

    scene: scenes.Scene
    solved: Solved
    files: Optional[Path]


def run(job: Job, factory: Optional[Factory] = None) -> None:
    """factory: reads the model from its folder (see model.load)."""
    files = job.named("input")
    if not files:
        raise ValueError("the input holds no picture and no video")
    single = job.args["views"] == "single"
    groups = _groups(files, job.inputs["input"], single)
    fps, most = float(job.args["fps"]), int(job.args["max_frames"])
    if not fps > 0 or most < 1:
        raise ValueError(f"--fps must be above 0 and --max-frames 1 or more, not {fps} and {most}")
    limits = Limits(int(job.args["batch"]), int(job.args["process_res"]))
    wanted = str(job.args["gaussians"])
    with job.stage("load model"):
        model = job.resident(
            "model", lambda: load(job.checkpoints["da3"], str(job.args["device"]), factory)
        )
    _require_gaussians(model, wanted)
    sizes, broken = _looked(groups, single)
    folders = frames.folders(job.every(groups))
    job.log(f"{model.name} is loaded on {model.device}; {len(groups)} scenes")
    room = ExitStack()

    def read(name: str) -> scenes.Scene:
        if name in broken:
            pictures.load(broken[name])  # raises what is wrong with it
        group = groups[name]
        path = next(iter(group.values()))
        with job.stage("decode"):
            if pieces.is_video(path):
                return scenes.Video(name, path, fps, most)
            good = {each: path for each, path in group.items() if each not in broken}
            known = sizes.get(name) or scenes.sizes(good)
            if not known:
                pictures.load(path)
            return scenes.Pictures(good, known)

    def work(name: str, scene: scenes.Scene) -> _Done:
        with job.stage("predict"):
            solved = solve(job, model, scene, limits, wanted != "none")
        made: Optional[Path] = None
        if wanted != "none":
            made = room.enter_context(outputs.temporary())
            outputs.gaussians(solved.views, wanted, made)
            solved = solved._replace(views=solved.views._replace(gaussians=None))
        return _Done(scene, solved, made)

    def save(name: str, done: _Done) -> None:
        with job.stage("write"):
            if done.files is not None:
                outputs.move(job, folders[name], done.files)
                shutil.rmtree(done.files)
                done.files.mkdir()
            outputs.write(job, folders[name], model, done.scene, done.solved)
        job.log(f"{name}: {len(done.solved.seen)} views")

    with room:
        names = [*groups, *broken]
        pipeline.run(job, names, load=read, work=work, save=save, ahead=1, behind=1)


def _require_gaussians(model: Model, wanted: str) -> None:
    """ValueError before anything is worked on, not after an hour."""
    if wanted == "none":
        return
    if not model.has_gaussians:
        raise ValueError(f"--gaussians needs a giant or nested model; this one is {model.name}")
    if wanted != "ply" and importlib.util.find_spec("gsplat") is None:
        raise ValueError(
            "a video of Gaussians needs gsplat, which is not installed: use --gaussians ply, or "
            "install it on the box (it compiles CUDA code)"
        )


def _groups(files: Dict[str, Path], root: Path, single: bool) -> Dict[str, Dict[str, Path]]:
    """Item name → its files by name: a scene's, or each picture by itself."""
    if single:
        ordered = sorted(files, key=lambda name: pieces.natural(files[name]))
        return {name: {name: files[name]} for name in ordered}
    return {
        name: {pieces.name_of(path, root): path for path in paths}
        for name, paths in pieces.scenes(files.values(), root).items()
    }


def _looked(
    groups: Dict[str, Dict[str, Path]], single: bool
) -> Tuple[Dict[str, Dict[str, Tuple[int, int]]], Dict[str, Path]]:
    """Sizes of the pictures of each scene, and the pictures that cannot be read. Nothing where
    each picture is a scene: it is read when its turn comes."""
    sizes: Dict[str, Dict[str, Tuple[int, int]]] = {}
    broken: Dict[str, Path] = {}
    for name, group in groups.items():
        if single or pieces.is_video(next(iter(group.values()))):
            continue
        sizes[name] = scenes.sizes(group)
        broken.update({each: group[each] for each in group if each not in sizes[name]})
    return sizes, broken
