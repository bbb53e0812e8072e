"""Pictures to the device, a batch at a time: all of them at once when they fit, else read ahead while it works.

feed = Feed(train, "cuda")
for pixels, labels in feed(order(len(train), 128, seed=0, epoch=3)[17:]):  # goes on after 17 batches
    ...  # uint8 (128, 256, 256, 3), int64 (128,), both on the device
"""

import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from alexold.data import Images, Rows

AHEAD = 2  # batches read in advance
SHARE = 0.5  # of the memory that a whole set may take


def generator(seed: int, number: int, purpose: str) -> torch.Generator:
    """A CPU generator that depends on (seed, number, purpose) alone."""
    entropy = np.random.SeedSequence([seed, number, *purpose.encode()]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(entropy[0] >> np.uint64(1)))


def order(n: int, batch: int, seed: int, epoch: int) -> tuple[torch.Tensor, ...]:
    """The indices of an epoch's batches, n pictures in random order: the last batch may be smaller.

    It depends on these numbers alone, so a stopped epoch goes on at any of its batches.
    """
    return torch.randperm(n, generator=generator(seed, epoch, "order")).split(batch)


class Feed:
    """The pictures of a set for a device.

    Where there is room for the whole set (`SHARE` of a GPU's free memory, of a computer's memory for a CPU) it is
    copied to the GPU once, or read from the pack that the system then keeps in memory. Otherwise a thread reads the
    next batches while the device works on this one, into pinned memory for a GPU.
    """

    def __init__(self, images: Images, device: str = "cpu"):
        self.images, self.device = images, torch.device(device)
        self.labels = torch.from_numpy(images.labels).to(self.device)
        self.fits = len(images) * images.side**2 * 3 <= SHARE * _memory(self.device)
        self._whole = self._there() if self.fits else None

    def __len__(self) -> int:
        return len(self.images)

    def __call__(self, batches: Iterable) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Pixels, uint8 (n, side, side, 3), and labels, int64 (n,), on the device, for each array of indices."""
        for indices, pixels in self._direct(batches) if self.fits else self._ahead(batches):
            yield pixels, self.labels[torch.as_tensor(indices, device=self.device)]

    def _direct(self, batches: Iterable) -> Iterator[tuple]:
        pixels, rows = self._whole
        for indices in batches:
            chosen = torch.as_tensor(indices, device=self.device)
            yield indices, pixels.index_select(0, chosen if rows is None else rows[chosen])

    def _ahead(self, batches: Iterable) -> Iterator[tuple]:
        with ThreadPoolExecutor(1, "alexold-feed") as thread:
            waiting = deque()
            for indices in batches:
                waiting.append((indices, thread.submit(self._read, indices)))
                if len(waiting) > AHEAD:
                    indices, reading = waiting.popleft()
                    yield indices, reading.result().to(self.device, non_blocking=True)
            for indices, reading in waiting:
                yield indices, reading.result().to(self.device, non_blocking=True)

    def _read(self, indices) -> torch.Tensor:
        pixels = torch.from_numpy(self.images.gather(np.asarray(indices)))
        return pixels.pin_memory() if self.device.type == "cuda" else pixels

    def _there(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Pictures on the device, uint8 (N, side, side, 3), and the rows of them that are the set's, None for all."""
        if self.device.type == "cuda":
            whole = torch.empty((len(self), *self.images.mean.shape), dtype=torch.uint8, device=self.device)
            for part in torch.arange(len(self)).split(1024):
                whole[part[0] : part[-1] + 1] = self._read(part).to(self.device)
            return whole, None
        pixels = self.images.pixels
        with warnings.catch_warnings():  # torch warns of arrays that it must not write to: nothing does
            warnings.simplefilter("ignore")
            if isinstance(pixels, Rows):
                return torch.from_numpy(pixels.array), torch.from_numpy(pixels.rows)
            return torch.from_numpy(pixels), None


def _memory(device: torch.device) -> int:
    """Bytes: the free memory of a GPU, the whole of a computer's."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # a system that does not tell
        return 0
