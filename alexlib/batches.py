"""Pictures to the device, a batch at a time: all of them at once when they fit, else read ahead while it works.

feed = Feed(train, "cuda")
for pixels, labels in feed(order(len(train), 128, seed=0, epoch=3)[17:]):  # goes on after 17 batches
    ...  # uint8 (128, 256, 256, 3), int64 (128,), both on the device
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from alexlib.data import Images

AHEAD = 2  # batches read in advance
SHARE = 0.5  # of a GPU's free memory that a whole set may take


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

    On a GPU with room for it (`SHARE` of the free memory) the whole set is copied there once. Otherwise a thread
    reads the next batches from the pack, into pinned memory for a GPU, while the device works on this one.
    """

    def __init__(self, images: Images, device: str = "cpu"):
        self.images, self.device = images, torch.device(device)
        self.labels = torch.from_numpy(images.labels).to(self.device)
        self.resident = self._whole_set() if self._fits() else None

    def __len__(self) -> int:
        return len(self.images)

    def __call__(self, batches: Iterable) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Pixels, uint8 (n, side, side, 3), and labels, int64 (n,), on the device, for each array of indices."""
        if self.resident is not None:
            for indices in batches:
                chosen = torch.as_tensor(indices).to(self.device)
                yield self.resident[chosen], self.labels[chosen]
            return
        with ThreadPoolExecutor(1, "alexlib-feed") as thread:
            waiting = deque()
            for indices in batches:
                waiting.append((indices, thread.submit(self._read, indices)))
                if len(waiting) > AHEAD:
                    yield self._arrived(*waiting.popleft())
            while waiting:
                yield self._arrived(*waiting.popleft())

    def _read(self, indices) -> torch.Tensor:
        pixels = torch.from_numpy(self.images.gather(np.asarray(indices)))
        return pixels.pin_memory() if self.device.type == "cuda" else pixels

    def _arrived(self, indices, reading) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = reading.result().to(self.device, non_blocking=True)
        return pixels, self.labels[torch.as_tensor(indices).to(self.device)]

    def _fits(self) -> bool:
        if self.device.type != "cuda":  # a CPU reads the pack where the system keeps it in memory
            return False
        return len(self) * self.images.side**2 * 3 <= SHARE * torch.cuda.mem_get_info(self.device)[0]

    def _whole_set(self) -> torch.Tensor:
        """All pictures on the device: uint8 (N, side, side, 3)."""
        whole = torch.empty((len(self), self.images.side, self.images.side, 3), dtype=torch.uint8, device=self.device)
        for part in torch.arange(len(self)).split(1024):
            whole[part[0] : part[-1] + 1] = torch.from_numpy(self.images.gather(part.numpy())).to(self.device)
        return whole
