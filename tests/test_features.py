"""Features, neighbours, codes, kernels: each beside the same computed in another way."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision

from alexlib import features, study
from alexlib.config import PAPER, SOURCE2012
from alexlib.data import Images
from alexlib.nets import AlexNet
from alexlib.train import predict

SPEC = SOURCE2012.replace(input=64, classes=3, width=1 / 16, precision="fp32")


@pytest.fixture(autouse=True)
def one_thread():
    """Nets this small gain nothing from threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images(n=30, side=72, seed=0, classes=3):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (n, side, side, 3), np.uint8)
    mean = pixels.mean(0).astype(np.float32)
    return Images(pixels, np.arange(n) % classes, tuple("abcdefgh"[:classes]), mean, np.ones(3), np.eye(3),
                  "noise", "train", f"noise-{n}")  # fmt: skip


def finished(spec=SPEC, devices=None):
    """A run as `study.run` returns it, without the training."""
    torch.manual_seed(0)
    return study.Run({"config": spec.as_dict()}, AlexNet(spec, devices), {}, Path("a-run"), np.zeros(0), False)


def points(n, d, seed):
    """Normal vectors with classes."""
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, d)), dtype=torch.float32), rng.integers(0, 3, n)


# The net of a run, and what it makes of pictures


def test_a_run_sees_pictures_as_in_testing():
    run, pictures = finished(), images()
    net = features.of_run(run, pictures)
    scores = features.activations(net, pictures, ["fc8"], batch=7)["fc8"]
    np.testing.assert_allclose(scores.softmax(1), predict(run.model, pictures, SPEC), atol=1e-6)
    assert (net.classes, net.towers, net.size, net.precision) == (("a", "b", "c"), 2, 64, "fp32")
    assert "a-run" in net.origin


def test_a_run_on_two_devices_is_put_together():
    whole, halves = (features.of_run(finished(devices=d), images()) for d in (None, ("cpu", "cpu")))
    assert halves.model.devices is None and torch.equal(whole.model.fc8.weight, halves.model.fc8.weight)


def test_activations_are_the_layers_own_outputs_and_maps_count_with_their_strongest():
    pictures = images(5)
    net = features.of_run(finished(), pictures)
    made = features.activations(net, pictures, ["conv2", "fc7"], batch=2)
    x = torch.tensor(pictures.pixels[:, 4:68, 4:68].astype(np.float32) - pictures.mean[4:68, 4:68]).permute(0, 3, 1, 2)
    model = net.model
    with torch.no_grad():
        conv2 = model.conv2(model.relu1(model.pool1(model.lrn1(model.conv1(model.edge1(x))))))
        fc7 = torch.nn.Sequential(*itertools.takewhile(lambda stage: stage is not model.relu7, model))(x)
    strongest = [[max(itertools.chain(*rows)) for rows in maps] for maps in conv2.tolist()]
    np.testing.assert_allclose(made["conv2"], strongest, rtol=1e-4)
    np.testing.assert_allclose(made["fc7"], fc7, rtol=1e-4, atol=1e-4)
    assert not [hook for module in model.modules() for hook in module._forward_hooks.values()]


def test_a_relu_that_overwrites_its_input_does_not_reach_what_was_kept():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 6), torch.nn.ReLU(inplace=True))
    net = features.Trained(model, 4, torch.zeros(4, 4, 3), ("a",), "made here", layers={"fc6": "1"})
    assert features.activations(net, images(side=4), ["fc6"])["fc6"].min() < 0


def test_input_is_divided_by_colour_and_must_fit():
    net = features.Trained(
        torch.nn.Identity(), 2, torch.full((2, 2, 3), 10.0), ("a",), "made here", std=(1.0, 2.0, 4.0)
    )
    pixels = torch.tensor([10, 20, 30], dtype=torch.uint8).expand(1, 4, 4, 3)
    assert net.input(pixels)[0, :, 1, 1].tolist() == [0, 5, 5]
    with pytest.raises(ValueError, match="pictures of 1 pixels: this net sees 2"):
        net.input(pixels[:, :1, :1])
    with pytest.raises(ValueError, match="unknown layer 'conv9': valid ones: conv1, "):
        net.layer("conv9")


def test_pixels_are_the_windows_minus_the_mean():
    pictures = images(300, 12, classes=4)
    some = pictures.subset(np.arange(299, -1, -1))
    vectors = features.Pixels(some, 8)
    expected = (pictures.pixels[::-1][:, 2:10, 2:10] - pictures.mean[2:10, 2:10].astype(np.float64))[5:290]
    assert len(vectors) == 300
    np.testing.assert_allclose(vectors[5:290], expected.transpose(0, 3, 1, 2).reshape(285, -1), atol=1e-3)
    shrunk = expected.reshape(285, 2, 4, 2, 4, 3).mean((2, 4)).transpose(0, 3, 1, 2).reshape(285, -1)
    np.testing.assert_allclose(features.Pixels(some, 8, 2)[5:290], shrunk, atol=1e-3)


