"""What a net has learned, each number beside the same computed in another way."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from alexlib.config import PAPER, SOURCE2012
from alexlib.data.images import Images
from alexlib.models import build
from alexlib.study import features
from alexlib.training.loop import predict

CONFIG = SOURCE2012.replace(input=64, classes=3, width=1 / 16, precision="fp32")


def images(n=30, side=72, seed=0, classes=3):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (n, side, side, 3), np.uint8)
    mean = pixels.mean(0).astype(np.float32)
    names = tuple("abcdefgh"[:classes])
    labels = np.arange(n) % classes
    return Images(pixels, labels, names, mean, np.ones(3), np.eye(3), "noise", "train", "noise")


def finished(config=CONFIG, devices=None):
    torch.manual_seed(0)
    model = build(config, devices)
    return SimpleNamespace(row={"config": config.as_dict()}, model=model, folder=Path("a-run"))


@pytest.fixture(scope="module")
def net():
    return features.of_run(finished(), images())


# ---- the net and its activations -----------------------------------------------------------------


@pytest.mark.parametrize("devices", [None, ("cpu", "cpu")])
def test_a_run_sees_images_as_in_testing(devices):
    run, test = finished(devices=devices), images()
    net = features.of_run(run, test)
    scores = features.activations(net, test, ["fc8"], batch=7)["fc8"]
    np.testing.assert_allclose(scores.softmax(1), predict(run.model, test, CONFIG), atol=1e-6)


def test_input_is_the_centre_window_minus_the_mean_over_the_std():
    model, std = nn.Linear(1, 1), torch.tensor([1.0, 2, 4]).view(3, 1, 1)
    net = features.Trained(model, torch.full((2, 2, 3), 10.0), ("a",), "made here", std)
    pixels = np.zeros((1, 4, 4, 3), np.uint8)
    pixels[0, 1:3, 1:3] = [10, 20, 30]
    assert net.input(pixels).permute(0, 2, 3, 1).tolist() == [[[[0, 5, 5]] * 2] * 2]
    with pytest.raises(ValueError):
        net.input(pixels[:, :1, :1])


def test_activations_are_outputs_before_the_nonlinearity_and_maps_count_with_their_largest(net):
    test, plain = images(5), build(CONFIG, fast=False).double().eval()
    plain.load_state_dict(net.model.state_dict())
    found = features.activations(net, test, ["conv2", "fc7"], batch=2)
    centre = (test.pixels[:, 4:68, 4:68] - net.mean.double().numpy()).transpose(0, 3, 1, 2)
    expected, x = {}, torch.tensor(centre)
    with torch.no_grad():
        for name, stage in plain.named_children():
            x = expected[name] = stage(x)
    np.testing.assert_allclose(found["conv2"], expected["conv2"].numpy().max((2, 3)), rtol=1e-4)
    np.testing.assert_allclose(found["fc7"], expected["fc7"], rtol=1e-4, atol=1e-4)


def test_capture_keeps_what_a_stage_in_place_overwrites_and_leaves_no_hook():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True))
    x = torch.randn(9, 4)
    with features.capture(model, ["0", "1"]) as outputs:
        after = model(x)
    assert torch.equal(outputs["0"], nn.functional.linear(x, model[0].weight, model[0].bias))
    assert torch.equal(outputs["1"], after) and not model[0]._forward_hooks


def test_signals_are_standard_deviations_of_outputs_and_their_gradients():
    torch.manual_seed(0)
    config = PAPER.replace(input=64, width=1 / 16, classes=5)
    model = build(config)
    x, labels = torch.randn(4, 3, 64, 64) * 50, torch.tensor([0, 1, 2, 3])
    found = features.signals(model, x, labels)
    assert tuple(found.index) == features.LAYERS

    plain = build(config, fast=False).eval()
    plain.load_state_dict(model.state_dict())
    outputs, y = {}, x
    for name, stage in plain.named_children():
        y = outputs[name] = stage(y)
    loss = nn.functional.cross_entropy(y, labels)
    for name in features.LAYERS:
        gradient = torch.autograd.grad(loss, outputs[name], retain_graph=True)[0]
        expected = [outputs[name].std().item(), gradient.std().item()]
        assert found.loc[name].tolist() == pytest.approx(expected, rel=1e-3), name


# ---- the first layer's kernels -------------------------------------------------------------------

Y, X = torch.meshgrid(*[torch.arange(11.0) - 5] * 2, indexing="ij")
GREY, RED_GREEN, YELLOW_BLUE, RED = (1, 1, 1), (1, -1, 0), (-0.5, -0.5, 1), (1, 0, 0)


def coloured(pattern, colour):
    return torch.tensor(colour, dtype=torch.float32)[:, None, None] * pattern


def gabor(cycles, angle, phase, sigma, colour):
    """A wave of so many cycles per 11 pixels under an envelope of standard deviation sigma."""
    along = X * np.cos(angle) + Y * np.sin(angle)
    wave = torch.cos(2 * np.pi * cycles / 11 * along + phase)
    return coloured(wave * torch.exp(-(X**2 + Y**2) / (2 * sigma**2)), colour)


def spot(sigma, colour, x=0.0, y=0.0):
    return coloured(torch.exp(-((X - x) ** 2 + (Y - y) ** 2) / (2 * sigma**2)), colour)


def white(n, seed=0):
    return torch.randn(n, 3, 11, 11, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("colour", [GREY, RED_GREEN, RED], ids=str)
@pytest.mark.parametrize("cycles", [1.5, 3, 5])
def test_gabors_are_gratings(cycles, colour):
    waves = itertools.product(np.arange(12) * np.pi / 12, (0, np.pi / 4, np.pi / 2), (1.5, 3, 1000))
    kernels = torch.stack([gabor(cycles, *wave, colour) for wave in waves])
    assert (features.kinds(kernels) == "grating").all()


@pytest.mark.parametrize("colour", [RED_GREEN, YELLOW_BLUE, RED], ids=str)
@pytest.mark.parametrize("place", [(0, 0), (1, 1), (2, 1), (0, 3)], ids=str)
def test_spots_of_colour_are_blobs_and_grey_ones_are_neither(colour, place):
    for sigma in (1.5, 2, 2.5, 3, 3.5):
        one, wide = spot(sigma, colour, *place), spot(2 * sigma, colour, *place)
        kernels = torch.stack([one, one - wide / 4, spot(sigma, GREY, *place)])
        assert features.kinds(kernels).tolist() == ["blob", "blob", "neither"], sigma


def test_noise_flat_kernels_points_and_crossed_gratings_are_neither():
    tinted = white(1000) + 100 * torch.randn(1000, 3, 1, 1)
    assert (features.kinds(tinted) == "neither").all()
    assert features.kernel_energy(white(1000)).amax() < 0.3
    point = torch.zeros(3, 11, 11)
    point[1, 5, 5] = 7
    crossed = gabor(3, 0, 0, 3, GREY) + gabor(3, np.pi / 2, 0, 3, GREY)
    flat = torch.full((3, 11, 11), 0.1), coloured(torch.ones(11, 11), RED)
    others = torch.stack([*flat, point, crossed, 0 * point])
    assert (features.kinds(others) == "neither").all()


def test_energy_of_kernels_against_sums_in_numpy():
    kernels = white(2, seed=5)
    for kernel, found in zip(
        kernels.double().numpy(), features.kernel_energy(kernels).T, strict=True
    ):
        kernel = kernel - kernel.mean((1, 2), keepdims=True)
        place, waves = np.arange(11), np.arange(-11, 11)
        turn = np.exp(-2j * np.pi * np.outer(waves, place) / 22)

        def power(x, p, q, turn=turn):
            return (abs(np.einsum("cyx,y,x->c", x, turn[p + 11], turn[q + 11])) ** 2).sum() / 484

        powers = {(p, q): power(kernel, p, q) for p in waves for q in waves}
        assert sum(powers.values()) == pytest.approx((kernel**2).sum())

        def at(p, q):
            steps = itertools.product((1, -1), range(-2, 3), range(-2, 3))
            return {((s * p + i + 11) % 22 - 11, (s * q + j + 11) % 22 - 11) for s, i, j in steps}

        def only(bins, others, powers=powers):
            return sum(powers[bin] for bin in bins - others)

        pairs = [(at(p, q), at(q, -p)) for p in waves for q in waves]
        best = max(only(*pair) for pair in pairs if only(*pair) >= 2 * only(*pair[::-1]))
        off_grey = kernel - kernel.mean(0)
        low = sum(power(off_grey, p, q) for p in waves for q in waves if p * p + q * q <= 16)
        assert found.tolist() == pytest.approx([best / (kernel**2).sum(), low / (kernel**2).sum()])
    with pytest.raises(ValueError):
        features.kinds(torch.zeros(2, 3, 5, 5))


def test_colourfulness_is_the_share_off_the_grey_axis():
    kernels = torch.stack(
        [spot(2, c) for c in (GREY, RED, RED_GREEN, (2, 1, 0))] + [0 * spot(2, RED)]
    )
    expected = [0, 2 / 3, 1, 1 - 3 / 5, 0]  # 1 - (r + g + b)^2 / 3 (r^2 + g^2 + b^2)
    assert features.colourfulness(kernels).tolist() == pytest.approx(expected, abs=1e-6)


def test_the_towers_colours_are_compared_by_all_divisions_of_the_kernels(net):
    values = features.colourfulness(net.model.conv1.weight).numpy()
    found = features.tower_colour(net.model)["colour"]
    half = len(values) // 2
    assert found["means"] == pytest.approx([values[:half].mean(), values[half:].mean()])
    divisions = itertools.combinations(values, half)
    gaps = [abs(2 * np.mean(some) - 2 * values.mean()) for some in divisions]  # the first: ours
    assert found["p"] == pytest.approx(np.mean(np.array(gaps) >= gaps[0] - 1e-9))
    assert features.tower_colour(build(CONFIG.replace(towers=1))) == {}


# ---- images that activate a unit, and what it sees -----------------------------------------------


@pytest.mark.parametrize(
    "changes", [{}, {"spatial_norm": (2,)}, {"input": 99, "overlapping": False}]
)
@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv3", "conv5"])
def test_receptive_fields_are_the_pixels_that_can_change_a_position(changes, layer):
    config = PAPER.replace(**{"input": 96, "width": 1 / 16} | changes)
    model, side, touched = build(config, fast=False).eval(), config.net.input, []
    size, stride, start = features.receptive_field(model, layer)
    with features.capture(model, [layer]) as outputs, torch.no_grad():
        for row in range(side):  # NaN in a pixel makes all positions NaN that see it
            x = torch.zeros(1, 3, side, side)
            x[0, :, row] = torch.nan
            model(x)
            touched.append(outputs[layer][0, 0, :, 0].isnan().numpy())
    for i, seen in enumerate(np.transpose(touched)):
        first = start + i * stride
        expected = np.arange(side)[max(first, 0) : max(first + size, 0)]
        assert np.flatnonzero(seen).tolist() == expected.tolist(), i
    with pytest.raises(ValueError):
        features.receptive_field(model, "fc6")


def test_images_that_activate_a_unit_and_what_it_sees_of_them(net):
    test, units, k = images(20), [7, 2], 3
    values = features.activations(net, test, ["conv2", "fc7"])
    indices, boxes = features.exciting(net, test, "conv2", values["conv2"], units, k)
    for unit, found, places in zip(units, indices.tolist(), boxes.tolist(), strict=True):
        assert found == sorted(range(20), key=lambda n: -values["conv2"][n, unit].item())[:k]
        for n, (left, top, side) in zip(found, places, strict=True):
            seen = np.full((1, 72, 72, 3), 90, np.uint8)  # grey where the unit does not look
            rows = slice(4 + max(top, 0), 4 + top + side)
            columns = slice(4 + max(left, 0), 4 + left + side)
            seen[0, rows, columns] = test.pixels[n, rows, columns]
            with features.capture(net.model, ["conv2"]) as outputs, torch.no_grad():
                net.model(net.input(test.pixels[n : n + 1]))
                whole = outputs["conv2"][0, unit]
                net.model(net.input(seen))
            alone = outputs["conv2"][0, unit].flatten()[whole.argmax()]
            assert alone.item() == pytest.approx(whole.max().item(), rel=1e-4)
    assert features.exciting(net, test, "fc7", values["fc7"], units, k)[1] is None


def test_precision_of_ties_is_the_mean_over_all_choices():
    distances = torch.tensor([[3.0, 1, 2, 2, 2, 2, 9]])
    same = torch.tensor([[True, False, True, True, False, False, True]])
    for k in range(1, 8):
        nearer = [j for j in range(7) if (distances[0] <= distances[0, j]).sum() <= k]
        tied = [
            j for j in range(7) if j not in nearer and (distances[0] < distances[0, j]).sum() < k
        ]
        choices = [nearer + list(some) for some in itertools.combinations(tied, k - len(nearer))]
        expected = np.mean([[same[0, j].item() for j in choice] for choice in choices])
        assert features.precision(distances, same, k).item() == pytest.approx(expected), k


# ---- weights by others ---------------------------------------------------------------------------


def onnx_alexnet(file, classes=7, a=6, b=16, c=24, units=256):
    """bvlcalexnet, 1/16 as wide, for 99 pixels, with random weights, as the Model Zoo stores it."""
    from onnx import TensorProto, helper, numpy_helper, save

    conv, fc = {"pads": [1] * 4}, {"transB": 1}
    relu, pool = ("Relu", None, {}), ("MaxPool", None, {"kernel_shape": [3, 3], "strides": [2, 2]})
    lrn = ("LRN", None, {"alpha": 1e-4, "beta": 0.75, "bias": 1.0, "size": 5})
    stages = [("Conv", (a, 3, 11, 11), {"strides": [4, 4]}), relu, lrn, pool]
    stages += [("Conv", (b, a // 2, 5, 5), {"pads": [2] * 4, "group": 2}), relu, lrn, pool]
    stages += [("Conv", (c, b, 3, 3), conv), relu]
    stages += [("Conv", (c, c // 2, 3, 3), conv | {"group": 2}), relu]
    stages += [("Conv", (b, c // 2, 3, 3), conv | {"group": 2}), relu, pool, ("Flatten", None, {})]
    stages += [("Gemm", (units, 4 * b), fc), relu, ("Gemm", (units, units), fc), relu]
    stages += [("Gemm", (classes, units), fc)]

    rng, nodes, arrays = np.random.default_rng(0), [], []
    for i, (kind, shape, attributes) in enumerate(stages):
        names = [f"w{i}", f"b{i}"] if shape else []
        if shape:
            weights = rng.normal(0, 1.5 / np.prod(shape[1:]) ** 0.5, shape)
            for name, values in zip(names, (weights, rng.normal(0, 0.1, shape[0])), strict=True):
                arrays.append(numpy_helper.from_array(values.astype(np.float32), name))
        nodes.append(helper.make_node(kind, [f"x{i}", *names], [f"x{i + 1}"], **attributes))
    ends = ("x0", f"x{len(stages)}")
    ends = [[helper.make_tensor_value_info(end, TensorProto.FLOAT, None)] for end in ends]
    model = helper.make_model(helper.make_graph(nodes, "alexnet", *ends, arrays))
    save(model, file)
    return model


def test_caffes_net_computes_what_its_onnx_file_does(tmp_path):
    reference = pytest.importorskip("onnx.reference")

    class LRN(reference.op_run.OpRun):  # onnx's own (1.23) takes the images for the feature maps
        def _run(self, x, alpha=None, beta=None, bias=None, size=None):
            norm = nn.functional.local_response_norm
            return (norm(torch.tensor(x), size, alpha, beta, bias).numpy(),)

    model = onnx_alexnet(tmp_path / "made.onnx")
    config = features.CAFFE.replace(input=99, width=1 / 16, classes=7)
    net = features._caffe(tmp_path / "made.onnx", config)
    x = 60 * torch.randn(3, 3, 99, 99)  # red, green, blue; the file wants blue first
    evaluator = reference.ReferenceEvaluator(model, new_ops=[LRN])
    (expected,) = evaluator.run(None, {"x0": x.flip(1).numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(net(x), expected, rtol=1e-3, atol=1e-4 * abs(expected).max())
    assert expected.std() > 0.01


def test_torchvisions_net_computes_what_torchvision_does(tmp_path):
    torch.manual_seed(0)
    theirs = torchvision.models.alexnet().eval()
    torch.save(theirs.state_dict(), tmp_path / "alexnet.pth")
    net = features.load_weights(tmp_path / "alexnet.pth")
    pixels = torch.tensor(images(2, 256).pixels)
    transforms = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.transforms()
    x = torch.stack([transforms(image.permute(2, 0, 1)) for image in pixels])
    torch.testing.assert_close(net.input(pixels), x, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(net.model(x), theirs(x), rtol=1e-3, atol=1e-5)
    assert net.model.conv2.weight.shape == (192, 64, 5, 5) and len(net.classes) == 1000
