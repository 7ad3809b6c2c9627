"""One picture of any mode as an RGB uint8 array of height × width × 3, turned upright, with the
focal length of the camera in pixels. Needs Pillow and numpy.

Modes: palettes, grey, black and white, CMYK, YCbCr, HSV and Lab are converted by Pillow;
transparent pixels are put over white; whole numbers of grey within 0..65535 and fractions within
0..1 are scaled from that range, others from their smallest and largest value. Colour profiles are
ignored. Of an animation the first frame is read.
"""

from __future__ import annotations

import importlib
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Dict, NamedTuple, Optional, SupportsFloat, Union

from devbox.box.arrays import Array, Pixels

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 89_478_485  # above this Pillow itself calls a picture a possible decompression bomb

# Among others not EPS, for which Pillow runs a program over what is in the file.
_FORMATS = (
    *("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "HEIF", "JPEG2000", "PPM", "TGA"),
)
_DIAGONAL = math.hypot(36, 24)  # of a frame of 35 mm film, millimetres
_ORIENTATION, _EXIF = 0x0112, 0x8769  # tags of Exif 3.0: the second points to the camera's own
_FOCAL_35, _FOCAL = 0xA405, 0x920A  # FocalLengthIn35mmFilm and FocalLength, millimetres
_SHORT, _CROP = (
    10.0,
    8.4,
)  # a shorter focal length is a phone's; what it is on film, as ml-sharp has
_DEFAULT_MM = 30.0  # ml-sharp's, without EXIF
_GUIDE = 1.2  # of the longer side


class PictureError(ValueError):
    """The file is no picture, cut off, or too large. The text is one for the user."""


class TooLarge(PictureError):
    """More pixels than are read."""


class Picture(NamedTuple):
    """image: height × width × 3, RGB uint8, contiguous and writable. mode: as Pillow names the
    file's own. orientation: EXIF's 1..8, already applied. film_mm: the focal length EXIF tells, on
    35 mm film, in millimetres; None without one."""

    image: Pixels
    mode: str
    orientation: int
    film_mm: Optional[float]

    def focal(self, missing: str = "guide", given: Optional[float] = None) -> "Focal":
        """In pixels of this picture. `missing` is the rule without EXIF: "guide" or "upstream";
        given: what the user says it is, which wins."""
        if given:
            return Focal(given, "given")
        height, width = self.image.shape[:2]
        return focal(width, height, self.film_mm, missing)


class Focal(NamedTuple):
    """px: focal length in pixels. rule: exif | guide | upstream | given, where it comes
    from."""

    px: float
    rule: str


def focal(width: int, height: int, film_mm: Optional[float], missing: str = "guide") -> Focal:
    """Focal length of a picture of that many pixels. film_mm: what EXIF tells, else None, and then
    by `missing`: "guide" is 1.2 × the longer side, "upstream" is ml-sharp's 30 mm on film."""
    if film_mm is not None:
        return Focal(film_mm * math.hypot(width, height) / _DIAGONAL, "exif")
    if missing == "guide":
        return Focal(_GUIDE * max(width, height), "guide")
    if missing == "upstream":
        return Focal(_DEFAULT_MM * math.hypot(width, height) / _DIAGONAL, "upstream")
    raise ValueError(f"no rule for the focal length is called {missing!r}: guide or upstream")


def load(source: Union[Path, bytes], *, most_pixels: int = MOST_PIXELS) -> Picture:
    """Decode a file, or its content. PictureError when it is not one whole picture of at most
    `most_pixels`; FileNotFoundError and PermissionError as they are."""
    from PIL import Image, UnidentifiedImageError

    _heif()
    Image.init()
    known = [each for each in _FORMATS if each in Image.OPEN]
    name = source.name if isinstance(source, Path) else "the picture"
    try:
        given = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(given, formats=known) as opened:
            width, height = opened.size
            if width * height > most_pixels:
                raise Image.DecompressionBombError
            # Some formats turn themselves and drop the tag as they are decoded.
            before = _exif(opened)
            opened.load()
            tags = _exif(opened)
            orientation = int(_number(tags.get(_ORIENTATION)) or 1)
            upright = _turned(opened, orientation)
            image = _rgb(upright)
    except (FileNotFoundError, PermissionError, IsADirectoryError, PictureError):
        raise
    except UnidentifiedImageError:
        raise PictureError(f"{name} is not a picture that Pillow can read") from None
    except Image.DecompressionBombError:
        limit = f"{most_pixels / 1e6:.0f} megapixels"
        raise TooLarge(f"{name} has more than the {limit} that are read") from None
    except MemoryError:
        raise PictureError(f"{name} does not fit into memory") from None
    except Exception as error:
        # Each of Pillow's decoders has exceptions of its own for damage: OSError, SyntaxError,
        # struct.error, EOFError, ValueError, zlib.error.
        raise PictureError(f"{name} is damaged or cut off: {error}") from error
    return Picture(image, opened.mode, orientation, _film_mm({**before, **tags}))


def _heif() -> None:
    """Phones save HEIC; Pillow reads it where pillow-heif is installed. Registered once."""
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return


def _turned(opened: Image, orientation: int) -> Image:
    from PIL.Image import Transpose

    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)
    return opened if turn is None else opened.transpose(turn)


def _rgb(image: Image) -> Pixels:
    import numpy as np

    if image.mode.startswith("I") or image.mode == "F":
        grey = _grey(np.asarray(image), image.mode)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("RGBa", "La"):
        image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = _over_white(image.convert("RGBA"))
    if image.mode == "LAB":
        image = _from_lab(image)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _grey(values: Array, mode: str) -> Pixels:
    """8-bit grey of one channel. 16-bit PNGs open as I in some versions of Pillow, as I;16 in
    others."""
    import numpy as np

    values = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if mode.startswith("I") and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    elif mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    scaled = (values - low) * (255.0 / ((high - low) or 1.0))
    return (scaled + 0.5).astype(np.uint8)


def _over_white(image: Image) -> Image:
    from PIL import Image

    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def _from_lab(image: Image) -> Image:
    from PIL import ImageCms

    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    assert converted is not None  # as it is not done in place
    return converted


def _exif(image: Image) -> Dict[int, object]:
    """The tags this module reads. Damaged EXIF is like none: the pixels are still good."""
    try:
        exif = image.getexif()
        return {**dict(exif), **exif.get_ifd(_EXIF)}
    except Exception:
        return {}


def _film_mm(tags: Dict[int, object]) -> Optional[float]:
    film = _number(tags.get(_FOCAL_35))
    if film is not None and film >= 1:
        return film
    own = _number(tags.get(_FOCAL))
    if own is None or own <= 0:
        return None
    return own * _CROP if own < _SHORT else own


def _number(value: object) -> Optional[float]:
    """EXIF holds anything: fractions by zero, tuples, text."""
    if not isinstance(value, (str, bytes, SupportsFloat)):
        return None
    try:
        number = float(value)
    except (ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) else None
