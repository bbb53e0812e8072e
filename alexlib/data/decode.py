"""Image files become squares of pixels."""

import io

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 2**28  # bytes of metadata
UNREAD = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")  # Pillow starts programs, or has no decoder
ENDINGS = {end: form for end, form in Image.registered_extensions().items() if form not in UNREAD}
FORMATS = [form for form in Image.ID if form in ENDINGS.values()]
EXTENSIONS = tuple(end for end, form in ENDINGS.items() if form in (*FORMATS, "MPO"))


def read_file(file: str | io.BytesIO, side: int) -> Image.Image:
    """Decodes an image file; its EXIF orientation is ignored, as in 2012.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that is still twice `side`.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # in case another library has set it
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:  # its message has the whole path
        raise ValueError("empty, or not an image of a known format") from None
    with image:
        if min(image.size) < 8 or max(image.size) > 100 * min(image.size):
            raise ValueError(f"{image.width} x {image.height} pixels: too small or too long")
        image.draft(image.mode, (2 * side, 2 * side))
        image.load()
    return image


def square(image: Image.Image, side: int) -> np.ndarray:
    """The centre square of an image, resized: uint8 RGB (side, side, 3).

    16 bits are scaled to 8; what is transparent becomes white.
    """
    if not isinstance(image, Image.Image):
        raise TypeError(f"not a PIL image, but {type(image).__name__}: leave out the transform")
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    image = image.crop((left, top, left + short, top + short))
    if image.mode[0] in "IF":
        levels = np.asarray(image)
        if image.mode == "F" or levels.min() < 0 or levels.max() > 65535:
            raise ValueError("grey levels beyond 16 bits have no known range")
        image = Image.fromarray(((levels.astype(np.int64) + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))
