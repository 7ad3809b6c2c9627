"""What an input is made of: its files, and its pieces, which are never split, by its `spread`.

    files      each file
    sequences  each video; all pictures together where there is no video
    scenes     each video; the pictures of each folder together

Jobs make their items of the same groups. A name is a path inside the input with "/"; what stands
for the input itself has its last name.
"""

from __future__ import annotations

import fnmatch
import os
import re
from pathlib import Path
from typing import Dict, Iterable, List, Literal, Sequence, Tuple

Spread = Literal["files", "sequences", "scenes"]

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
VIDEOS = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg",
    ".wmv", ".flv", ".3gp", ".ogv",
)  # fmt: skip


def pieces(root: Path, patterns: Sequence[str], spread: Spread) -> Dict[str, List[Path]]:
    """Piece name → its files, in the order a user counts in. Pictures beside videos are in no piece
    of `sequences`, for no job looks at them there. ValueError for a name that no message can hold:
    one that is not UTF-8."""
    found = sorted(files(root, patterns)[0], key=natural)
    groups = _GROUPS[spread](found, root)
    for name in groups:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the name of {name!a} is not UTF-8") from None
    return groups


def files(root: Path, patterns: Sequence[str]) -> Tuple[List[Path], List[Path]]:
    """(the files of an input that match one of the patterns, in whatever case, and those that do
    not), each sorted: the file itself, or those in the folder at any depth, without hidden ones.
    Links to folders are not followed."""
    if not root.is_dir():
        return [root], []
    known = re.compile("|".join(fnmatch.translate(each.lower()) for each in patterns or ("*",)))
    found: List[Path] = []
    others: List[Path] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in names:
            if not name.startswith("."):
                (found if known.match(name.lower()) else others).append(Path(folder, name))
    return sorted(found, key=_parts), sorted(others, key=_parts)


def name_of(path: Path, root: Path) -> str:
    """The name of a file of an input: no two share one."""
    return path.name if path == root else path.relative_to(root).as_posix()


def sequences(found: Iterable[Path], root: Path) -> Dict[str, List[Path]]:
    """Item name → its files: every video is an item, and all pictures together are one, in the
    order a user counts in (frame2 before frame10), where there is no video."""
    known = list(found)
    videos = {name_of(path, root): [path] for path in known if not is_image(path)}
    images = sorted((path for path in known if is_image(path)), key=natural)
    return {root.name: images} if images and not videos else videos


def scenes(found: Iterable[Path], root: Path) -> Dict[str, List[Path]]:
    """Item name → its files: each video by itself, and the pictures of one folder together."""
    groups: Dict[str, List[Path]] = {}
    for path in sorted(found, key=natural):
        if is_video(path) or path == root:
            groups[name_of(path, root)] = [path]
            continue
        folder = root if path.parent == root else path.parent
        groups.setdefault(name_of(folder, root), []).append(path)
    return groups


def is_image(path: Path) -> bool:
    """Whether OpenCV reads it as a picture."""
    return path.suffix.lower() in IMAGES


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS


def natural(path: Path) -> List[Tuple[int, int, str]]:
    """Sorts paths as a user counts: frame2 before frame10."""
    parts = re.split(r"([0-9]+)", str(path))
    return [
        (1, int(part), "") if part.isdecimal() and part.isascii() else (0, 0, part)
        for part in parts
    ]


def _parts(path: Path) -> Tuple[str, ...]:
    """Sorts paths as they sort themselves, and reads each only once."""
    return path.parts


def _each(found: Iterable[Path], root: Path) -> Dict[str, List[Path]]:
    return {name_of(path, root): [path] for path in found}


_GROUPS = {"files": _each, "sequences": sequences, "scenes": scenes}
