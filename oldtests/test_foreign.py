"""Weights of others: their layouts beside a forward pass as the conversion means it, and files that are wrong."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision

from alexold import features, foreign
from alexold.features import LAYERS

SMALL = foreign.CAFFE.replace(width=1 / 16, classes=7, input=99).net
GROUPS = {"conv2": 2, "conv4": 2, "conv5": 2}


def entries(seed=0, width=16, classes=7, side=2):
    """{layer: [weights, biases]} in the shapes of bvlc_alexnet.npy, 1 / width as wide."""
    rng = np.random.default_rng(seed)
    maps = [n // width for n in (96, 256, 384, 384, 256)]
    shapes = {
        "conv1": (11, 11, 3, maps[0]),
        "conv2": (5, 5, maps[0] // 2, maps[1]),
        "conv3": (3, 3, maps[1], maps[2]),
        "conv4": (3, 3, maps[2] // 2, maps[3]),
        "conv5": (3, 3, maps[3] // 2, maps[4]),
        "fc6": (side * side * maps[4], 4096 // width),
        "fc7": (4096 // width, 4096 // width),
        "fc8": (4096 // width, classes),
    }
    made = {}
    for name, shape in shapes.items():
        weights = rng.normal(0, 1.5 / np.prod(shape[:-1]) ** 0.5, shape).astype(np.float32)
        made[name] = [weights, rng.normal(0, 0.1, shape[-1]).astype(np.float32)]
    return made


def written(file, layers):
    np.save(file, np.array(layers, dtype=object), allow_pickle=True)
    return file


def as_the_conversion_means_it(layers, bgr):
    """fc8 of pictures (N, row, column, colour), blue first, minus their mean: as scripts for these files compute it."""

    def conv(x, name, stride=1, pad=0):
        weights, biases = (torch.tensor(values) for values in layers[name])
        groups = GROUPS.get(name, 1)
        parts = [
            F.conv2d(a.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), None, stride, pad).permute(0, 2, 3, 1)
            for a, w in zip(x.tensor_split(groups, 3), weights.tensor_split(groups, 3), strict=True)
        ]
        return (torch.cat(parts, 3) + biases).relu()

    def norm(x):  # local_size 5, alpha 1e-4 over local_size, beta 0.75, k 1
        squares = F.pad(x * x, (2, 2))
        around = sum(squares[..., i : i + x.shape[3]] for i in range(5))
        return x / (1 + 1e-4 / 5 * around) ** 0.75

    def pool(x):
        return F.max_pool2d(x.permute(0, 3, 1, 2), 3, 2, ceil_mode=True).permute(0, 2, 3, 1)

    def fc(x, name):
        weights, biases = (torch.tensor(values) for values in layers[name])
        return x.flatten(1) @ weights + biases

    x = pool(norm(conv(bgr, "conv1", 4)))
    x = pool(norm(conv(x, "conv2", 1, 2)))
    x = conv(conv(conv(x, "conv3", 1, 1), "conv4", 1, 1), "conv5", 1, 1)
    return fc(fc(fc(pool(x), "fc6").relu(), "fc7").relu(), "fc8")


# Caffe


def test_caffes_weights_compute_what_they_do_in_their_own_layout(tmp_path):
    layers = entries()
    layers["conv3"][0] = np.asfortranarray(layers["conv3"][0])  # as transposed arrays are written
    net = foreign.caffe(written(tmp_path / "made.npy", layers), SMALL)
    pixels = np.random.default_rng(1).integers(0, 256, (3, 101, 101, 3), np.uint8)
    bgr = torch.tensor(pixels[:, 1:100, 1:100, ::-1] - np.float32([104.00698793, 116.66876762, 122.67891434]))
    expected = as_the_conversion_means_it(layers, bgr)
    found = net.model(net.input(torch.tensor(pixels)))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())
    assert expected.std() > 0.01 and not net.model.training


def test_a_net_of_ours_comes_back_from_caffes_layout(tmp_path):
    torch.manual_seed(0)
    net = foreign.AlexNet(SMALL).eval()
    for norm in (net.lrn1, net.lrn2):
        norm.towers = 1
    layers = {}
    for name in LAYERS:
        layer = net.get_submodule(name)
        weights = layer.weight.detach().numpy()
        if name == "conv1":
            weights = weights[:, ::-1]
        if name == "fc6":  # rows of the file: the position, then the map
            weights = weights.reshape(-1, 16, 2, 2).transpose(0, 2, 3, 1).reshape(len(weights), -1)
        weights = weights.transpose(2, 3, 1, 0) if weights.ndim == 4 else weights.T
        layers[name] = [np.ascontiguousarray(weights), layer.bias.detach().numpy()]
    read = foreign.caffe(written(tmp_path / "ours.npy", layers), SMALL).model
    x = 50 * torch.randn(4, 3, 99, 99)
    with torch.no_grad():
        torch.testing.assert_close(read(x), net(x))
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in read.state_dict().items())


def test_the_shapes_of_bvlc_alexnet_are_wanted(tmp_path):
    published = {
        "conv1": (11, 11, 3, 96),
        "conv2": (5, 5, 48, 256),
        "conv3": (3, 3, 256, 384),
        "conv4": (3, 3, 192, 384),
        "conv5": (3, 3, 192, 256),
        "fc6": (9216, 4096),
        "fc7": (4096, 4096),
        "fc8": (4096, 1000),
    }
    assert {name: pair[0].shape for name, pair in entries(width=16).items()}.keys() == published.keys()
    for name, shape in published.items():
        zeros = {other: [np.zeros(1, np.float32), np.zeros(1, np.float32)] for other in published}
        zeros[name] = [np.zeros(shape, np.float32), np.zeros(shape[-1], np.float32)]
        with pytest.raises(ValueError) as caught:
            foreign.load(written(tmp_path / "one.npy", zeros))
        assert name not in str(caught.value) and "and 11 more" in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda x: x.pop("fc7"), "fc7 biases is missing; fc7 weights is missing"),
        (lambda x: x.update(fc9=x["fc8"]), "fc9 biases does not belong there; fc9 weights does not"),
        (lambda x: x.update(fc7=[x["fc7"][0][:5], x["fc7"][1]]), r"fc7 weights has shape \(5, 256\), not \(256, 256\)"),
        (lambda x: x.update(conv2=x["conv4"]), r"conv2 biases has shape \(24,\), not \(16,\); conv2 weights has shape"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path, spoil, said):
    layers = entries()
    spoil(layers)
    with pytest.raises(ValueError, match=rf"made\.npy does not hold Caffe's AlexNet: {said}"):
        foreign.caffe(written(tmp_path / "made.npy", layers), SMALL)


def test_python_2_wrote_these_files(tmp_path):
    """Its text and bytes are one type, which Python 3 reads as latin-1; the module had another name."""
    layers, file = entries(), tmp_path / "old.npy"
    data = pickle.dumps(np.array(layers, dtype=object), protocol=3)
    data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    for opcode, old in ((b"B", b"T"), (b"C", b"U")):  # BINBYTES to BINSTRING, SHORT_BINBYTES to SHORT_BINSTRING
        data = _replace_opcode(data, opcode, old)
    with open(file, "wb") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": "|O", "fortran_order": False, "shape": ()})
        out.write(data)
    read = foreign._arrays(file)
    assert len(read) == 16
    for name, (weights, biases) in layers.items():
        np.testing.assert_array_equal(read[f"{name} weights"], weights)
        np.testing.assert_array_equal(read[f"{name} biases"], biases)


def _replace_opcode(data, opcode, other):
    import pickletools

    out = bytearray(data)
    for code, _, position in pickletools.genops(data):
        if code.code.encode("latin1") == opcode:
            out[position : position + 1] = other
    return bytes(out)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_other_floats_are_read_as_float32(tmp_path, dtype):
    layers = {name: [values.astype(dtype) for values in pair] for name, pair in entries().items()}
    read = foreign._arrays(written(tmp_path / "made.npy", layers))
    assert {values.dtype for values in read.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(read["conv2 weights"], layers["conv2"][0].astype(np.float32))


# Files that are no weights, and files that mean harm


class Runs:
    """A pickle of this runs a command when it is loaded."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_pickle_that_runs_a_command_is_refused(tmp_path):
    mark = tmp_path / "ran"
    layers = entries() | {"fc8": [Runs(f"touch {mark}"), Runs(f"touch {mark}")]}
    file = written(tmp_path / "evil.npy", layers)
    np.load(file, allow_pickle=True)
    assert mark.exists(), "the file does harm where it is trusted"
    mark.unlink()
    with pytest.raises(ValueError, match=r"evil\.npy is no file of weights \(it names \w+\.system, which weights"):
        foreign.load(file)
    torch.save({"features.0.weight": Runs(f"touch {mark}")}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"evil\.pth is no file of weights \(Weights only load failed"):
        foreign.load(tmp_path / "evil.pth")
    assert not mark.exists()


