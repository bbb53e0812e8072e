"""Several processes that train one net.

`torchrun --nproc-per-node=4 -m alexlib train ...` starts four. Rank r trains on the r-th quarter of
every mini-batch and gradients are averaged. In a single process all of this does nothing.
"""

import os
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist

TIMEOUT = timedelta(seconds=50)  # for an answer from another rank


def start(device: str) -> str:
    """Join the other processes of torchrun; returns the device, or pair of devices, of this one.

    Every rank gets GPUs of its own, by LOCAL_RANK: one for "cuda", two for "cuda:0,cuda:1". The
    same holds for torch's other accelerators.
    """
    alone = int(os.environ.get("WORLD_SIZE", 1)) == 1 or "LOCAL_RANK" not in os.environ
    if alone or dist.is_initialized():
        return device
    names, local = device.split(","), int(os.environ["LOCAL_RANK"])
    kind, each = torch.device(names[0]).type, sum(name != "cpu" for name in names)
    here = torch.accelerator.device_count()
    if (local + 1) * each > here:
        raise ValueError(
            f"local rank {local} needs {each} GPUs of its own, but this machine has {here}:"
            f" give --nproc-per-node={here // each} at most"
        )
    if each:
        names = [f"{kind}:{local * each + i}" for i in range(each)]
        torch.accelerator.set_device_index(local * each)
    dist.init_process_group(dist.get_default_backend_for_device(kind), timeout=TIMEOUT)
    return ",".join(names)


def stop() -> None:
    """Leave the other processes once all of them are ready to."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process; rank 0 writes and prints."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def part(batch: int) -> slice:
    """The images of a mini-batch that this rank trains on."""
    if batch % world():
        raise ValueError(f"a mini-batch of {batch} cannot be divided equally among {world()} ranks")
    return slice(rank() * batch // world(), (rank() + 1) * batch // world())


def agreed(loss, wrong, stopping: bool, step: int):
    """Mean loss and sum of errors over the ranks, and whether any rank was asked to stop.

    On GPUs the last is read only at every 16th step, since reading it waits for the GPU.
    """
    if world() == 1:
        return loss, wrong, stopping
    values = torch.stack([loss / world(), wrong.float(), torch.full_like(loss, stopping)])
    dist.all_reduce(values)
    read = not values.is_cuda or step % 16 == 0
    return values[0], values[1], read and values[2].item() > 0


def from_all(values: np.ndarray) -> np.ndarray:
    """The rows that the ranks have, one rank after another."""
    if world() == 1:
        return values
    parts = [None] * world()
    dist.all_gather_object(parts, values)
    return np.concatenate(parts)


def from_first(value):
    """The value that rank 0 has."""
    values = [value]
    if world() > 1:
        dist.broadcast_object_list(values)
    return values[0]
