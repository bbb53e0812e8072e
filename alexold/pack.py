"""Packed pictures: each is decoded once, into one array of bytes on disk that later starts map into memory.

A pack is a folder `runs/packs/<name>-<side>-<fingerprint of the source>/`:

    train.u8, test.u8                    the pictures, uint8 (N, side, side, 3), nothing else
    train.labels.npy, test.labels.npy    int64 (N,)
    statistics.npz                       mean image, eigenvalues and eigenvectors of the training pictures
    meta.json                            classes, shapes, hashes of the content, origin, versions, files left out

It is written under another name and renamed when whole, so a folder of that name is always a whole pack.
"""

import errno
import hashlib
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL

from alexold.paths import runs_root
from alexold.pictures import BadPicture, Count, in_order, strict

FORMAT = 1  # raise it when the files, the decoding or the statistics change: older packs are then not used
LISTED = 20  # files that a message names
ON_ERROR = ("raise", "skip")  # what to do about pictures that cannot be used
ROOM = "make room, or set ALEXLIB_RUNS to a folder elsewhere"

Split = tuple[np.ndarray, Callable[[int], np.ndarray]]  # labels, and picture i as uint8 RGB (side, side, 3)
Opened = tuple[tuple[str, ...], dict[str, Split]]  # classes, and splits by name
Skipped = dict[str, list[tuple[str, str]]]  # by split: file in the set's folder, and what is wrong with it


def ensure(
    name: str,
    side: int,
    identity: Iterable,
    origin: str,
    opened: Callable[[], Opened],
    root: Path | None = None,
    on_error: str = "raise",
) -> Path:
    """The folder of a set's pack, which is made first when there is none.

    `identity` must change when any picture changes: each part is hashed by its text. `origin` says in words where
    the pictures come from, `root` is the folder of their files. `opened` is called only when they are packed.

    `on_error`, for pictures that cannot be used: "raise" decodes all, then names them in a ValueError; "skip" leaves
    them out and records them. A pack that lacks some is refused by "raise" too.
    """
    if on_error not in ON_ERROR:
        raise ValueError(f"on_error must be one of {', '.join(ON_ERROR)}, not {on_error!r}")
    digest = hashlib.sha256(f"{FORMAT} {side}\n".encode())
    for part in identity:
        digest.update(f"{part!r}\n".encode("utf-8", "surrogateescape"))
    folder = runs_root() / "packs" / f"{name}-{side}-{digest.hexdigest()[:16]}"
    if not folder.is_dir():
        _make(folder, opened, _Writer(name, side, origin, root or name, on_error))
    if on_error == "raise":
        _refuse_skipped(folder, root or name)
    return folder


def _make(folder: Path, opened: Callable[[], Opened], writer: "_Writer") -> None:
    """Make the pack `folder`, or wait while another process does."""
    import fcntl  # not on Windows, where packs can still be opened

    packs = folder.parent
    packs.mkdir(parents=True, exist_ok=True)
    part = packs / f".{folder.name}.part"
    with open(part.with_suffix(".lock"), "a") as lock:  # the lock dies with its holder
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process is packing {folder.name}: waiting for it", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():  # that process made it
            return
        shutil.rmtree(part, ignore_errors=True)
        for other in packs.glob(".*.part"):  # left behind by a killed process, if nobody holds its lock
            with open(other.with_suffix(".lock"), "a") as theirs, suppress(BlockingIOError):
                fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(other, ignore_errors=True)
        try:
            writer.write(part, *opened())
            part.rename(folder)
            _sync(packs)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise OSError(f"no room was left in {packs} while {writer.name} was packed: {ROOM}") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _refuse_skipped(folder: Path, root: Path | str) -> None:
    """ValueError if pictures were left out of a pack."""
    meta = {}
    with suppress(OSError, ValueError):  # a damaged pack is named when it is read
        meta = json.loads((folder / "meta.json").read_text())
    if skipped := meta.get("skipped"):
        packed = sum(shape[0] for shape in meta["shapes"].values())
        raise _refusal(root, skipped, packed + sum(map(len, skipped.values())))


def _refusal(root: Path | str, skipped: Skipped, pictures: int, of: str = "") -> ValueError:
    """The error that names files which cannot be used, and says what to do; `of` names what is lost without them."""
    bad = [f"  {file}: {reason}" for files in skipped.values() for file, reason in files]
    more = [f"  ... and {len(bad) - LISTED:,} more"] * (len(bad) > LISTED)
    way = 'replace or delete them, or leave them out with on_error="skip" (--on-error skip)'
    way = "replace them, or remove the class" if of else way
    head = f"{root}: {len(bad):,} of {pictures:,} pictures{of} cannot be used"
    look = f"to look closer: python -m alexold data check {shlex.quote(str(root))}"
    return ValueError("\n".join([head, *bad[:LISTED], *more, f"{way}; {look}"]))


