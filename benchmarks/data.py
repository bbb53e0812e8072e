"""From the disk to the net: torchvision's usual way, and mini-batches from packed images.

    python benchmarks/data.py [--source imagenette] [--rounds 3]

One process, the cases take turns. `--source` is a set's name, or a folder with train/<class>/* and
val/<class>/*. The first cases decode files, as most training scripts do; the others read the packed
copy of the same images.
"""

import argparse
import os
import time
from collections.abc import Iterator
from itertools import count, islice

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported

import torch
from torch.utils.data import DataLoader, RandomSampler
from torchvision import transforms
from torchvision.datasets import ImageFolder

from alexlib.config import PAPER, SOURCE2012, Config, data_root
from alexlib.data import augment, prepare
from alexlib.data.images import Feed, Images, generator, order
from alexlib.training.loop import colour_axes
from alexlib.training.machine import available_threads, keep_freed_memory
from record import record

SIZE, BATCH = 224, 128
USUAL = [
    *(transforms.Resize(256), transforms.RandomCrop(SIZE), transforms.RandomHorizontalFlip()),
    *(transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
]


def loader(folder, workers: int) -> Iterator:
    """Endless mini-batches of ImageFolder and DataLoader."""
    images = ImageFolder(folder, transforms.Compose(USUAL))
    sampler = RandomSampler(images, replacement=True, num_samples=10**9)
    return iter(DataLoader(images, BATCH, sampler=sampler, num_workers=workers))


def packed(train: Images, config: Config) -> Iterator[torch.Tensor]:
    """Endless training inputs from packed images."""
    mean, axes, feed = torch.tensor(train.mean), colour_axes(train, config), Feed(train)
    whole = len(train) // BATCH
    batches = (part for epoch in count() for part in order(len(train), BATCH, 0, epoch)[:whole])
    for step, (pixels, _) in enumerate(feed(batches)):
        random = generator(0, step, "augment")
        draws = augment.draw(BATCH, train.side, SIZE, config.augment, random)
        yield augment.training_input(pixels, mean, axes, SIZE, config.augment, draws)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", default="imagenette")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1, help="of each case in a round, about")
    args = parser.parse_args()
    folder = data_root() / args.source / "train"
    if not folder.is_dir():
        print(f"left out, there is no {folder}: python -m alexlib data get imagenette")
        return
    torch.set_num_threads(available_threads())
    keep_freed_memory("cpu")
    train, _ = prepare.load(args.source)
    plain = PAPER.replace(colour="none")
    cases = {}  # an iterator, and how many mini-batches wait in its queue when its turn comes
    for workers in (0, 2):
        head = f"ImageFolder, DataLoader with {workers} workers: resize to 256, crop, flip"
        cases[head] = loader(folder, workers), 2 * workers
    cases["alexlib: crop, flip, minus mean"] = packed(train, plain), 3
    cases["alexlib: the same with colour noise"] = packed(train, SOURCE2012), 3
    runs, size = {name: [] for name in cases}, dict.fromkeys(cases, 1)
    for turn in range(args.rounds + 1):  # the first one warms up and sets the number of steps
        for name, (batches, waiting) in cases.items():
            list(islice(batches, waiting))
            started = time.perf_counter()
            for _ in islice(batches, size[name]):
                pass
            seconds = time.perf_counter() - started
            if turn:
                runs[name].append(size[name] * BATCH / seconds)
            else:
                size[name] = max(round(args.seconds / seconds), 1)
            time.sleep(1)  # so that workers fill their queues, and not during the next case
    record("data path", runs, batch=BATCH)


if __name__ == "__main__":
    main()