# Neighbours


@pytest.mark.parametrize("block", [1, 40, 64, 10**6])
def test_neighbours_are_those_of_a_loop_in_double_precision(block, monkeypatch):
    (queries, labels), (base, base_labels) = points(7, 5, seed=1), points(50, 5, seed=2)
    monkeypatch.setattr(features.distances, "__defaults__", (torch.cdist, block))
    others = torch.arange(21).view(7, 3)
    found = features.search(queries, base, labels, base_labels, ks=(1, 4, 6), others=others)
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

    rows, blocks = zip(*features.distances(queries, base, measure, block=26), strict=True)
    assert [(r.start, r.stop) for r in rows] == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10), (10, 11)]
    assert max(itertools.chain(*seen)) <= 26 and max(block.numel() for block in blocks) <= 26
    torch.testing.assert_close(torch.cat(blocks), torch.cdist(queries, base))


def test_neighbours_by_pixels_need_no_tensor_of_all_pictures():
    pictures = images(40, 8)
    vectors = features.Pixels(pictures, 8)
    found = features.search(features.Pixels(pictures.subset([3, 5]), 8), vectors, [0, 1], pictures.labels, ks=(2,))
    flat = pictures.pixels.reshape(40, -1).astype(np.int64)
    for query, nearest in zip((3, 5), found.nearest.tolist(), strict=True):
        assert nearest == np.argsort(((flat - flat[query]) ** 2).sum(1))[:2].tolist() and nearest[0] == query
    assert found.ranks is None


def test_precision_of_ties_is_the_mean_over_all_choices():
    block = torch.tensor([[3.0, 1, 2, 2, 2, 2, 9]])
    same = torch.tensor([[True, False, True, True, False, False, True]])
    for k in range(1, 8):
        nearer = [j for j in range(7) if (block[0] <= block[0, j]).sum() <= k]
        tied = [j for j in range(7) if j not in nearer and (block[0] < block[0, j]).sum() < k]
        choices = [nearer + list(some) for some in itertools.combinations(tied, k - len(nearer))]
        expected = np.mean([[same[0, j].item() for j in choice] for choice in choices])
        assert features.precision(block, same, k).item() == pytest.approx(expected), k


def test_more_neighbours_than_pictures_are_refused():
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="the 4 nearest of 3 pictures"):
        features.search(x, x, [0, 0, 0], [0, 0, 0], ks=(4,))


def test_chance_is_the_precision_of_random_neighbours():
    labels, base_labels = np.array([2, 0, 1]), np.array([0, 0, 0, 1, 2, 2, 3, 3])
    np.testing.assert_allclose(features.chance(labels, base_labels), [2 / 8, 3 / 8, 1 / 8])
    queries, base = torch.zeros(3, 2), torch.zeros(8, 2)  # all equally far
    found = features.search(queries, base, labels, base_labels, ks=(5,))
    np.testing.assert_allclose(found.precision[:, 0], [2 / 8, 3 / 8, 1 / 8])


# Codes


def test_hamming_counts_bits():
    rng = np.random.default_rng(0)
    a, b = rng.random((6, 37)) < 0.5, rng.random((9, 37)) < 0.5
    counted = [[sum(x != y for x, y in zip(p, q, strict=True)) for q in b] for p in a]
    assert features.hamming(torch.tensor(a), torch.tensor(b)).tolist() == counted


def test_codes_say_on_which_side_of_each_axis():
    (x, _), (axes, _) = points(20, 7, seed=3), points(7, 5, seed=4)
    middle = x.mean(0)
    made = features.codes(x, middle, axes)
    for i, j in itertools.product(range(20), range(5)):
        side = sum((float(x[i, u]) - float(middle[u])) * float(axes[u, j]) for u in range(7))
        assert made[i, j].item() == (side > 0)


def test_learned_axes_are_the_principal_components():
    rng = np.random.default_rng(0)
    sizes = 1 / np.arange(1, 201)
    x = rng.normal(size=(500, 200)) * sizes @ np.linalg.qr(rng.normal(size=(200, 200)))[0] + 100
    axes = features.learned_axes(torch.tensor(x), 32)
    _, _, components = np.linalg.svd(x - x.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(components[:32] @ axes.numpy()), np.eye(32), atol=1e-3)
    state = torch.random.get_rng_state()
    assert torch.equal(axes, features.learned_axes(torch.tensor(x), 32))
    assert torch.equal(state, torch.random.get_rng_state()), "the generator of the run is left alone"