@dataclass
class _Writer:
    """Writes a pack, and collects the files of its set that cannot be used."""

    name: str
    side: int
    origin: str
    root: Path | str
    on_error: str
    skipped: Skipped = field(default_factory=dict)

    def write(self, part: Path, classes: tuple[str, ...], splits: dict[str, Split]) -> None:
        """Write the files of a pack into the new folder `part`, and wait until they are on disk."""
        pictures = sum(len(labels) for labels, _ in splits.values())
        _check_room(part.parent, self.name, pictures, self.side)
        part.mkdir()
        shapes, hashes = {}, {}
        with strict(), Count(f"packing {self.name}", pictures) as count:
            for split, (labels, read) in splits.items():
                file = part / f"{split}.u8"
                good, digest, *sums = self._pixels(file, split, len(labels), read, count)
                if self._refused():
                    continue
                self._check_classes(split, labels, good, classes)
                labels = labels[good].astype("<i8")
                shapes[split] = [len(labels), self.side, self.side, 3]
                if split in self.skipped:  # the same hash as that of a set that never had those files
                    digest = _hash(shapes[split], file)
                digest.update(labels.tobytes())
                hashes[split] = digest.hexdigest()
                np.save(part / f"{split}.labels.npy", labels.astype(np.int64))
                if split == "train":
                    np.savez(part / "statistics.npz", **_statistics(len(labels), *sums))
        if self._refused():
            count.finish(f"looked at {self.name}")
            raise _refusal(self.root, self.skipped, pictures)
        meta = {"format": FORMAT, "name": self.name, "origin": self.origin, "classes": classes, "shapes": shapes}
        meta |= {"sha256": hashes, "numpy": np.__version__, "pillow": PIL.__version__, "skipped": self.skipped}
        (part / "meta.json").write_text(json.dumps(meta, indent=1))
        _sync(*part.iterdir(), part)
        left_out = sum(map(len, self.skipped.values()))
        count.finish(f"packed {self.name}", f", {left_out:,} of them left out" * (left_out > 0))

    def _pixels(self, path: Path, split: str, length: int, read: Callable, count: Count) -> tuple:
        """Write the pixels of a split: which pictures are good, a hash, and the sums for the statistics.

        Once the set is refused, pictures are only decoded, to name all that cannot be used.
        """
        good = np.ones(length, bool)
        digest = _hash([length, self.side, self.side, 3])
        total = np.zeros((self.side, self.side, 3), np.int64)  # sums of whole numbers are exact, in any order
        second = np.zeros((3, 3))  # float64 is exact to 2**53, more than two million pictures of side 256
        with open(path, "wb") as file:
            for index, (picture, products) in enumerate(_pictures(length, read)):
                if isinstance(picture, BadPicture):
                    good[index] = False
                    self.skipped.setdefault(split, []).append((_inside(self.root, picture.path), picture.reason))
                elif not self._refused():
                    file.write(picture.data)
                    digest.update(picture.data)
                    total += picture
                    second += products
                count.one()
        return good, digest, total, second

    def _refused(self) -> bool:
        return bool(self.skipped) and self.on_error == "raise"

    def _check_classes(self, split: str, labels: np.ndarray, good: np.ndarray, classes: tuple[str, ...]) -> None:
        """ValueError if a class has lost all its pictures."""
        for label in np.setdiff1d(labels, labels[good])[:1]:
            files = zip(self.skipped[split], labels[~good], strict=True)
            lost = {split: [file for file, its in files if its == label]}
            raise _refusal(self.root, lost, len(lost[split]), f" of class {classes[label]} in {split}")


def _check_room(folder: Path, name: str, pictures: int, side: int) -> None:
    need = (pictures + 10) * (side**2 * 3 + 8)  # 10: the mean image and the small files, with some to spare
    free = shutil.disk_usage(folder).free
    if need > free:
        raise OSError(
            f"packing {name} ({pictures:,} pictures of side {side}) needs {need / 1e9:.2f} GB; "
            f"{folder} has {free / 1e9:.2f} GB free: {ROOM}"
        )


def _pictures(count: int, read: Callable[[int], np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each picture in order with the sums over its pixels of the products of R, G and B with each other (3, 3).

    In the place of a picture that cannot be used there is its BadPicture.
    """

    def work(index):
        try:
            picture = np.ascontiguousarray(read(index))
        except BadPicture as error:
            return error, None
        rgb = picture.reshape(-1, 3).astype(np.float64)
        return picture, rgb.T @ rgb

    return in_order(count, work)


def _inside(root: Path | str, path: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _hash(shape: list[int], pixels: Path | None = None):
    """The hash of a split of this shape: as far as its labels, or before its pixels."""
    digest = hashlib.sha256(str(shape).encode())
    if pixels:
        with open(pixels, "rb") as file:
            while block := file.read(2**24):
                digest.update(block)
    return digest


def _statistics(count: int, total: np.ndarray, second: np.ndarray) -> dict[str, np.ndarray]:
    """Mean image (side, side, 3) in 0..255, and axes of the covariance of RGB over all pixels of all pictures.

    An eigenvector's sign is free: its largest component is made positive, the first one where two are as large.
    """
    mean = total / count
    colour = mean.mean(axis=(0, 1))
    covariance = second / (count * mean[..., 0].size) - np.outer(colour, colour)
    values, vectors = np.linalg.eigh(covariance)
    largest = np.argmax(np.round(np.abs(vectors), 6), axis=0)
    signs = np.where(vectors[largest, range(3)] < 0, -1.0, 1.0)
    return {"mean": mean.astype(np.float32), "eigenvalues": np.maximum(values, 0), "eigenvectors": vectors * signs}


def _sync(*paths: Path) -> None:
    """Wait until files, and the lists of names of folders, are on disk."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
