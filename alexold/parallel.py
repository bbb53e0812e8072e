"""One net trained by several processes, each with its part of every batch (torch.distributed, started by torchrun).

torchrun --nproc-per-node=4 -m alexold train --scale imagenet ...

A batch is that of one process: rank r of N takes the r-th N-th of it, with the crops and the noise that one process
would have drawn for it, and gradients are averaged. Started without torchrun everything here is the identity. The first
rank alone writes and speaks. Pack the pictures before (`python -m alexold data pack`), or each rank does it.
"""

import os
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from alexold.interrupt import Stop

PATIENCE = timedelta(seconds=50)  # a rank that is not heard of for so long has died


def start(device: str) -> str:
    """Join the other ranks, if torchrun started this process; returns the device of this one, or the pair of them.

    Args:
        device: what one process would use. GPUs are dealt out by `LOCAL_RANK`: one a rank, or two where a tower is on
            each ("cuda:0,cuda:1").

    ValueError: fewer GPUs than the ranks of this machine need.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or dist.is_initialized():
        return device
    kinds = [name.partition(":")[0] for name in device.split(",")]
    if "cuda" in kinds:
        each, local, gpus = kinds.count("cuda"), int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if (local + 1) * each > gpus:
            advice = f"give --nproc-per-node={gpus // each} at most"
            raise ValueError(f"rank {local} of this machine needs {each} of its {gpus} GPUs for itself; {advice}")
        own = iter(range(local * each, (local + 1) * each))
        device = ",".join(f"cuda:{next(own)}" if kind == "cuda" else kind for kind in kinds)
        torch.cuda.set_device(next(name for name in device.split(",") if "cuda" in name))
    dist.init_process_group("nccl" if "cuda" in kinds else "gloo", timeout=PATIENCE)
    return device


def stop() -> None:
    """Leave the other ranks."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def part(n: int) -> slice:
    """This rank's part of n things in a row.

    ValueError: they do not divide among the ranks.
    """
    if n % world():
        raise ValueError(f"a batch of {n} pictures does not divide among {world()} ranks")
    return slice(rank() * n // world(), (rank() + 1) * n // world())


def wrap(model):
    """The model with gradients that are averaged over the ranks in the backward pass."""
    return DistributedDataParallel(model, broadcast_buffers=False) if world() > 1 else model


def agreed(loss, wrong, stop: Stop, step: int):
    """Mean loss and number of errors of the whole batch, and who to ask for an end: the same on all ranks.

    A GPU's answer to the last is waited for at every 16th step only.
    """
    if world() == 1:
        return loss, wrong, stop
    values = total(torch.stack([loss / world(), wrong.float(), torch.full_like(loss, float(stop.asked))]))
    look = not values.is_cuda or step % 16 == 0
    return values[0], values[1], SimpleNamespace(asked=look and bool(values[2] > 0))


def total(values: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over the ranks."""
    if world() > 1:
        dist.all_reduce(values)
    return values


def woven(values: np.ndarray, n: int) -> np.ndarray:
    """The whole of n rows, of which rank r of N has rows r, r + N, r + 2 N, ..."""
    if world() == 1:
        return values
    parts = [None] * world()
    dist.all_gather_object(parts, values)
    whole = np.empty((n, *values.shape[1:]), values.dtype)
    for i, part_ in enumerate(parts):
        whole[i :: world()] = part_
    return whole


def from_first(value):
    """What rank 0 has."""
    if world() == 1:
        return value
    held = [value]
    dist.broadcast_object_list(held)
    return held[0]
