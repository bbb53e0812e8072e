"""Features, neighbours, codes, kernels: each beside the same computed in another way."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from alexold import features, findings, retrieval, rows, study, verdicts
from alexold.claims import CLAIMS
from alexold.config import PAPER, SOURCE2012
from alexold.data import Images
from alexold.nets import AlexNet
from alexold.train import predict

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


def test_what_was_measured_of_a_run_goes_on_record_once(monkeypatch, tmp_path):
    monkeypatch.setenv("ALEXLIB_REPORTS", str(tmp_path))
    monkeypatch.setenv("ALEXLIB_RUNS", str(tmp_path / "runs"))
    run = finished()
    run.row |= {"study": "04_train", "variant": "paper", "seed": 1, "started": "today", "scale": "imagenette"}
    first = features.record(run, {"neighbours": np.array([3.0, 1.0, 5.0])}, 50, 900, "cpu")
    assert features.record(run, {"neighbours": (3.0, 1.0, 5.0)}, 50, 900, "cpu") == first
    assert rows.read("05_features", "imagenette") == [first] and first["measured"] == {"neighbours": [3.0, 1.0, 5.0]}
    assert first["run"] == {"study": "04_train", "variant": "paper", "seed": 1, "started": "today"}
    assert first["commit"] and first["versions"] and findings.trained([first]) == []
    features.record(run, {"neighbours": (3.0, 1.0, 5.0)}, 60, 900, "cpu")
    assert [row["queries"] for row in rows.read("05_features", "imagenette")] == [50, 60]
    file = rows.path("05_features", "imagenette", evidence=False)
    file.write_text(file.read_text().replace('"measured"', '"withdrawn": {"neighbours": "wrong"}, "measured"'))
    again = features.record(run, {"neighbours": (3.0, 1.0, 5.0)}, 50, 900, "cpu")
    assert "withdrawn" not in again and len(rows.read("05_features", "imagenette")) == 3


def test_activations_are_the_layers_own_outputs_and_maps_count_with_their_strongest():
    pictures = images(5)
    net = features.of_run(finished(), pictures)
    made = features.activations(net, pictures, ["conv2", "fc7"], batch=2)
    x = torch.tensor(pictures.pixels[:, 4:68, 4:68].astype(np.float32) - pictures.mean[4:68, 4:68]).permute(0, 3, 1, 2)
    model = net.model
    with torch.no_grad():
        conv2 = model.conv2(model.relu1(model.pool1(model.lrn1(model.conv1(x)))))
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


def test_neighbours_by_pixels_need_no_tensor_of_all_pictures():
    pictures = images(40, 8)
    vectors = features.Pixels(pictures, 8)
    found = retrieval.search(features.Pixels(pictures.subset([3, 5]), 8), vectors, [0, 1], pictures.labels, ks=(2,))
    flat = pictures.pixels.reshape(40, -1).astype(np.int64)
    for query, nearest in zip((3, 5), found.nearest.tolist(), strict=True):
        assert nearest == np.argsort(((flat - flat[query]) ** 2).sum(1))[:2].tolist() and nearest[0] == query
    assert found.ranks is None


# Kernels


Y, X = torch.meshgrid(*[torch.arange(11.0) - 5] * 2, indexing="ij")
GREY, RED_GREEN, YELLOW_BLUE, RED = ((1, 1, 1), (1, -1, 0), (-0.5, -0.5, 1), (1, 0, 0))


def coloured(pattern, colour):
    return torch.tensor(colour, dtype=torch.float32)[:, None, None] * pattern


def gabor(cycles, angle, phase, sigma, colour):
    """A wave of so many cycles per 11 pixels under an envelope of standard deviation sigma, pixels."""
    along = X * np.cos(angle) + Y * np.sin(angle)
    wave = torch.cos(2 * np.pi * cycles / 11 * along + phase)
    return coloured(wave * torch.exp(-(X**2 + Y**2) / (2 * sigma**2)), colour)


def spot(sigma, colour, x=0.0, y=0.0):
    return coloured(torch.exp(-((X - x) ** 2 + (Y - y) ** 2) / (2 * sigma**2)), colour)


def white(n, seed=0):
    return torch.randn(n, 3, 11, 11, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("colour", [GREY, RED_GREEN, RED], ids=str)
@pytest.mark.parametrize("cycles", [1.5, 2, 2.5, 3, 4, 5])
def test_gabors_are_gratings(cycles, colour):
    made = itertools.product(np.arange(12) * np.pi / 12, (0, np.pi / 4, np.pi / 2), (1.5, 2, 3, 1000))
    kernels = torch.stack([gabor(cycles, *wave, colour) for wave in made])
    assert (features.kinds(kernels) == "grating").all()


@pytest.mark.parametrize("angle", np.arange(8) * np.pi / 8)
def test_edges_and_bars_are_gratings(angle):
    along = X * np.cos(angle) + Y * np.sin(angle) + 1e-3
    kernels = torch.stack([coloured(pattern, GREY) for pattern in (along.sign(), (along.abs() < 1.6).float())])
    assert (features.kinds(kernels) == "grating").all()


@pytest.mark.parametrize("colour", [RED_GREEN, YELLOW_BLUE, RED], ids=str)
def test_spots_of_colour_are_blobs_and_grey_ones_are_neither(colour):
    for sigma, place in itertools.product((1.5, 2, 2.5, 3, 3.5), ((0, 0), (1, 0), (1, 1), (2, 1), (0, 3))):
        one, grey, wide = (spot(*shape, *place) for shape in ((sigma, colour), (sigma, GREY), (2 * sigma, colour)))
        found = features.kinds(torch.stack([one, one - wide / 4, grey]))
        assert found.tolist() == ["blob", "blob", "neither"], (sigma, place)


def test_white_noise_is_neither_whatever_its_tint():
    noise = white(5000)
    tints = torch.randn(5000, 3, 1, 1, generator=torch.Generator().manual_seed(1))
    flat = (tints.square().sum(1, keepdim=True) * 121).sqrt() / noise.square().sum((1, 2, 3), keepdim=True).sqrt()
    tinted = noise + tints / flat / 3  # nine tenths of the energy are noise, one tenth a flat tint
    energy = features.kernel_energy(noise)
    assert energy.amax() < 0.3, "all 5,000 are far from one half"
    for kernels in (noise, tinted, noise + 100 * tints):
        assert features.kernel_kinds(kernels) == {"grating": 0, "blob": 0, "neither": 1}


def test_flat_kernels_points_and_crossed_gratings_are_neither():
    point = torch.zeros(3, 11, 11)
    point[1, 5, 5] = 7
    crossed = gabor(3, 0, 0, 3, GREY) + gabor(3, np.pi / 2, 0, 3, GREY)
    kernels = torch.stack([torch.full((3, 11, 11), 0.1), coloured(torch.ones(11, 11), RED), point, crossed, 0 * point])
    assert (features.kinds(kernels) == "neither").all()


def test_half_of_the_energy_decides():
    noise = white(2000, seed=2)
    noise -= noise.mean((2, 3), keepdim=True)
    noise /= noise.square().sum((1, 2, 3), keepdim=True).sqrt()
    for pattern, kind in ((gabor(3, 1, 0, 2.5, GREY), "grating"), (spot(2, RED_GREEN), "blob")):
        pattern = pattern - pattern.mean((1, 2), keepdim=True)
        pattern /= pattern.square().sum().sqrt()
        for share, expected in ((0.7, 1), (0.3, 0)):
            kernels = share**0.5 * pattern + (1 - share) ** 0.5 * noise
            assert abs(features.kernel_kinds(kernels)[kind] - expected) < 0.01


def test_kinds_do_not_change_with_scale_mirror_quarter_turn_tint_or_order_of_colours():
    mixed = torch.stack([gabor(2, 0.5, 1, 2, RED), spot(2, RED_GREEN, 1), gabor(1, 0.7, 0, 2, GREY), spot(1, GREY)])
    kernels = torch.cat([mixed, mixed + 0.3 * white(4), white(20)])
    energy = features.kernel_energy(kernels)
    tint = torch.tensor([3.0, -2, 1]).view(3, 1, 1)
    for same in (-1e-3 * kernels, kernels.flip(3), kernels.rot90(1, (2, 3)), kernels + tint, kernels[:, [2, 0, 1]]):
        torch.testing.assert_close(features.kernel_energy(same), energy, atol=1e-5, rtol=1e-4)


def test_energy_of_kernels_against_sums_in_numpy():
    for kernel, found in zip(
        white(2, seed=5).double().numpy(), features.kernel_energy(white(2, seed=5)).T, strict=True
    ):
        kernel = kernel - kernel.mean((1, 2), keepdims=True)
        place, waves = np.arange(11), np.arange(-11, 11)
        turn = np.exp(-2j * np.pi * np.outer(waves, place) / 22)
        power = {(p, q): (abs(np.einsum("cyx,y,x->c", kernel, turn[p + 11], turn[q + 11])) ** 2).sum() / 484
                 for p in waves for q in waves}  # fmt: skip
        assert sum(power.values()) == pytest.approx((kernel**2).sum())

        def at(p, q):
            return {((s * p + i + 11) % 22 - 11, (s * q + j + 11) % 22 - 11)
                    for s in (1, -1) for i in range(-2, 3) for j in range(-2, 3)}  # fmt: skip

        def only(bins, others, power=power):
            return sum(power[bin] for bin in bins - others)

        pairs = [(at(p, q), at(q, -p)) for p in waves for q in waves]
        best = max(only(*pair) for pair in pairs if only(*pair) >= 2 * only(*pair[::-1]))
        assert found[0].item() == pytest.approx(best / (kernel**2).sum())
        off_grey = kernel - kernel.mean(0)
        low = sum((abs(np.einsum("cyx,y,x->c", off_grey, turn[p + 11], turn[q + 11])) ** 2).sum() / 484
                  for p in waves for q in waves if p * p + q * q <= 16)  # fmt: skip
        assert found[1].item() == pytest.approx(low / (kernel**2).sum())


def test_kinds_of_a_layer_are_shares_and_the_claim_their_sum_in_points():
    kernels = torch.cat([white(5), torch.stack([gabor(3, 0, 0, 2, GREY)] * 2 + [spot(2, RED_GREEN)])])
    shares = features.kernel_kinds(torch.nn.Parameter(kernels))
    assert shares == {"grating": 0.25, "blob": 0.125, "neither": 0.625}
    assert all(type(share) is float for share in shares.values())
    value, low, high = features.selectivity(kernels)
    assert value == pytest.approx(37.5) and (low, high) == pytest.approx((13.68, 69.43), abs=0.01)
    with pytest.raises(ValueError, match=r"shape \(3, 5, 5\): expected \(3, 11, 11\)"):
        features.kinds(torch.zeros(2, 3, 5, 5))


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
    kinds = [torch.nn.Conv2d] * 5 + [torch.nn.Linear] * 3
    assert all(isinstance(net.layer(name), kind) for name, kind in zip(features.LAYERS, kinds, strict=True))


def test_what_excites_a_unit_and_where():
    pictures = images(20, 72)
    net = features.of_run(finished(), pictures)
    values = features.activations(net, pictures, ["conv2", "fc7"])
    units, k = [7, 2], 3
    windows, labels, boxes = features.exciting(net, pictures, "conv2", values["conv2"], units, k)
    assert windows.shape == (2, 3, 64, 64, 3) and labels.shape == (2, 3) and boxes.shape == (2, 3, 3)
    for i, unit in enumerate(units):
        best = sorted(range(20), key=lambda n, unit=unit: -values["conv2"][n, unit].item())[:k]
        assert labels[i].tolist() == [n % 3 for n in best]
        for j, n in enumerate(best):
            np.testing.assert_array_equal(windows[i, j], pictures.pixels[n, 4:68, 4:68])
            left, top, side = boxes[i, j]
            seen = np.full((64, 64, 3), 90, np.uint8)  # grey where the unit does not look
            rows, columns = slice(max(top, 0), top + side), slice(max(left, 0), left + side)
            seen[rows, columns] = windows[i, j, rows, columns]
            shown = Images(seen[None], np.zeros(1, int), ("a",), pictures.mean[4:68, 4:68], np.ones(3), np.eye(3),
                           "one", "test", "f")  # fmt: skip
            alone = _maps(net, shown.pixels, "conv2")[unit]
            whole = _maps(net, windows[i, j][None], "conv2")[unit]
            place = np.unravel_index(whole.argmax(), whole.shape)
            assert alone[place] == pytest.approx(whole.max(), rel=1e-4), "nothing outside of the box matters"
    assert features.exciting(net, pictures, "fc7", values["fc7"], units, k)[2] is None


def _maps(net, pixels, layer):
    found = []
    hook = net.layer(layer).register_forward_hook(lambda _layer, _inputs, output: found.append(output[0].numpy()))
    with torch.inference_mode():
        net.model(net.input(torch.tensor(pixels)))
    hook.remove()
    return found[0]


def test_pictures_at_indices_of_any_shape():
    pictures = images(9, 8)
    pixels, labels = features.pictures_at(pictures, torch.tensor([[4, 1], [8, 8], [0, 3]]))
    assert pixels.shape == (3, 2, 8, 8, 3) and labels.tolist() == [[1, 1], [2, 2], [0, 0]]
    np.testing.assert_array_equal(pixels[2, 1], pictures.pixels[3])


def test_drawn_numbers_are_some_of_all():
    some = features.drawn(1000, 100, seed=1)
    assert len(set(some)) == 100 and (np.diff(some) > 0).all() and some[0] >= 0 and some[-1] < 1000
    np.testing.assert_array_equal(some, features.drawn(1000, 100, seed=1))
    assert (features.drawn(1000, 100, seed=2) != some).any()
    for count in (0, 7, 9):
        assert features.drawn(7, count).tolist() == list(range(7))


# Runs and claims


@pytest.mark.parametrize(
    ("claim", "bounds", "verdict"),
    [
        ("colour-towers", (100, 20, 100), verdicts.CANNOT_TELL),
        ("colour-towers", (100, 57, 100), verdicts.AGREES),
        ("colour-towers", (90, 60, 98), verdicts.OPPOSITE),
        *((id, (30, 27, 33), f"{verdicts.CANNOT_TELL}; one net") for id in ("neighbours", "binary-codes")),
        ("neighbours-pixels", (10, 8, 12), f"{verdicts.CANNOT_TELL}; one net"),
        ("conv1-kernels", (80, 70, 90), f"{verdicts.CANNOT_TELL}; one net"),
    ],
)
def test_verdicts_follow_the_rules(claim, bounds, verdict):
    quantity = next(c.quantity for c in CLAIMS if c.id == claim)
    table = findings.compare_features({claim: bounds}, "imagenette")
    rows = {row["claim"]: row for row in table}
    assert rows[quantity]["verdict"] == verdict and rows[quantity]["here"] == bounds[0]
    assert len(table) == 5 and [row["verdict"] for row in table].count(verdicts.NOT_TESTED) == 4
    sample = findings.compare_features({claim: bounds}, "sample")
    assert {row["claim"]: row["verdict"] for row in sample}[quantity] == verdicts.SAMPLE
