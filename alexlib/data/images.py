"""Image files become squares; `Images` is a labelled set of them; `Feed` reads its mini-batches."""

import hashlib
import io
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 2**28  # bytes of metadata
UNREAD = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")  # Pillow starts programs, or has no decoder
ENDINGS = {end: form for end, form in Image.registered_extensions().items() if form not in UNREAD}
FORMATS = [form for form in Image.ID if form in ENDINGS.values()]
EXTENSIONS = tuple(end for end, form in ENDINGS.items() if form in (*FORMATS, "MPO"))

BATCHES_AHEAD = 2  # mini-batches that `Feed` reads in advance
MEMORY_SHARE = 0.5  # the share of a GPU's free memory that one set may take


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

    16 bits are scaled to 8; transparent parts become white.
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


@dataclass(frozen=True, eq=False)
class Images:
    """Images with labels, and the statistics of the training set that they belong to."""

    pixels: np.ndarray  # uint8 (M, side, side, 3) RGB, memory-mapped: read them by `gather`
    labels: np.ndarray  # int64 (N,)
    classes: tuple[str, ...]
    mean: np.ndarray  # float32 (side, side, 3), 0..255: mean image of the training set
    eigenvalues: np.ndarray  # float64 (3,), ascending: of the covariance of RGB, pixels in 0..255
    eigenvectors: np.ndarray  # float64 (3, 3): columns, in the order of the eigenvalues
    name: str
    split: str  # "train", "test" or "holdout"
    fingerprint: str  # hash of pixels and labels; of a subset: of that hash and the indices
    origin: str = ""  # where the images come from, for readers
    skipped: tuple[tuple[str, str], ...] = ()  # unusable files that were left out, with the reason
    pack: tuple[Path, str] | None = None  # folder of the packed images, and the split in it
    rows: np.ndarray | None = None  # int64 (N,): which of the pixels are in this set; None: all
    ids: tuple[str, ...] = ()  # of the classes, e.g. WordNet ids; (): they are known by name only

    def __post_init__(self):
        if self.rows is None:
            object.__setattr__(self, "rows", np.arange(len(self.pixels)))
        if self.pixels.dtype != np.uint8 or self.pixels.shape[1:] != (self.side, self.side, 3):
            raise ValueError(f"pixels must be uint8 (N, {self.side}, {self.side}, 3)")
        if self.labels.shape != self.rows.shape or np.any(self.labels >= len(self.classes)):
            raise ValueError(f"each image needs a label in 0..{len(self.classes) - 1}")

    def __len__(self) -> int:
        return len(self.labels)

    def __getstate__(self) -> dict:
        """Packed images are pickled without pixels: the other process opens the pack."""
        return vars(self) | {"pixels": None if self.pack else self.pixels}

    def __setstate__(self, state: dict) -> None:
        if state["pack"]:
            folder, split = state["pack"]
            state["pixels"] = read_pack(folder)[split].pixels
        vars(self).update(state)

    @property
    def side(self) -> int:
        return self.mean.shape[0]

    def gather(self, indices) -> np.ndarray:
        """A copy of the images at `indices` (integers or booleans): uint8 (n, side, side, 3)."""
        return self.pixels[self.rows[indices]]

    def subset(self, indices, split: str | None = None) -> "Images":
        """The images at `indices` (integers or booleans) as a new set; copies no pixels."""
        chosen = np.arange(len(self))[indices]
        content = self.fingerprint.encode() + chosen.astype("<i8").tobytes()
        return replace(
            self,
            rows=self.rows[chosen],
            labels=self.labels[chosen],
            split=split or self.split,
            fingerprint=hashlib.sha256(content).hexdigest()[:16],
        )

    def holdout(self, fraction: float, seed: int) -> tuple["Images", "Images"]:
        """Splits into (rest, held out); `fraction` of each class is held out, at random.

        Both parts get at least one image of each class that has two or more. Mean image and colour
        axes stay those of the whole training set.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"fraction must lie between 0 and 1, not {fraction}")
        held = np.zeros(len(self), bool)
        for label in np.unique(self.labels):
            members = np.flatnonzero(self.labels == label)
            count = min(max(round(fraction * len(members)), 1), len(members) - 1)
            held[np.random.default_rng((seed, label)).permutation(members)[:count]] = True
        return self.subset(~held), self.subset(held, split="holdout")


def read_pack(folder: Path) -> dict[str, Images]:
    """The sets in a folder that `prepare.pack` wrote, by split; ValueError if it is damaged."""
    try:
        about = json.loads((folder / "about.json").read_text("utf-8"))
        with np.load(folder / "arrays.npz") as file:
            arrays = dict(file)
        statistics = [arrays[name] for name in ("mean", "eigenvalues", "eigenvectors")]
        sets = {}
        for split, fingerprint in about["fingerprints"].items():
            labels = arrays[f"{split}_labels"]
            shape = len(labels), *arrays["mean"].shape
            pixels = np.asarray(np.memmap(folder / f"{split}.u8", np.uint8, "r", shape=shape))
            skipped = tuple(map(tuple, about["skipped"][split]))
            content = pixels, labels, tuple(about["classes"]), *statistics
            names = about["name"], split, fingerprint, about["origin"], skipped, (folder, split)
            sets[split] = Images(*content, *names, ids=tuple(about.get("ids", ())))
        return sets
    except (FileNotFoundError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ValueError(f"{folder} is damaged ({error}): delete it and try again") from error


def generator(seed: int, number: int, purpose: str) -> torch.Generator:
    """A CPU generator that is seeded by (seed, number, purpose) alone."""
    sequence = np.random.SeedSequence([seed, number, *purpose.encode()])
    return torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0]) >> 1)


def order(n: int, batch: int, seed: int, epoch: int) -> tuple[torch.Tensor, ...]:
    """The mini-batches of an epoch: indices of n images in random order; the last may be smaller.

    Depends on the arguments alone, so an epoch can be resumed at any mini-batch.
    """
    return torch.randperm(n, generator=generator(seed, epoch, "order")).split(batch)


def in_order(work: Callable, items: Iterable, threads: int, ahead: int) -> Iterator:
    """Yields work(item) for each item, in order; threads work on the next `ahead` items."""
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Feed:
    """Reads mini-batches of a set onto a device.

        feed = Feed(train, "cuda")
        for pixels, labels in feed(order(len(train), 128, seed=0, epoch=3)):
            ...  # uint8 (128, side, side, 3) and int64 (128,), both on the device

    A set of at most `MEMORY_SHARE` of the free memory of a CUDA GPU is copied to it once. Otherwise
    a thread reads the next mini-batches from the memory-mapped file in advance.
    """

    def __init__(self, images: Images, device: str = "cpu"):
        self.images, self.device, self._copy = images, torch.device(device), None
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if len(images) * images.side**2 * 3 <= MEMORY_SHARE * free:
                self._copy = self._copied()

    def __len__(self) -> int:
        return len(self.images)

    def __call__(self, batches: Iterable) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Pixels, uint8 (n, side, side, 3), and labels, int64 (n,), for each array of indices."""
        if self._copy:
            pixels, labels = self._copy
            for indices in batches:
                chosen = torch.as_tensor(indices, device=self.device)
                yield pixels.index_select(0, chosen), labels[chosen]
        else:
            for batch in in_order(self._read, batches, 1, BATCHES_AHEAD):
                yield tuple(x.to(self.device, non_blocking=True) for x in batch)

    def _read(self, indices) -> tuple[torch.Tensor, torch.Tensor]:
        """A mini-batch in the computer's memory, pinned if it will go to a GPU."""
        chosen = np.asarray(indices)
        batch = self.images.gather(chosen), self.images.labels[chosen]
        batch = tuple(torch.from_numpy(array) for array in batch)
        return tuple(x.pin_memory() for x in batch) if self.device.type == "cuda" else batch

    def _copied(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All images, uint8 (N, side, side, 3), and labels on the GPU."""
        shape = len(self), *self.images.mean.shape
        pixels = torch.empty(shape, dtype=torch.uint8, device=self.device)
        for first in range(0, len(self), 1024):
            part = slice(first, first + 1024)
            pixels[part] = self._read(np.arange(len(self))[part])[0].to(self.device)
        return pixels, torch.from_numpy(self.images.labels).to(self.device)
