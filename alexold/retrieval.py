"""Nearest neighbours among vectors, how many are of the query's class, and short binary codes (section 6.1).

found = search(queries, base, labels, base_labels, ks=(1, 6))     # found.nearest (Q, 6), found.precision (Q, 2)
axes = learned_axes(base, 64)
code_precision(queries, base, labels, base_labels, axes, lengths=(8, 16, 32, 64))
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from alexold.batches import generator

BLOCK = 2**25  # values of one block of distances, or of the vectors they are computed from: 128 MB


def distances(queries, base, measure: Callable = torch.cdist, block: int = BLOCK) -> Iterator:
    """How far queries (Q, d) are from all of a base (M, d), some queries at a time, in bounded memory.

    Yields (which, float32 (b, M)): a slice of the queries and their distances, Euclidean unless `measure` says so.

    Args:
        queries, base: tensors, or anything with a length whose slices are tensors.
        block: values of a block of distances, and of vectors, at most.
    """
    step = max(1, block // max(len(base), queries[:1].shape[1]))
    for first in range(0, len(queries), step):
        some = queries[first : first + step]
        part = max(1, block // some.shape[1])
        found = [measure(some, base[i : i + part]) for i in range(0, len(base), part)]
        yield slice(first, first + len(some)), torch.cat(found, 1)


@dataclass(frozen=True)
class Found:
    """What a search brought for Q queries."""

    nearest: torch.Tensor  # long (Q, k): rows of the base, the nearest first
    precision: np.ndarray  # float64 (Q, number of ks): share of the k nearest that are of the query's class
    ranks: np.ndarray | None  # float64 (Q, n): share of the base nearer than each of the `others`


def search(queries, base, labels, base_labels, ks=(6,), others=None, measure: Callable = torch.cdist) -> Found:
    """The nearest of a base to each query (Figure 4, right).

    Args:
        labels (Q,), base_labels (M,): classes.
        ks: how many of the nearest count; the precision is taken for each.
        others: long (Q, n), rows of the base of which the ranks are wanted.

    ValueError: a k larger than the base.
    """
    if max(ks) > len(base):
        raise ValueError(f"the {max(ks)} nearest of {len(base)} pictures: give a smaller number, or more pictures")
    labels, base_labels = torch.as_tensor(labels), torch.as_tensor(base_labels)
    near, shares, places = [], [], []
    for which, block in distances(queries, base, measure):
        same = labels[which, None] == base_labels
        near.append(block.topk(max(ks), largest=False).indices)
        shares.append(torch.stack([precision(block, same, k) for k in ks], 1))
        if others is not None:
            places.append(ranks(block, others[which]))
    return Found(torch.cat(near), torch.cat(shares).numpy(), torch.cat(places).numpy() if places else None)


def precision(block, same, k: int) -> torch.Tensor:
    """The share of the k nearest that are of the query's class, float64 (b,), from distances (b, M) and `same` (b, M).

    Where several are equally far and only some of them are among the k, the mean over all choices is taken: short
    codes have many such.
    """
    edge = block.topk(k, largest=False).values[:, -1:]
    nearer, tied = block < edge, block == edge
    share = (same & tied).sum(1, dtype=torch.float64) / tied.sum(1)
    return ((same & nearer).sum(1) + (k - nearer.sum(1)) * share) / k


def ranks(block, chosen) -> torch.Tensor:
    """The share of the base that is nearer than each chosen one, float64 (b, n): 0 for the nearest of all."""
    return torch.stack([(block < block.gather(1, one[:, None])).double().mean(1) for one in chosen.T], 1)


def chance(labels, base_labels) -> np.ndarray:
    """The precision of picking at random: the share of the base that is of each query's class, (Q,)."""
    return (np.bincount(base_labels, minlength=max(labels) + 1) / len(base_labels))[labels]


def random_axes(units: int, bits: int, seed: int = 0) -> torch.Tensor:
    """Directions drawn from a Gaussian, (units, bits)."""
    return torch.randn(units, bits, generator=generator(seed, 0, "codes"))


def learned_axes(x, bits: int, seed: int = 0) -> torch.Tensor:
    """The directions of largest variance of x (N, units), (units, bits): what a linear auto-encoder learns (PCA).

    torch finds them by repeated products with random directions; 64 more than wanted keep the last ones accurate.

    ValueError: more bits than vectors or units.
    """
    if bits > min(x.shape):
        raise ValueError(f"{bits} axes of {x.shape[0]} vectors of {x.shape[1]} numbers: give fewer, or more pictures")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.pca_lowrank(x, min(bits + 64, *x.shape), niter=8)[2][:, :bits]


def codes(x, middle, axes) -> torch.Tensor:
    """Short codes, bool (N, bits): on which side of the middle (units,) x (N, units) lies, along each axis."""
    return (x - middle) @ axes > 0


def hamming(a, b) -> torch.Tensor:
    """The number of bits in which codes differ, float32 (n, m), by one product of matrices: exact below 2^24 bits."""
    a, b = (2 * code.float() - 1 for code in (a, b))
    return (a.shape[1] - a @ b.T) / 2


def angle(a, b) -> torch.Tensor:
    """1 minus the cosine of the angle between vectors, (n, m): what codes on random axes estimate."""
    return 1 - F.normalize(a) @ F.normalize(b).T


def code_precision(queries, base, labels, base_labels, axes, lengths, k: int = 6) -> np.ndarray:
    """Precision at k, (Q, lengths), of codes with the first so many bits of those that the axes give."""
    middle = base.mean(0)
    ours, theirs = codes(queries, middle, axes), codes(base, middle, axes)
    pairs = [(ours[:, :n], theirs[:, :n]) for n in lengths]
    return np.hstack([search(*pair, labels, base_labels, (k,), measure=hamming).precision for pair in pairs])
