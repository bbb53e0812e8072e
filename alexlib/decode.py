"""Picture files of any kind to squares of bytes: uint8 RGB (side, side, 3)."""

from pathlib import Path

import numpy as np
from PIL import Image

EXTENSIONS = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")  # in any case; others are no pictures


def decode(path: Path, side: int) -> np.ndarray:
    """A picture file as uint8 RGB (side, side, 3); ValueError naming the file if it cannot be decoded whole.

    The EXIF orientation is ignored, as it was in 2012.
    """
    try:
        with Image.open(path) as image:
            image.draft(image.mode, (2 * side, 2 * side))  # a JPEG decodes faster at 1/2, 1/4 or 1/8 of its size
            return square(image, side)
    except Exception as error:  # a decoder may raise anything on broken bytes
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} cannot be decoded ({reason}); replace or delete the file and start again") from error


def square(image: Image.Image, side: int) -> np.ndarray:
    """Short side to `side`, then the centre crop: uint8 RGB (side, side, 3).

    The centre square is cut first and resized after: the same picture, without rounding the long side.
    """
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    image = to_rgb(image.crop((left, top, left + short, top + short)))
    return np.array(image.resize((side, side), Image.Resampling.BICUBIC))


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB: 16 bits are scaled to 8, what is transparent shows a white ground."""
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        image = Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
