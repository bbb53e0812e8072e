"""Pictures per second from the disk to the net, side by side: torchvision's usual way, and batches from the pack.

    python benchmarks/data.py [--source imagenette] [--rounds 3]

One process; the cases take turns round by round, so that a busy machine slows all of them alike. `--source` is a set's
name or a folder with train/<class>/* and val/<class>/*. Three cases are parts of the way from the pack; the floor is a
copy in memory of as many bytes as must be read and written: the uint8 window once, the float32 window once. Writes
`benchmarks/results/<machine>.json`.
"""

import argparse
import time
from collections.abc import Iterator
from itertools import count, cycle, islice

import torch
from record import record
from torch.utils.data import DataLoader, RandomSampler
from torchvision import transforms
from torchvision.datasets import ImageFolder

from alexlib import augment, data
from alexlib.batches import Feed, generator, order
from alexlib.config import PAPER, SOURCE2012, Spec
from alexlib.paths import data_root
from alexlib.train import colour_axes, keep_freed_memory

SIZE, BATCH = 224, 128
USUAL = [
    *(transforms.RandomHorizontalFlip(), transforms.ToTensor()),
    transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
]
CROPS = {
    "random resized crop": [transforms.RandomResizedCrop(SIZE)],
    "resize to 256, random crop": [transforms.Resize(256), transforms.RandomCrop(SIZE)],
}


def loader(folder, crop: list, workers: int) -> Iterator:
    """Endless batches of ImageFolder and DataLoader."""
    pictures = ImageFolder(folder, transforms.Compose([*crop, *USUAL]))
    sampler = RandomSampler(pictures, replacement=True, num_samples=10**9)
    return iter(DataLoader(pictures, BATCH, sampler=sampler, num_workers=workers))


def chosen(train: data.Images) -> Iterator[torch.Tensor]:
    """Endless indices of whole batches, epoch after epoch."""
    for epoch in count():
        yield from order(len(train), BATCH, seed=0, epoch=epoch)[: len(train) // BATCH]


def packed(train: data.Images, spec: Spec, ahead: bool = False) -> Iterator[torch.Tensor]:
    """Endless training batches of alexlib: crop, flip, float, minus the mean, colour noise where the spec has it.

    `ahead`: read by a thread, as a set is that does not fit into memory.
    """
    mean, axes, feed = torch.tensor(train.mean), colour_axes(train, spec, "cpu"), Feed(train)
    feed.fits = feed.fits and not ahead
    for step, (pixels, _) in enumerate(feed(chosen(train))):
        draws = generator(0, step, "augment")
        yield augment.training_input(pixels, mean, axes, SIZE, spec.augment, draws)


def in_whole_batches(train: data.Images, spec: Spec) -> Iterator[torch.Tensor]:
    """The same arithmetic on the whole batch at once: crops gathered by indices, as on a GPU."""
    mean = augment.centre_crop(torch.tensor(train.mean), SIZE)
    for step, (pixels, _) in enumerate(Feed(train)(chosen(train))):
        windows = augment.random_windows(len(pixels), train.side, SIZE, spec.augment, generator(0, step, "augment"))
        yield torch.sub(augment._crop_gathered(pixels, *windows, SIZE), mean).permute(0, 3, 1, 2)


def parts(train: data.Images) -> dict[str, Iterator]:
    """The steps of `packed` one by one, and the floor; endless, and each on more batches than a cache holds."""
    batches = list(islice(chosen(train), 16))
    pixels = [torch.from_numpy(train.gather(indices.numpy())) for indices in batches]
    windows = augment.random_windows(BATCH, train.side, SIZE, PAPER.augment, generator(0, 0, "augment"))
    crops = [augment.crop(p, *windows, SIZE) for p in pixels]
    mean = augment.centre_crop(torch.tensor(train.mean), SIZE)
    moved = (crops[0].nbytes + 4 * crops[0].numel()) // 2  # a copy reads and writes each byte
    memory = [torch.zeros(2, moved, dtype=torch.uint8) for _ in range(8)]
    return {
        "part: read from the pack": (pixels for pixels, _ in Feed(train)(chosen(train))),
        "part: crop and flip": (augment.crop(p, *windows, SIZE) for p in cycle(pixels)),
        "part: float, minus mean": (augment.to_input(c, mean) for c in cycle(crops)),
        "floor: copy of the same bytes": (both[1].copy_(both[0]) for both in cycle(memory)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="imagenette")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1, help="of each case in a round, about")
    args = parser.parse_args()
    keep_freed_memory("cpu")
    train, _ = data.load(args.source)
    folder = data_root() / args.source / "train"
    plain = PAPER.replace(colour="none")
    cases: dict[str, tuple[Iterator, int]] = {}  # and the batches that wait read when a case's turn comes
    for name, crop in CROPS.items():
        for workers in (0, 2):
            head = f"ImageFolder + DataLoader, {workers} workers: {name}, flip, normalise"
            cases[head] = loader(folder, crop, workers), 2 * workers
    cases["alexlib, arithmetic on whole batches: crop, flip, minus mean"] = in_whole_batches(train, plain), 3
    cases["alexlib, read ahead by a thread: crop, flip, minus mean"] = packed(train, plain, ahead=True), 3
    cases["alexlib: crop, flip, minus mean"] = packed(train, plain), 3
    cases["alexlib: crop, flip, minus mean, colour noise, / 1.1"] = packed(train, SOURCE2012), 3
    for name, part in parts(train).items():
        cases[name] = part, 1
    runs, size = {name: [] for name in cases}, dict.fromkeys(cases, 1)
    for turn in range(args.rounds + 1):  # the first one warms up and says how many batches fill the time
        for name, (batches, waiting) in cases.items():
            list(islice(batches, waiting))
            started = time.perf_counter()
            for _ in islice(batches, size[name]):
                pass
            seconds = time.perf_counter() - started
            if turn:
                runs[name].append(size[name] * BATCH / seconds)
            time.sleep(1)  # what reads ahead fills its queue, not into the next case's time
            size[name] = size[name] if turn else max(round(args.seconds / seconds), 1)
    about = {"source": train.name, "batch": BATCH, "pictures": len(train)}
    record("data path", "pictures/s", runs, {}, **about)


if __name__ == "__main__":
    main()
