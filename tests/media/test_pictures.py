"""A picture of any mode comes out as the colours one sees, upright, or says why it cannot."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from devbox.box.media import pictures
from devbox.box.media.pictures import PictureError

RED, GREEN, GREY = (220, 30, 40), (20, 200, 60), (128, 128, 128)


def plain(size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Left half red, right half green."""
    image = Image.new("RGB", size, RED)
    image.paste(GREEN, (size[0] // 2, 0, *size))
    return image


def saved(image: Image.Image, kind: str, **more: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def exif(orientation: int | None = None, **tags: Any) -> Image.Exif:
    made = Image.Exif()
    if orientation is not None:
        made[0x0112] = orientation
    names = {"film": 0xA405, "own": 0x920A}
    made.get_ifd(0x8769).update({names[key]: value for key, value in tags.items()})
    return made


def lab() -> Image.Image:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    found = ImageCms.profileToProfile(plain(), *profiles, outputMode="LAB")
    assert found is not None
    return found


def see_through(mode: str) -> Image.Image:
    """Its right half is transparent, over black."""
    image = plain().convert("RGBA")
    image.paste((0, 0, 0, 0), (20, 0, 40, 20))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("data", "left", "right", "mode"),
    [
        (saved(plain(), "PNG"), RED, GREEN, "RGB"),
        (saved(plain().quantize(8), "PNG"), RED, GREEN, "P"),
        (saved(plain().quantize(8), "GIF"), RED, GREEN, "P"),
        (saved(plain().convert("CMYK"), "JPEG", quality=95), RED, GREEN, "CMYK"),
        (saved(lab(), "TIFF"), RED, GREEN, "LAB"),
        (saved(plain().convert("L"), "PNG"), (88,) * 3, (130,) * 3, "L"),
        (saved(plain().point(lambda v: 255 * (v > 100)).convert("1"), "PNG"), None, None, "1"),
        (saved(see_through("RGBA"), "PNG"), RED, (255,) * 3, "RGBA"),
        (saved(see_through("LA"), "PNG"), (88,) * 3, (255,) * 3, "LA"),
        (saved(plain().quantize(8), "PNG", transparency=1), None, None, "P"),
        (saved(Image.fromarray(np.full((20, 40), 257 * 88, np.uint16)), "PNG"), (88,) * 3,
         (88,) * 3, "I;16"),
        (saved(Image.fromarray(np.repeat([[-1e9, 3e9]], 20, 1).astype(np.float32)), "TIFF"),
         (0,) * 3, (255,) * 3, "F"),
    ],
)  # fmt: skip
def test_every_mode_becomes_8_bit_rgb(data: bytes, left: Any, right: Any, mode: str) -> None:
    found = pictures.load(data)
    assert found.image.dtype == np.uint8
    assert (found.image.ndim, found.image.shape[2]) == (3, 3)
    assert found.image.flags.c_contiguous
    assert found.image.flags.writeable
    assert found.mode == mode
    if left is not None:
        assert np.abs(found.image[0, 2].astype(int) - left).max() <= 6
        assert np.abs(found.image[0, -3].astype(int) - right).max() <= 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_all_eight_orientations_are_turned_upright(orientation: int, kind: str) -> None:
    """Exif 3.0, 4.6.5.1: where the 0th row and the 0th column of the stored pixels are shown."""
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = 250  # top left
    upright[8:, 16:, 0] = 250  # red at the bottom right
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    more = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    data = saved(
        Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif(orientation), **more
    )
    found = pictures.load(data).image
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).max() <= 30


@pytest.mark.parametrize(
    ("tags", "rule", "px", "named"),
    [
        # The figures of ml-sharp's own rule, run on a picture of 400 × 300.
        ({}, "upstream", 346.688, "upstream"),
        ({"film": 26}, "upstream", 300.463, "exif"),
        ({"own": TiffImagePlugin.IFDRational(42, 10)}, "guide", 407.705, "exif"),
        ({"own": 50.0}, "guide", 577.813, "exif"),
        ({}, "guide", 480.0, "guide"),
        ({"own": 0.0}, "guide", 480.0, "guide"),
        ({"film": 0, "own": 50.0}, "guide", 577.813, "exif"),
        ({"own": TiffImagePlugin.IFDRational(5, 0)}, "guide", 480.0, "guide"),
    ],
)
def test_the_focal_length_and_where_it_comes_from(
    tags: dict[str, Any], rule: str, px: float, named: str
) -> None:
    data = saved(plain((400, 300)), "JPEG", exif=exif(6, **tags))
    found = pictures.load(data).focal(rule)
    assert (round(found.px, 3), found.rule) == (px, named)
    assert type(found.px) is float
    assert math.isfinite(found.px)


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(ValueError, match="guide or upstream"):
        pictures.focal(4, 3, None, "50mm")


def test_damaged_exif_does_not_cost_the_picture() -> None:
    whole = saved(plain(), "JPEG", exif=exif(1, film=26))
    at = whole.index(b"Exif\0\0") + 6
    found = pictures.load(whole[: at + 4] + b"\xff" * 30 + whole[at + 34 :])
    assert found.image.shape == (20, 40, 3)
    assert found.focal().rule == "guide"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF"])
def test_a_picture_that_is_cut_off_says_so(kind: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (60, 80, 3), np.uint8)
    whole = saved(Image.fromarray(noise), kind)
    file = tmp_path / "a.picture"
    for share in (0.3, 0.9):
        file.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(PictureError, match=r"^a\.picture is (damaged or cut|not a picture)"):
            pictures.load(file)
    file.write_bytes(whole)
    assert pictures.load(file).image.shape == (60, 80, 3)


def test_what_is_no_picture_or_too_large_says_so(tmp_path: Path) -> None:
    for data in (b"", b"hello", b"\0" * 5000, b"<svg></svg>", saved(plain(), "EPS")):
        with pytest.raises(PictureError, match="is not a picture"):
            pictures.load(data)
    bomb = saved(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(bomb) < 100_000
    for limit in (pictures.MOST_PIXELS, 10**9):
        with pytest.raises(PictureError, match=f"more than the {limit / 1e6:.0f} megapixels"):
            pictures.load(bomb, most_pixels=limit)
    with pytest.raises(PictureError, match="more than the 0 megapixels"):
        pictures.load(saved(plain(), "PNG"), most_pixels=799)
    with pytest.raises(FileNotFoundError):
        pictures.load(tmp_path / "gone.jpg")
