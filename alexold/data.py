"""Sets of pictures, packed once and handed out as `Images`.

train, test = load("imagenette")               # or "sample", "cifar10", "imagenet", or a folder
batch = train.gather([5, 17, 3])               # uint8 (3, 256, 256, 3)
rest, held_out = train.holdout(0.1, seed=0)    # tune on a part of train, report on test once
"""

import hashlib
import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from alexold import sources


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of an array, in any order, copied only when they are read: `Rows(array, rows)[i]`."""

    array: np.ndarray
    rows: np.ndarray  # int64 (N,)

    def __getitem__(self, index) -> np.ndarray:
        return self.array[self.rows[index]]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class Images:
    """Pictures with their labels, and the statistics of the training split they belong to or are tested for."""

    pixels: np.ndarray | Rows  # uint8 (N, side, side, 3) RGB, mapped from disk: read it by `gather`
    labels: np.ndarray  # int64 (N,)
    classes: tuple[str, ...]
    mean: np.ndarray  # float32 (side, side, 3): mean image of the training pictures, 0..255
    eigenvalues: np.ndarray  # float64 (3,), ascending, of the covariance of the training pixels' RGB (0..255, squared)
    eigenvectors: np.ndarray  # float64 (3, 3): columns, in the order of the eigenvalues
    name: str
    split: str  # "train", "test", "holdout"
    fingerprint: str  # hash of the pixels and labels (of a subset: of the whole set's hash and the indices)
    origin: str = ""  # where the pictures came from, in words
    skipped: tuple[tuple[str, str], ...] = ()  # files that were left out of the split, and why
    pack: tuple[Path, str] | None = None  # where the pixels are: folder of the pack, and split in it

    def __post_init__(self):
        form, labels = self.pixels[:0], self.labels
        if form.shape != (0, self.side, self.side, 3) or form.dtype != np.uint8 or labels.shape != (len(self.pixels),):
            raise ValueError(
                f"pixels must be uint8 (N, side, side, 3) and labels (N,), "
                f"not {form.dtype} {(len(self.pixels), *form.shape[1:])} and {labels.shape}"
            )
        if labels.size and not 0 <= labels.min() <= labels.max() < len(self.classes):
            raise ValueError(f"labels {labels.min()}..{labels.max()} do not fit {len(self.classes)} classes")

    def __len__(self) -> int:
        return len(self.labels)

    def __reduce__(self):
        """Other processes open the pack again: no pixels are sent to them."""
        state = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.pack:
            state["pixels"] = self.pixels.rows if isinstance(self.pixels, Rows) else None
        return _restored, (state,)

    @property
    def side(self) -> int:
        return self.mean.shape[0]

    def gather(self, indices) -> np.ndarray:
        """A copy of the pictures at `indices` (whole numbers, any order): uint8 (n, side, side, 3)."""
        return self.pixels[self._checked(indices)]

    def subset(self, indices, split: str | None = None) -> "Images":
        """The pictures at `indices` (whole numbers, or N booleans) as a set of their own; copies no pixels."""
        rows = self._checked(indices)
        digest = hashlib.sha256(self.fingerprint.encode() + rows.astype("<i8").tobytes()).hexdigest()[:16]
        inner = isinstance(self.pixels, Rows)
        pixels = Rows(self.pixels.array, self.pixels.rows[rows]) if inner else Rows(self.pixels, rows)
        return replace(self, pixels=pixels, labels=self.labels[rows], split=split or self.split, fingerprint=digest)

    def holdout(self, fraction: float, seed: int) -> tuple["Images", "Images"]:
        """Split into (rest, held out), the held-out `fraction` taken at random from each class alone.

        Both parts get at least one picture of a class that has two. The mean image and the colour axes stay
        those of the whole training split.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"fraction must lie between 0 and 1, not {fraction}")
        held = np.zeros(len(self), bool)
        for label in np.unique(self.labels):
            members = np.flatnonzero(self.labels == label)
            take = min(max(round(fraction * len(members)), 1), len(members) - 1)
            held[np.random.default_rng((seed, label)).permutation(members)[:take]] = True
        return self.subset(~held), self.subset(held, split="holdout")

    def _checked(self, indices) -> np.ndarray:
        rows = np.asarray(indices)
        if rows.dtype == bool and rows.shape == (len(self),):
            return np.flatnonzero(rows)
        if rows.size == 0:
            return np.zeros(0, np.int64)
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= len(self):
            raise IndexError(f"indices must be whole numbers in 0..{len(self) - 1}, or {len(self)} booleans: {rows}")
        return rows.astype(np.int64)


def _restored(state: dict) -> Images:
    if state["pack"]:
        folder, split = state["pack"]
        whole, rows = unpacked(folder)[split].pixels, state["pixels"]
        state = state | {"pixels": whole if rows is None else Rows(whole, rows)}
    return Images(**state)


def load(source: str | Path, side: int = 256, on_error: str = "raise") -> tuple[Images, Images]:
    """Training and test pictures of a set as squares: short side to `side` pixels, then the centre crop.

    `source` is "sample", "cifar10", "imagenette", "imagenet", or a folder that holds train/<class>/* and
    val/<class>/* (or test/<class>/*). The first call packs the pictures under the runs folder, later calls open
    that pack; changed, added or removed files make a new one.

    Files that cannot be used are an error that names them (`on_error` "raise") or are left out and listed in
    `Images.skipped` ("skip").

    FileNotFoundError: the set is not there; says where to put it. ValueError: a folder that is not laid out as
    expected, or files that cannot be used. OSError: no room on the disk, or a folder that cannot be read.
    """
    sets = unpacked(sources.packed(source, side, on_error))
    return sets["train"], sets["test"]


def load_flat(folder: str | Path, side: int = 256, on_error: str = "raise") -> Images:
    """The pictures directly in a folder, all of one class, "unlabelled"; mean and axes are their own."""
    return unpacked(sources.packed_flat(folder, side, on_error))["train"]


def unpacked(folder: Path) -> dict[str, Images]:
    """The sets in a pack, by split; ValueError when its files do not fit together."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        with open(folder / "statistics.npz", "rb") as file, np.load(file) as arrays:
            statistics = [arrays[name] for name in ("mean", "eigenvalues", "eigenvectors")]
        sets = {}
        for split, shape in meta["shapes"].items():
            pixels = np.asarray(np.memmap(folder / f"{split}.u8", np.uint8, "r", shape=tuple(shape)))
            labels = np.load(folder / f"{split}.labels.npy")
            skipped = tuple((file, reason) for file, reason in meta.get("skipped", {}).get(split, ()))
            about = meta["name"], split, meta["sha256"][split][:16], meta["origin"], skipped, (folder, split)
            sets[split] = Images(pixels, labels, tuple(meta["classes"]), *statistics, *about)
        return sets
    except (FileNotFoundError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ValueError(f"{folder} is damaged ({error}); delete this folder and start again") from error
