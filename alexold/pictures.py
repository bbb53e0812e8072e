"""Picture files to squares of bytes: a file is decoded whole, or `BadPicture` says what is wrong with it."""

import logging
import os
import re
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from alexold.progress import Progress, clock

FORMATS = {  # what is decoded, whatever a file is called; others would let Pillow start programs (EPS: Ghostscript)
    "JPEG": (".jpeg", ".jpg"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
}
EXTENSIONS = tuple(extension for known in FORMATS.values() for extension in known)  # in any case; others: no pictures
SHORTEST = 8  # pixels: from a shorter side little more than one colour would be blown up to a square
LONGEST = 100  # times the short side: the centre square would be less than 1 % of a longer picture
BIGGEST = 2**30  # bytes of a file
AHEAD = 4  # pictures decoded in advance, for each thread: bounds the memory
EARLY = "its data end early"


class BadPicture(ValueError):
    """A file that is no usable picture: `path`, `kind` (one word or two, to count by), `reason` (a phrase)."""

    def __init__(self, path: Path, kind: str, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.kind, self.reason = path, kind, reason


class Picture(NamedTuple):
    """A decoded file: its square, uint8 RGB (side, side, 3), and what it is: format, mode and (width, height)."""

    square: np.ndarray
    format: str
    mode: str
    size: tuple[int, int]


@contextmanager
def strict() -> Iterator[None]:
    """Around all decoding, once for all threads: Pillow refuses what ends early, and prints nothing."""
    log, given = logging.getLogger("PIL"), ImageFile.LOAD_TRUNCATED_IMAGES
    level = log.level
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        log.setLevel(logging.CRITICAL)
        ImageFile.LOAD_TRUNCATED_IMAGES = False  # another library may have set it: the rest would be grey or black
        try:
            yield
        finally:
            log.setLevel(level)
            ImageFile.LOAD_TRUNCATED_IMAGES = given


def decode(path: Path, side: int) -> np.ndarray:
    """The square of a picture file, uint8 RGB (side, side, 3); BadPicture if it cannot be decoded whole."""
    return read(path, side).square


def read(path: Path, side: int) -> Picture:
    """A picture file, decoded whole, inside `strict`; BadPicture if it is none or cannot be used.

    The EXIF orientation is ignored, as it was in 2012.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError("decode inside `with pictures.strict():`")
    data = _content(path)
    try:
        with Image.open(BytesIO(data), formats=tuple(FORMATS)) as image:  # no path: a mapped file may shrink meanwhile
            about = "JPEG" if image.format == "MPO" else image.format, image.mode, image.size
            _check_size(path, image.size)
            image.draft(image.mode, (2 * side, 2 * side))  # a JPEG decodes faster at 1/2, 1/4 or 1/8 of its size
            start = image.fp.tell() if image.format == "JPEG" else 0
            image.load()
            if _made_up(image, data, start, side):
                raise BadPicture(path, "truncated", EARLY)
            return Picture(square(image, side), *about)
    except BadPicture:
        raise
    except Exception as error:  # a decoder may raise anything on broken bytes
        raise BadPicture(path, *_explained(error, data)) from error


def _content(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            if size > BIGGEST:
                raise BadPicture(path, "too large", f"{size:,} bytes are beyond the limit of {BIGGEST:,}")
            file.seek(0)
            data = file.read()
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or repr(error)
        raise BadPicture(path, "unreadable", f"cannot be read ({reason})") from error
    if not data:
        raise BadPicture(path, "empty", "0 bytes")
    return data


def _check_size(path: Path, size: tuple[int, int]) -> None:
    width, height = size
    if min(size) < SHORTEST:
        raise BadPicture(path, "too small", f"{width:,} x {height:,} pixels: a side is shorter than {SHORTEST}")
    if max(size) > LONGEST * min(size):
        reason = f"{width:,} x {height:,} pixels: one side is more than {LONGEST} times the other"
        raise BadPicture(path, "too long", reason)


def _explained(error: Exception, data: bytes) -> tuple[str, str]:
    """Kind and reason of what a decoder raised."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, Image.DecompressionBombError):
        return "too large", str(error)
    if isinstance(error, MemoryError):
        return "too large", "too little memory to decode it"
    if isinstance(error, UnidentifiedImageError):
        known = [name for name in FORMATS if Image.OPEN[name][1](data[:16]) is True]
        if known:
            return "undecodable", f"its {known[0]} header is broken or cut short"
        return "not a picture", f"no known format ({', '.join(FORMATS)}): begins with {data[:12]!r}"
    if "truncated" in text.lower():
        return "truncated", EARLY
    return "undecodable", f"cannot be decoded ({text})"


def _made_up(image: Image.Image, data: bytes, start: int, side: int) -> bool:
    """Whether the decoder filled in pixels for which a JPEG or PNG has no data, which it does without a word.

    `image` is loaded; the data of a JPEG begin at `start`. What it lacks becomes grey; what a PNG lacks stays as the
    memory was, 0. If the last corner looks so, the file is decoded once more, such that the missing part would look
    otherwise. Not found is what is not flat, as when a progressive JPEG lacks its fine details.
    """
    if image.format == "JPEG" and data.find(b"\xff\xd9", start) < 0:
        return True  # no end marker, yet not found truncated: zeros in the place of data decode to something
    if image.format == "PNG":
        with Image.open(BytesIO(data), formats=("PNG",)) as again:
            again.verify()  # the checksums of its data, which decoding skips
    elif image.format != "JPEG":
        return False
    corner = np.asarray(image.crop((image.width - 2, image.height - 2, *image.size))).reshape(4, -1)
    filled = abs(corner - 128.0) < 9 if image.format == "JPEG" else corner == 0  # 9: colours leak over the edge
    return bool(filled.all(1).any()) and image.tobytes() != _otherwise(image, data, start, side)


def _otherwise(image: Image.Image, data: bytes, start: int, side: int) -> bytes:
    """The bytes of a loaded picture, decoded once more with something else in the place of missing data."""
    if image.format == "JPEG":
        data = _with_noise(data, start)
    with Image.open(BytesIO(data), formats=(image.format,)) as again:
        again.draft(again.mode, (2 * side, 2 * side))
        if image.format == "PNG":
            again.im = Image.new(again.mode, again.size, 1).im
        again.load()
        return again.tobytes()


def _with_noise(data: bytes, start: int) -> bytes:
    """A JPEG with noise before each marker that interrupts or ends its first pass, from `start`.

    A decoder that has all the data before a marker skips the noise.
    """
    noise = b"\x5a\xc3\x96\x3c" * 16
    end = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]").search(data, start).start()
    scan = re.sub(rb"\xff+[\xd0-\xd7]", lambda marker: noise + marker[0], data[start:end])
    restarts = (noise + bytes((0xFF, marker)) for marker in range(0xD0, 0xD8))
    return data[:start] + scan + b"".join(restarts) + data[end:]


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
    if image.mode[0] in "IF":
        levels = np.asarray(image)
        if image.mode == "F" or levels.min() < 0 or levels.max() > 65535:
            raise ValueError("grey levels beyond 16 bits have no known range")
        image = Image.fromarray(((levels.astype(np.int64) + 128) // 257).astype(np.uint8))
    if image.mode == "P" and image.getextrema()[1] >= len(image.getpalette() or ()) / 3:
        raise ValueError("it has colours that its palette lacks")  # Pillow would make them black
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def in_order(count: int, work: Callable[[int], object]) -> Iterator:
    """work(0), work(1), ... work(count - 1), done by a thread a core, a few ahead of the caller."""
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        futures = (pool.submit(work, index) for index in range(count))
        waiting = deque(islice(futures, AHEAD * threads))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(islice(futures, 1))


class Count(Progress):
    """Progress through a known number of pictures, inside `with`: what interrupts it gets a line of its own."""

    def __init__(self, doing: str, pictures: int):
        super().__init__()
        self._doing, self._pictures, self._done, self._start = doing, pictures, 0, time.monotonic()

    def __enter__(self) -> "Count":
        return self

    def __exit__(self, error, *_) -> None:
        if error:
            self.finish(f"{self._doing} was stopped")

    def one(self) -> None:
        self._done += 1
        if self.due():
            left = (time.monotonic() - self._start) * (self._pictures / self._done - 1)
            self.show(f"{self._doing}: {self._done} of {self._pictures} pictures, {clock(left)} left")

    def finish(self, did: str, more: str = "") -> None:
        self.end(f"{did}: {self._done} pictures in {clock(time.monotonic() - self._start)}{more}")
