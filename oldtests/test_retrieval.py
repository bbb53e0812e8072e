"""Neighbours, precision and codes beside loops that compute the same."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alexold import retrieval


def points(n, d, seed):
    """Normal vectors with classes."""
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, d)), dtype=torch.float32), rng.integers(0, 3, n)


# Neighbours


@pytest.mark.parametrize("block", [1, 40, 64, 10**6])
def test_neighbours_are_those_of_a_loop_in_double_precision(block, monkeypatch):
    (queries, labels), (base, base_labels) = points(7, 5, seed=1), points(50, 5, seed=2)
    monkeypatch.setattr(retrieval.distances, "__defaults__", (torch.cdist, block))
    others = torch.arange(21).view(7, 3)
    found = retrieval.search(queries, base, labels, base_labels, ks=(1, 4, 6), others=others)
    for i, query in enumerate(queries.double().numpy()):
        away = [sum((float(a) - float(b)) ** 2 for a, b in zip(query, row, strict=True)) for row in base.numpy()]
        order = sorted(range(50), key=away.__getitem__)
        assert found.nearest[i].tolist() == order[:6]
        for k, share in zip((1, 4, 6), found.precision[i], strict=True):
            assert share == pytest.approx(sum(base_labels[j] == labels[i] for j in order[:k]) / k)
        assert found.ranks[i].tolist() == pytest.approx([order.index(j) / 50 for j in others[i]])


def test_blocks_bound_memory_and_miss_nothing():
    queries, base = points(11, 6, seed=1)[0], points(13, 6, seed=2)[0]
    seen = []

    def measure(a, b):
        seen.append((a.numel(), b.numel()))
        return torch.cdist(a, b)

    rows, blocks = zip(*retrieval.distances(queries, base, measure, block=26), strict=True)
    assert [(r.start, r.stop) for r in rows] == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10), (10, 11)]
    assert max(itertools.chain(*seen)) <= 26 and max(block.numel() for block in blocks) <= 26
    torch.testing.assert_close(torch.cat(blocks), torch.cdist(queries, base))


def test_precision_of_ties_is_the_mean_over_all_choices():
    block = torch.tensor([[3.0, 1, 2, 2, 2, 2, 9]])
    same = torch.tensor([[True, False, True, True, False, False, True]])
    for k in range(1, 8):
        nearer = [j for j in range(7) if (block[0] <= block[0, j]).sum() <= k]
        tied = [j for j in range(7) if j not in nearer and (block[0] < block[0, j]).sum() < k]
        choices = [nearer + list(some) for some in itertools.combinations(tied, k - len(nearer))]
        expected = np.mean([[same[0, j].item() for j in choice] for choice in choices])
        assert retrieval.precision(block, same, k).item() == pytest.approx(expected), k


def test_more_neighbours_than_pictures_are_refused():
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="the 4 nearest of 3 pictures"):
        retrieval.search(x, x, [0, 0, 0], [0, 0, 0], ks=(4,))


def test_chance_is_the_precision_of_random_neighbours():
    labels, base_labels = np.array([2, 0, 1]), np.array([0, 0, 0, 1, 2, 2, 3, 3])
    np.testing.assert_allclose(retrieval.chance(labels, base_labels), [2 / 8, 3 / 8, 1 / 8])
    queries, base = torch.zeros(3, 2), torch.zeros(8, 2)  # all equally far
    found = retrieval.search(queries, base, labels, base_labels, ks=(5,))
    np.testing.assert_allclose(found.precision[:, 0], [2 / 8, 3 / 8, 1 / 8])


# Codes


def test_hamming_counts_bits():
    rng = np.random.default_rng(0)
    a, b = rng.random((6, 37)) < 0.5, rng.random((9, 37)) < 0.5
    counted = [[sum(x != y for x, y in zip(p, q, strict=True)) for q in b] for p in a]
    assert retrieval.hamming(torch.tensor(a), torch.tensor(b)).tolist() == counted


def test_codes_say_on_which_side_of_each_axis():
    (x, _), (axes, _) = points(20, 7, seed=3), points(7, 5, seed=4)
    middle = x.mean(0)
    made = retrieval.codes(x, middle, axes)
    for i, j in itertools.product(range(20), range(5)):
        side = sum((float(x[i, u]) - float(middle[u])) * float(axes[u, j]) for u in range(7))
        assert made[i, j].item() == (side > 0)


def test_learned_axes_are_the_principal_components():
    rng = np.random.default_rng(0)
    sizes = 1 / np.arange(1, 201)
    x = rng.normal(size=(500, 200)) * sizes @ np.linalg.qr(rng.normal(size=(200, 200)))[0] + 100
    state = torch.random.get_rng_state()
    axes = retrieval.learned_axes(torch.tensor(x), 32)
    _, _, components = np.linalg.svd(x - x.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(components[:32] @ axes.numpy()), np.eye(32), atol=1e-3)
    assert torch.equal(axes, retrieval.learned_axes(torch.tensor(x), 32))
    assert torch.equal(state, torch.random.get_rng_state()), "the generator of the run is left alone"


def test_random_axes_follow_from_the_seed():
    axes = retrieval.random_axes(400, 300, seed=1)
    assert torch.equal(axes, retrieval.random_axes(400, 300, seed=1))
    assert not torch.equal(axes, retrieval.random_axes(400, 300, seed=2))
    assert abs(axes.mean()) < 0.01 and abs(axes.std() - 1) < 0.01


def test_precision_of_codes_against_loops():
    (queries, labels), (base, base_labels) = points(5, 6, seed=5), points(30, 6, seed=6)
    axes = retrieval.random_axes(6, 8)
    found = retrieval.code_precision(queries, base, labels, base_labels, axes, lengths=(2, 8), k=3)
    for column, bits in enumerate((2, 8)):
        side = [((x - base.mean(0)) @ axes[:, :bits] > 0).numpy() for x in (queries, base)]
        for i, code in enumerate(side[0]):
            away = np.array([(code != other).sum() for other in side[1]])
            edge = np.sort(away)[2]
            same = base_labels == labels[i]
            nearer, tied = away < edge, away == edge
            expected = (same[nearer].sum() + (3 - nearer.sum()) * same[tied].mean()) / 3
            assert found[i, column] == pytest.approx(expected)


def test_long_random_codes_order_pictures_by_angle():
    x, _ = points(2, 50, seed=7)
    codes = retrieval.codes(x, torch.zeros(50), retrieval.random_axes(50, 20_000))
    angle = np.arccos(F.cosine_similarity(x[0], x[1], 0).item())
    assert retrieval.hamming(codes[:1], codes[1:]).item() / 20_000 == pytest.approx(angle / np.pi, abs=0.01)


def test_angle_is_that_of_vectors():
    (a, _), (b, _) = points(4, 6, seed=9), points(5, 6, seed=10)
    cosines = [[float(x @ y) / float(x @ x) ** 0.5 / float(y @ y) ** 0.5 for y in b] for x in a]
    np.testing.assert_allclose(retrieval.angle(a, b), 1 - np.array(cosines), atol=1e-5)


def test_more_learned_axes_than_there_can_be_are_refused():
    with pytest.raises(ValueError, match="8 axes of 5 vectors of 20 numbers"):
        retrieval.learned_axes(torch.randn(5, 20), 8)
