"""What stands in for the two places that an image test has no way to: PyTorch's wheel index, of
which a base of CUDA is useless without, and the systems' sources, which that base's nvcc compiles.

They lie in the base image, as a wheel index and as git repositories of the same names, so that
every line of every template runs as it is written. A package says its name and nothing else; torch
also that it is built for CUDA and sees none, and detectron2 and NMR refuse to be installed where
the real ones would not compile.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import os
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import docker

from devbox.images import templates
from tests.images.engine import Engine

PLACE = "/opt/stand-ins"
_DATE = "2024-01-01T00:00:00Z"
_COMPILED = """\
import os, torch
from setuptools import setup
assert os.environ["FORCE_CUDA"] == "1" and os.environ["TORCH_CUDA_ARCH_LIST"]
assert os.environ["CUDA_HOME"] == "/usr/local/cuda"
"""
_PLAIN = "from setuptools import setup\n"


class Source(NamedTuple):
    """arg: the build argument that names its commit. packages: folder → distribution."""

    repository: str
    arg: str
    packages: dict[str, str]
    head: str = _PLAIN


SOURCES = (
    Source("mattloper/chumpy", "CHUMPY_COMMIT", {".": "chumpy"}),
    Source("facebookresearch/detectron2", "DETECTRON2_COMMIT", {".": "detectron2"}, _COMPILED),
    Source("shubham-goel/NMR", "NMR_COMMIT", {".": "neural-renderer-pytorch"}, _COMPILED),
    Source("shubham-goel/4D-Humans", "HMR2_COMMIT", {".": "hmr2"}),
    Source("brjathu/PHALP", "PHALP_COMMIT", {".": "phalp"}),
    Source("EasternJournalist/utils3d", "UTILS3D_COMMIT", {".": "utils3d"}),
    Source("EasternJournalist/pipeline", "PIPELINE_COMMIT", {".": "pipeline"}),
    Source("microsoft/MoGe", "MOGE_COMMIT", {".": "moge"}),
    Source("gaomingqi/sam-body4d", "SAM_BODY4D_COMMIT", {".": "sam-body4d", "models/sam3": "sam3"}),
    Source("apple/ml-sharp", "SHARP_COMMIT", {".": "sharp"}),
    Source("gestura-ai/stick-gen", "STICK_GEN_COMMIT", {"stick_gen": "stick_gen"}),
)


def args(engine: Engine, python: str) -> dict[str, str]:
    """Build arguments with which every layer of every template finds what it asks for."""
    reference, commits = _base(engine)
    return {
        "BASE": reference,
        "PYTHON": python,
        "TORCH_INDEX": f"file://{PLACE}/wheels",
        "GITHUB": f"file://{PLACE}/git",
        **commits,
    }


def modules(dockerfile: str) -> list[str]:
    """What can be imported where a Dockerfile's sources are installed."""
    return [
        name.replace("-", "_")
        for each in SOURCES
        if f"${each.arg}" in dockerfile
        for name in each.packages.values()
    ]


@functools.cache
def _base(engine: Engine) -> tuple[str, dict[str, str]]:
    """The base image with the stand-ins in it, and their commits. The same every time, so that
    the engine's cache holds what was built from it."""
    with tempfile.TemporaryDirectory(prefix="dbxs") as folder:
        root = Path(folder)
        _index(root / "made" / "wheels")
        commits = {
            each.arg: _repository(each, root / "made" / "git" / each.repository) for each in SOURCES
        }
        made = root / "made"
        made.chmod(0o755)
        packed = _context(f"FROM {engine.base}\nADD made.tar {PLACE}/\n", made)
    reference = f"devbox-tests/stand-ins:{hashlib.sha256(packed).hexdigest()[:16]}"
    client = engine.client()
    try:
        client.images.get(reference)
    except docker.errors.ImageNotFound:
        client.images.build(fileobj=io.BytesIO(packed), custom_context=True, tag=reference, rm=True)
    finally:
        client.close()
    return reference, commits


def _index(folder: Path) -> None:
    """As the wheel indexes are laid out: a page of links for each package."""
    wanted = {pin for each in templates.catalogue() for pin in each.torch}
    for pin in sorted(wanted):
        name, _, version = pin.partition("==")
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        _wheel(place / f"{name}-{version}-py3-none-any.whl", name, version)
        links = [f'<a href="{file.name}">{file.name}</a>' for file in sorted(place.glob("*.whl"))]
        (place / "index.html").write_text("<!doctype html>" + "".join(links))


def _wheel(file: Path, name: str, version: str) -> None:
    info = f"{name}-{version}.dist-info"
    local = version.partition("+cu")[2]
    module = f"""\
class version: cuda = {f"{local[:-1]}.{local[-1:]}"!r}
class cuda: is_available, device_count = (lambda: False), (lambda: 0)
__version__ = {version!r}
"""
    content = {
        f"{name}/__init__.py": module,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{path},{_sha256(text)},{len(text)}" for path, text in content.items()]
    content[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""])
    with zipfile.ZipFile(file, "w") as wheel:
        for path, text in content.items():
            wheel.writestr(zipfile.ZipInfo(path), text)


def _sha256(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256={digest.decode().rstrip('=')}"


def _repository(source: Source, folder: Path) -> str:
    """Its one commit."""
    for where, name in source.packages.items():
        place = folder / where
        place.mkdir(parents=True, exist_ok=True)
        module = name.replace("-", "_")
        (place / f"{module}.py").write_text(f"NAME = {name!r}\n")
        setup = f"setup(name={name!r}, version='1', py_modules=[{module!r}])\n"
        (place / "setup.py").write_text(source.head + setup)
    who = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (("NAME", "t"), ("EMAIL", "t@t"), ("DATE", _DATE))
    }

    def git(*words: str) -> str:
        environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": "/dev/null"}
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    git("init", "-q", "-b", "main", "--template=")
    git("add", ".")
    git("commit", "-q", "-m", "as it is")
    return git("rev-parse", "HEAD")


def _context(dockerfile: str, folder: Path) -> bytes:
    """A build context, equal for equal files: of uid 1000, as git wants the repositories to be."""
    inner, outer = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as tar:
        # A checkout's index holds times, so that it differs from one run to the next.
        for path in sorted(each for each in folder.rglob("*") if each.name != "index"):
            entry = tar.gettarinfo(str(path), str(path.relative_to(folder)))
            entry.uid = entry.gid = 1000
            entry.uname = entry.gname = ""
            entry.mtime, entry.mode = 0, 0o755 if path.is_dir() else 0o644
            with path.open("rb") if path.is_file() else io.BytesIO() as stream:
                tar.addfile(entry, stream)
    with tarfile.open(fileobj=outer, mode="w") as tar:
        for name, data in (("made.tar", inner.getvalue()), ("Dockerfile", dockerfile.encode())):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return outer.getvalue()
