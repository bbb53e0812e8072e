"""A look at every picture of a folder before it is packed: what there is, what packing would refuse, what is odd.

report = check("path/to/folder")    # with train/ and val/ (or test/), or class folders, or pictures in it
print(text(report))
"""

import hashlib
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from alexold import sources
from alexold.paths import data_root
from alexold.pictures import EXTENSIONS, FORMATS, BadPicture, Count, in_order, read, strict

SIDE = 64  # pictures that are the same at this side, byte for byte, count as the same picture
LISTED = 20  # names under a heading
LEAK, TWINS = "test pictures that are in train too", "further copies within a split"
FLAT, RENAMED = "pictures of a single colour", "files whose name gives another format"


@dataclass
class Findings:
    """How many there are, and the first few in words."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, words: str) -> None:
        self.count += 1
        if self.count <= LISTED:
            self.first.append(words)


@dataclass
class Split:
    """What a split holds; the counters hold what could be decoded."""

    classes: dict[str, int]  # number of files by class folder
    bytes: int
    formats: Counter = field(default_factory=Counter)
    modes: Counter = field(default_factory=Counter)
    sizes: Counter = field(default_factory=Counter)  # by (width, height), pixels


@dataclass
class Report:
    """What `check` found, by folder and kind."""

    folder: Path
    splits: dict[str, Split]  # "" where the folder itself is looked at as a split
    layout: list[str]  # why packing would refuse the folder, whatever its pictures
    bad: dict[str, Findings] = field(default_factory=lambda: defaultdict(Findings))  # files that cannot be used
    odd: dict[str, Findings] = field(default_factory=lambda: defaultdict(Findings))  # files that are worth a look
    ignored: Counter = field(default_factory=Counter)  # files that are taken for no pictures, by extension

    @property
    def refused(self) -> bool:
        return bool(self.layout or self.bad)


def check(folder: str | Path) -> Report:
    """Decode every picture of a folder and report on them; OSError if it is no folder or cannot be listed."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        kind = "a file, not a folder" if folder.exists() else "no folder"
        raise FileNotFoundError(f"{folder} is {kind} (the named sets are below {data_root()})")
    found, wrong = _found(folder)
    splits = {
        name: Split({c: len(files) for c, files in classes.items()}, sum(f[1] for c in classes.values() for f in c))
        for name, classes in found.items()
    }
    report = Report(folder, splits, [str(error) for error in wrong], ignored=_ignored(folder, found))
    files = [(split, os.path.join(split, c, f[0])) for split in found for c in found[split] for f in found[split][c]]
    _read_all(report, files)
    return report


def _found(folder: Path) -> tuple[dict[str, sources.Classes], list[Exception]]:
    """The files of a folder by split and class, and what is wrong with its layout."""
    there = sources.subfolders(folder)
    if {"train", "val", "test"} & set(there):
        return sources.survey(folder)
    if there:
        wrong = []
        return {"": sources.classes_in(folder, wrong)}, wrong
    files = sources.pictures_in(folder)
    return {"": {"": files}}, [] if files else [ValueError(f"{folder} holds no pictures; {sources.LAYOUT}")]


def _ignored(folder: Path, found: dict[str, sources.Classes]) -> Counter:
    """The extensions of all other files that are not hidden, at any depth."""
    used = {os.path.normpath(folder / split / c) for split, classes in found.items() for c in classes}
    ignored = Counter()
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            picture = name.lower().endswith(EXTENSIONS)
            if not name.startswith(".") and not (picture and os.path.normpath(root) in used):
                kind = os.path.splitext(name)[1].lower() or "without extension"
                ignored[kind + " elsewhere than in a class folder" * picture] += 1
    return ignored


def _read_all(report: Report, files: list[tuple[str, str]]) -> None:
    """Add to a report what is in its files, given as (split, name)."""
    digests, good = np.zeros(len(files), np.uint64), np.ones(len(files), bool)
    with strict(), Count(f"checking {report.folder}", len(files)) as count:
        looks = in_order(len(files), lambda index: _look(report.folder / files[index][1]))
        for index, ((split, name), look) in enumerate(zip(files, looks, strict=True)):
            count.one()
            if isinstance(look, BadPicture):
                good[index] = False
                report.bad[look.kind].add(f"{name}: {look.reason}")
                continue
            form, mode, size, flat, digests[index] = look
            about = report.splits[split]
            about.formats[form] += 1
            about.modes[mode] += 1
            about.sizes[size] += 1
            if flat:
                report.odd[FLAT].add(name)
            if not name.lower().endswith(FORMATS[form]):
                report.odd[RENAMED].add(f"{name}: {form}")
    good = np.flatnonzero(good)
    classes, left = ({os.path.dirname(files[i][1]) for i in which} for which in (range(len(files)), good))
    report.layout += [f"{report.folder / c}: none of its pictures can be used" for c in sorted(classes - left)]
    _find_copies(report, files, digests, good)
    count.finish(f"checked {report.folder}")


