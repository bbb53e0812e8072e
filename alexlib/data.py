"""Find a set of pictures, pack it once, and hand it out as `Images`.

    train, test = load("imagenette")               # or "sample", "cifar10", "imagenet", or a folder
    batch = train.gather([5, 17, 3])               # uint8 (3, 256, 256, 3)
    rest, held_out = train.holdout(0.1, seed=0)    # tune on a part of train, report on test once

A folder holds train/<class>/* and val/<class>/* (or test/<class>/*). Labels follow the sorted names of the class
folders, pictures the sorted names of the files.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from alexlib import pack, sources


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of an array, in any order, copied only when they are read: `Rows(array, rows)[i]`."""

    array: np.ndarray
    rows: np.ndarray  # int64 (N,)

    def __getitem__(self, index) -> np.ndarray:
        return self.array[self.rows[index]]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.array.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype


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

    def __post_init__(self):
        n, height, width, channels = self.pixels.shape
        if self.labels.shape != (n,) or height != width or channels != 3 or self.pixels.dtype != np.uint8:
            raise ValueError(
                f"pixels must be uint8 (N, side, side, 3) and labels (N,), "
                f"not {self.pixels.dtype} {self.pixels.shape} and {self.labels.shape}"
            )
        if n and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise ValueError(f"labels {self.labels.min()}..{self.labels.max()} do not fit {len(self.classes)} classes")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def side(self) -> int:
        return self.pixels.shape[1]

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
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise IndexError(f"indices must be n whole numbers or {len(self)} booleans, not {rows.dtype} {rows.shape}")
        if rows.min() < 0 or rows.max() >= len(self):
            raise IndexError(f"indices {rows.min()}..{rows.max()} do not lie in 0..{len(self) - 1}")
        return rows.astype(np.int64)


def load(
    source: str | Path,
    side: int = 256,
    train_n: int | None = None,
    test_n: int | None = None,
    progress: pack.Report = "print",
) -> tuple[Images, Images]:
    """Training and test pictures of a set as squares: short side to `side` pixels, then the centre crop.

    `source` is "sample", "cifar10", "imagenette", "imagenet" or a folder. The first call packs the pictures
    under the runs folder, later calls open that pack; changed, added or removed files make a new one.
    `train_n` and `test_n` are the numbers of pictures of "sample" (3,000 and 500 unless told).
    `progress` is "print", None, or a callable that takes (pictures done, pictures in all).

    FileNotFoundError: the set is not there; says where to put it. ValueError: a folder that is not laid out as
    expected, or a file that cannot be decoded. OSError: no room on the disk.
    """
    packed = pack.ensure(sources.find(source, side, train_n, test_n), progress)
    return _images(packed, "train"), _images(packed, "test")


def load_flat(folder: str | Path, side: int = 256, progress: pack.Report = "print") -> Images:
    """The pictures directly in a folder, all of one class, "unlabelled"; mean and axes are their own."""
    return _images(pack.ensure(sources.flat(folder, side), progress), "train")


def _images(packed: pack.Pack, split: str) -> Images:
    return Images(
        pixels=packed.pixels[split],
        labels=packed.labels[split],
        classes=tuple(packed.meta["classes"]),
        mean=packed.mean,
        eigenvalues=packed.eigenvalues,
        eigenvectors=packed.eigenvectors,
        name=packed.meta["name"],
        split=split,
        fingerprint=packed.meta["sha256"][split][:16],
        origin=packed.meta["origin"],
    )