class Forged:
    """An array of objects whose type says that it holds none: numpy takes its bytes for addresses."""

    def __reduce__(self):
        make, args, _ = np.zeros(1).__reduce__()
        return make, args, (1, (1,), ForgedType(), False, b"\x41" * 8)


class ForgedType:
    def __reduce__(self):
        return np.dtype, ("O8", False, True), (3, "|", None, None, None, 8, 1, 0)


def test_a_forged_array_is_refused_without_numpy(tmp_path):
    """numpy's own names are not safe to admit: this file ends the process that loads it through them."""
    file = written(tmp_path / "forged.npy", {"conv1": [Forged(), Forged()]})
    read = f"import numpy; print(numpy.load({str(file)!r}, allow_pickle=True).item()['conv1'][0][0])"
    assert subprocess.run([sys.executable, "-c", read], capture_output=True).returncode < 0
    with pytest.raises(ValueError, match="is no file of weights"):
        foreign.load(file)


def test_files_that_are_no_weights_get_one_clear_error(tmp_path):
    whole = written(tmp_path / "whole.npy", entries()).read_bytes()
    files = {
        "cut.npy": whole[: len(whole) // 2],
        "text.npy": b"hello",
        "empty.npy": b"",
        "text.pth": b"hello",
        "empty.pth": b"",
        "list.npy": np.array([1, 2], dtype=object).dumps(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    written(tmp_path / "numbers.npy", {"conv1": [1.0, 2.0]})
    written(tmp_path / "nested.npy", {"conv1": [np.array([{}], dtype=object)] * 2})
    written(tmp_path / "whole_numbers.npy", {"conv1": [np.arange(3), np.arange(3)]})
    np.save(tmp_path / "plain.npy", np.zeros((3, 4)))
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    names = [*files, "numbers.npy", "nested.npy", "whole_numbers.npy", "plain.npy", "tensor.pth"]
    for name in names:
        with pytest.raises(ValueError) as caught:
            foreign.load(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name} is no file of weights ("), name
        assert str(caught.value).endswith(foreign.EXPECTED) and "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"it is an array of float64 \(3, 4\), not a dict"):
        foreign.load(tmp_path / "plain.npy")
    with pytest.raises(FileNotFoundError, match=r"nothing\.npy is no file: expected is torchvision's"):
        foreign.load(tmp_path / "nothing.npy")


# torchvision


@pytest.fixture(scope="module")
def vision_file(tmp_path_factory):
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("vision") / "alexnet.pth"
    torch.save(torchvision.models.alexnet().state_dict(), file)
    return file


def test_torchvisions_net_computes_what_torchvision_does(vision_file):
    net = foreign.load(vision_file)
    theirs = torchvision.models.alexnet()
    theirs.load_state_dict(torch.load(vision_file, weights_only=True))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)
    transforms = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.transforms()
    x = torch.stack([transforms(torch.tensor(picture).permute(2, 0, 1)) for picture in pixels])
    with torch.no_grad():
        scores = theirs.eval()(x)
        torch.testing.assert_close(net.input(torch.tensor(pixels)), x, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(net.model(net.input(torch.tensor(pixels))), scores, rtol=1e-3, atol=1e-5)
    assert net.towers == 1 and len(net.classes) == 1000 and net.classes[217] == "English springer"
    assert [net.layer(name).weight.shape[0] for name in LAYERS] == [64, 192, 384, 256, 256, 4096, 4096, 1000]
    assert features.receptive_field(net.model, net.layer("conv2"))[:2] == (51, 8)


def test_another_checkpoint_is_refused_with_what_does_not_fit(vision_file, tmp_path):
    values = torch.load(vision_file, weights_only=True)
    values["classifier.6.weight"] = values["classifier.6.weight"][:10]
    values["extra"] = values.pop("features.0.bias")
    torch.save(values, tmp_path / "other.pth")
    with pytest.raises(
        ValueError, match=r"does not hold torchvision's alexnet: classifier\.6\.weight has shape \(10, "
    ):
        foreign.load(tmp_path / "other.pth")