def _look(path: Path):
    """Format, mode, size, whether there is one colour, and 64 bits that tell pictures apart; or the BadPicture."""
    try:
        picture = read(path, SIDE)
    except BadPicture as error:
        return error
    square = picture.square
    digest = hashlib.blake2b(square.tobytes(), digest_size=8).digest()
    flat = bool((square == square[0, 0]).all())
    return picture.format, picture.mode, picture.size, flat, int.from_bytes(digest, "little")


def _find_copies(report: Report, files: list[tuple[str, str]], digests: np.ndarray, good: np.ndarray) -> None:
    """Add the pictures that occur more than once, by pairs of names."""
    order = good[np.argsort(digests[good], kind="stable")]
    same = np.flatnonzero(digests[order][1:] == digests[order][:-1])
    groups = {}
    for this, other in zip(order[same], order[same + 1], strict=True):
        groups.setdefault(digests[this], [this]).append(other)
    for group in sorted(groups.values()):
        first = {}
        for split, name in (files[index] for index in group):
            if split not in first:
                first[split] = name
            else:
                report.odd[TWINS].add(f"{name} = {first[split]}")
            if split != "train" and "train" in first:
                report.odd[LEAK].add(f"{name} = {first['train']}")


def text(report: Report) -> str:
    """A report for people."""
    lines = [line for name, split in report.splits.items() for line in _about(report.folder / name, split)]
    if report.ignored:
        lines.append(f"ignored files: {_counts(report.ignored)}")
    if report.odd:
        lines += ["", "Can be used, but worth a look:", *_listed(report.odd)]
    if report.bad:
        lines += ["", "Cannot be used:", *_listed(report.bad)]
    if report.layout:
        lines += ["", "Not laid out for packing:", *(f"  {line}" for line in report.layout)]
    lines += ["", _verdict(report)]
    return "\n".join(lines)


def _verdict(report: Report) -> str:
    bad = sum(findings.count for findings in report.bad.values())
    if report.layout:
        return "Packing would refuse this folder: see above."
    if bad:
        return f"Packing would stop at {bad:,} pictures; with --on-error skip it would leave them out."
    return f"All pictures can be used{'' if report.odd else ', and nothing about them is odd'}."


def _about(where: Path, split: Split) -> list[str]:
    lines = [f"{where}: {sum(split.classes.values()):,} pictures, {amount(split.bytes)}"]
    ranked = sorted(split.classes, key=split.classes.get)
    if any(ranked):
        few, many = (f"{split.classes[c]:,}" for c in (ranked[0], ranked[-1]))
        each = f"{few} pictures each" if few == many else f"{few} ({ranked[0]}) to {many} ({ranked[-1]}) pictures"
        lines.append(f"  classes  {len(ranked):,} of {each}")
    if split.sizes:
        shapes, counts = np.array([*split.sizes]), [*split.sizes.values()]
        lines += [f"  formats  {_counts(split.formats)}", f"  modes    {_counts(split.modes)}"]
        for axis, name in enumerate(("width", "height")):
            pixels = np.repeat(shapes[:, axis], counts)
            lines.append(f"  {name:8} {pixels.min():,} to {pixels.max():,} pixels, median {np.median(pixels):,.0f}")
        square = sum(count for (width, height), count in split.sizes.items() if width == height)
        lines.append(f"  square   {square:,} of {sum(counts):,}")
    return lines


def _listed(kinds: dict[str, Findings]) -> list[str]:
    lines = []
    for kind, findings in kinds.items():
        lines += [f"  {kind}: {findings.count:,}", *(f"    {words}" for words in findings.first)]
        if findings.count > LISTED:
            lines.append(f"    ... and {findings.count - LISTED:,} more")
    return lines


def _counts(counter: Counter) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counter.most_common())


def amount(size: float) -> str:
    """Bytes as a person would say them."""
    return f"{size / 1e9:,.2f} GB" if size >= 1e9 else f"{size / 1e6:,.2f} MB"
