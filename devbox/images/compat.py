"""Which CUDA, torch and Python go together, and what the bundled systems need.

Sources: the wheel lists of the PyTorch indexes and the projects' own requirements, as of the
versions that the templates pin. A combination that is not in the tables is not judged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Version = tuple[int, ...]


class Stack(NamedTuple):
    """What an image has, as far as it can be read off it. wheel_cuda: of torch's wheels;
    base_cuda: of the base image; devel: the base has nvcc. packages: name → version."""

    python: Version | None = None
    torch: Version | None = None
    wheel_cuda: Version | None = None
    base_cuda: Version | None = None
    devel: bool = False
    packages: dict[str, str] = {}  # noqa: RUF012
    systems: frozenset[str] = frozenset()


#: torch → (CUDA versions its wheels exist for, Pythons)
_TORCH: dict[Version, tuple[tuple[Version, ...], tuple[Version, Version]]] = {
    (2, 1): (((11, 8), (12, 1)), ((3, 8), (3, 11))),
    (2, 2): (((11, 8), (12, 1)), ((3, 8), (3, 12))),
    (2, 3): (((11, 8), (12, 1)), ((3, 8), (3, 12))),
    (2, 4): (((11, 8), (12, 1), (12, 4)), ((3, 8), (3, 12))),
    (2, 5): (((11, 8), (12, 1), (12, 4)), ((3, 9), (3, 12))),
    (2, 6): (((11, 8), (12, 4), (12, 6)), ((3, 9), (3, 13))),
    (2, 7): (((11, 8), (12, 6), (12, 8)), ((3, 9), (3, 13))),
    (2, 8): (((12, 6), (12, 8), (12, 9)), ((3, 9), (3, 13))),
}
#: a companion of torch → its version for each torch
_COMPANIONS: dict[str, dict[Version, str]] = {
    "torchvision": {
        (2, 1): "0.16",
        (2, 2): "0.17",
        (2, 3): "0.18",
        (2, 4): "0.19",
        (2, 5): "0.20",
        (2, 6): "0.21",
        (2, 7): "0.22",
        (2, 8): "0.23",
    },
    "torchaudio": {version: ".".join(map(str, version)) for version in _TORCH},
}


def problems(stack: Stack) -> list[tuple[str, str]]:
    """(error | warn, reason) for each combination that cannot, or may not, work."""
    return [found for rule in _RULES for found in rule(stack)]


def version(text: str) -> Version | None:
    """'3.11.18' → (3, 11, 18); a local part such as '+cu121' is dropped. None when it is none."""
    parts = text.partition("+")[0].split(".")
    try:
        return tuple(int(part) for part in parts)
    except ValueError:
        return None


def _wheels(has: Stack) -> list[tuple[str, str]]:
    known = _TORCH.get((has.torch or ())[:2])
    if known is None:
        return []
    cudas, (oldest, newest) = known
    torch, out = _dotted(has.torch), []
    if has.wheel_cuda and has.wheel_cuda not in cudas:
        exist = ", ".join(_short(cuda) for cuda in cudas)
        reason = f"torch {torch} has no wheels for {_short(has.wheel_cuda)}; it has for {exist}"
        if has.wheel_cuda == (12, 1):
            reason += ". The last torch with cu121 wheels is 2.5.1"
        out.append(("error", reason))
    if has.python and not oldest <= has.python[:2] <= newest:
        reason = f"torch {torch} has wheels for Python {_dotted(oldest)} to {_dotted(newest)} only"
        out.append(("error", f"{reason}, the image has {_dotted(has.python)}"))
    for name, matching in _COMPANIONS.items():
        wanted = matching.get((has.torch or ())[:2])
        found = has.packages.get(name)
        if found and wanted and version(found) and found.split(".")[:2] != wanted.split("."):
            out.append(
                (
                    "error",
                    f"{name} {found} is built for another torch: {torch} goes with {wanted}.x",
                )
            )
    return out


def _compiler(has: Stack) -> list[tuple[str, str]]:
    """nvcc against the CUDA of torch: another major refuses to build, another minor warns."""
    compiled = sorted({"detectron2", "neural-renderer-pytorch", "gsplat"} & set(has.packages))
    if not compiled or has.base_cuda is None:
        return []
    what = ", ".join(compiled)
    if not has.devel:
        return [
            (
                "error",
                f"{what} compiles CUDA code, and a runtime base has no nvcc: use the devel one",
            )
        ]
    if has.wheel_cuda and has.wheel_cuda[0] != has.base_cuda[0]:
        return [
            (
                "error",
                f"{what} is compiled with the base's CUDA {_dotted(has.base_cuda)}, and "
                f"torch refuses another major version than its own {_dotted(has.wheel_cuda)}",
            )
        ]
    if has.wheel_cuda and has.wheel_cuda[1] != has.base_cuda[1]:
        return [
            (
                "warn",
                f"{what} is compiled with CUDA {_dotted(has.base_cuda)} for a torch of "
                f"CUDA {_dotted(has.wheel_cuda)}: works as a rule, torch warns",
            )
        ]
    return []


def _sam3(has: Stack) -> list[tuple[str, str]]:
    names = {"sam3", "sam-body4d"} & has.systems
    if not names:
        return []
    who = "SAM-Body4D" if "sam-body4d" in names else "SAM 3"
    out = []
    for label, cuda in (("torch wheels'", has.wheel_cuda), ("base image's", has.base_cuda)):
        if cuda and cuda < (12, 6):
            out.append(
                (
                    "error",
                    f"{who} needs CUDA 12.6 or later, not the {label} "
                    f"{_dotted(cuda)}: take the template cuda12.6",
                )
            )
    if has.torch and has.torch < (2, 7):
        out.append(
            (
                "error",
                f"{who} needs torch 2.7 or later, the image has {_dotted(has.torch)}"
                " (cu121 ends at 2.5.1)",
            )
        )
    if has.python and has.python < (3, 12):
        out.append(("error", f"{who} needs Python 3.12 or later, not {_dotted(has.python)}"))
    return out


def _sharp(has: Stack) -> list[tuple[str, str]]:
    if "sharp" not in has.systems:
        return []
    out = []
    if has.torch and has.torch[:2] != (2, 8):
        out.append(("error", f"SHARP's lock is torch 2.8.0, the image has {_dotted(has.torch)}"))
    if has.wheel_cuda and has.wheel_cuda < (12, 6):
        out.append(
            (
                "error",
                "SHARP's torch 2.8.0 has no wheels for CUDA "
                f"{_dotted(has.wheel_cuda)}: 12.6 or later",
            )
        )
    if has.python and has.python[:2] != (3, 13):
        out.append(
            ("warn", f"SHARP is locked for Python 3.13, the image has {_dotted(has.python)}")
        )
    return out


def _numpy(has: Stack) -> list[tuple[str, str]]:
    numpy = version(has.packages.get("numpy", ""))
    out = []
    for name in ("opencv-python", "opencv-python-headless", "opencv-contrib-python"):
        opencv = version(has.packages.get(name, ""))
        if numpy and opencv and opencv >= (4, 12) and numpy < (2,):
            out.append(
                (
                    "error",
                    f"{name} {_dotted(opencv)} needs NumPy 2, and {_dotted(numpy)} is "
                    "pinned (SAM 3 pins 1.26): take OpenCV 4.11",
                )
            )
    if has.packages.get("chumpy") == "0.70":
        if has.python and has.python >= (3, 11):
            out.append(
                (
                    "error",
                    "chumpy 0.70 uses inspect.getargspec, which Python 3.11 dropped: "
                    "Python 3.10, or chumpy by git commit",
                )
            )
        if numpy and numpy >= (1, 24):
            out.append(("error", "chumpy 0.70 imports numpy.bool, which NumPy 1.24 dropped"))
    torch_21 = has.torch and has.torch < (2, 3)
    if torch_21 and numpy and numpy >= (2,):
        out.append(
            ("error", f"torch {_dotted(has.torch)} is built for NumPy 1, not {_dotted(numpy)}")
        )
    return out


def _short(cuda: Version) -> str:
    return "cu" + "".join(map(str, cuda))


def _dotted(parts: Version | None) -> str:
    return ".".join(map(str, parts or ()))


_RULES: tuple[Callable[[Stack], list[tuple[str, str]]], ...] = (
    _wheels,
    _compiler,
    _sam3,
    _sharp,
    _numpy,
)
