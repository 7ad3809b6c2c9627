"""Which frames of a damaged .avi are lost, from its own index.

FFmpeg numbers the frames of an .avi by counting the chunks it finds, so one whose header is damaged
shifts the number of every later frame. The index at the end of the file (idx1; Microsoft's AVI RIFF
file reference) names every chunk, also those.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, List, Optional, Set, Tuple

_MOST = 64 << 20  # bytes of an index that is read: four million frames


def lost_frames(path: Path) -> Set[int]:
    """Frames, from 0, whose chunk is not where the index says. Empty without an index, or where
    the index fits nothing."""
    with path.open("rb") as stream:
        found = _index(stream)
        if found is None:
            return set()
        start, entries = found
        # Offsets count from the word "movi", in some files from the start of the file.
        tries = [
            [_is_there(stream, base + entry[1], entry) for entry in entries] for base in (start, 0)
        ]
    best = max(tries, key=sum)
    return {n for n, there in enumerate(best) if not there} if any(best) else set()


def _index(stream: BinaryIO) -> Optional[Tuple[int, List[Tuple[bytes, int, int]]]]:
    """Where "movi" stands, and (chunk name, offset, size) of each frame of the first video."""
    if stream.read(4) != b"RIFF" or stream.read(8)[4:] != b"AVI ":
        return None
    movi = None
    while len(header := stream.read(8)) == 8:
        name, size = header[:4], struct.unpack("<I", header[4:])[0]
        at = stream.tell()
        if name == b"LIST" and stream.read(4) == b"movi":
            movi = at
        if name == b"idx1" and movi is not None:
            table = stream.read(min(size, _MOST))
            rows = [struct.unpack_from("<4sIII", table, n) for n in range(0, len(table) - 15, 16)]
            frames = [(row[0], row[2], row[3]) for row in rows if row[0][2:] in (b"dc", b"db")]
            first = frames[0][0][:2] if frames else b""
            return movi, [frame for frame in frames if frame[0][:2] == first]
        stream.seek(at + size + size % 2)
    return None


def _is_there(stream: BinaryIO, at: int, entry: Tuple[bytes, int, int]) -> bool:
    stream.seek(at)
    return stream.read(8) == entry[0] + struct.pack("<I", entry[2])