def test_random_axes_follow_from_the_seed():
    axes = features.random_axes(400, 300, seed=1)
    assert torch.equal(axes, features.random_axes(400, 300, seed=1))
    assert not torch.equal(axes, features.random_axes(400, 300, seed=2))
    assert abs(axes.mean()) < 0.01 and abs(axes.std() - 1) < 0.01


def test_precision_of_codes_against_loops():
    (queries, labels), (base, base_labels) = points(5, 6, seed=5), points(30, 6, seed=6)
    axes = features.random_axes(6, 8)
    found = features.code_precision(queries, base, labels, base_labels, axes, lengths=(2, 8), k=3)
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
    codes = features.codes(x, torch.zeros(50), features.random_axes(50, 20_000))
    angle = np.arccos(F.cosine_similarity(x[0], x[1], 0).item())
    assert features.hamming(codes[:1], codes[1:]).item() / 20_000 == pytest.approx(angle / np.pi, abs=0.01)


# Kernels


def test_concentration_of_kernels_made_by_hand():
    y, x = torch.meshgrid(*[torch.arange(11.0)] * 2, indexing="ij")
    grating = torch.cos(2 * torch.pi * (3 * x + 2 * y) / 11).expand(3, 11, 11)
    flat, point = torch.ones(3, 11, 11), torch.zeros(3, 11, 11)
    point[1, 5, 5] = 7  # all frequencies alike
    red_and_blue = torch.stack([grating[0], torch.zeros(11, 11), -2 * grating[0]])
    kernels = torch.stack([grating, 9 * grating, red_and_blue, flat, point, torch.zeros(3, 11, 11)])
    expected = [0.5, 0.5, 0.5, 1, 9 / 121, 0]
    np.testing.assert_allclose(features.concentration(kernels), expected, atol=1e-9)


def test_concentration_against_sums_in_numpy():
    kernels = torch.randn(4, 3, 7, 5, generator=torch.Generator().manual_seed(0))
    for kernel, found in zip(kernels.double().numpy(), features.concentration(kernels), strict=True):
        energy = (np.abs(np.fft.fft2(kernel)) ** 2).sum(0)
        around = [
            sum(energy[(r + i) % 7, (c + j) % 5] for i in (-1, 0, 1) for j in (-1, 0, 1))
            for r, c in np.ndindex(energy.shape)
        ]
        assert found.item() == pytest.approx(max(around) / energy.sum())


def test_white_noise_has_the_shape_of_the_kernels():
    weights = torch.zeros(96, 3, 11, 11)
    noise = features.white_noise(weights, 2000, seed=3)
    assert noise.shape == (2000, 3, 11, 11) and abs(noise.std() - 1) < 0.01
    assert torch.equal(noise, features.white_noise(weights, 2000, seed=3))


# What excites a unit


def test_purity_by_counting():
    values, labels = points(60, 9, seed=8)
    for unit, found in enumerate(features.purity(values, labels, k=7)):
        best = sorted(range(60), key=lambda i, unit=unit: -values[i, unit].item())[:7]
        counts = [sum(labels[i] == c for i in best) for c in range(3)]
        assert found.item() == pytest.approx(max(counts) / 7)


@pytest.mark.parametrize("changes", [{}, {"spatial_norm": (2,)}, {"input": 99}, {"overlapping": False}], ids=str)
@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv3", "conv5"])
def test_receptive_fields_are_the_pixels_that_can_change_a_position(changes, layer):
    net = AlexNet(PAPER.replace(**{"input": 96, "width": 1 / 16} | changes)).eval()
    _check_field(net, net.get_submodule(layer), net.net.input)


def _check_field(net, layer, side):
    size, stride, start = features.receptive_field(net, layer)
    seen = []
    hook = layer.register_forward_hook(lambda _layer, _inputs, output: seen.append(output[0, 0, :, 0].isnan()))
    with torch.no_grad():
        for row in range(side):
            x = torch.zeros(1, 3, side, side)
            x[0, :, row] = torch.nan
            net(x)
    hook.remove()
    touched = torch.stack(seen).numpy()
    for i in range(touched.shape[1]):
        first = max(start + i * stride, 0)
        expected = np.arange(side)[first : max(start + i * stride + size, 0)]
        assert np.flatnonzero(touched[:, i]).tolist() == expected.tolist(), i


def test_receptive_fields_of_torchvisions_net():
    net = torchvision.models.AlexNet(num_classes=2).eval()
    _check_field(net, net.features[6], 96)
    with pytest.raises(ValueError, match="not in this net"):
        features.receptive_field(net, torch.nn.Conv2d(1, 1, 1))


def test_every_layer_of_the_paper_has_its_place():
    net = features.of_run(finished(), images())
    assert [type(net.layer(name)).__name__ for name in features.LAYERS] == ["Conv2d"] * 5 + ["Linear"] * 3
