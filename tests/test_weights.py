"""Weights in and out: runs without their images, files that others made, files for others."""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from safetensors.torch import save_file
from test_runs import TEST, TINY, TRAIN, Job, folders, runs  # noqa: F401
from torch import nn

import alexlib
from alexlib import foreign, weights
from alexlib.config import SOURCE2012
from alexlib.models import build
from alexlib.paper import IMAGENET_CLASSES
from alexlib.weights import MEAN, MODEL, Trained, load

SMALL = SOURCE2012.replace(input=64, classes=3, width=1 / 16, precision="fp32")
JOB = Job("99_try", "baseline", TINY.replace(precision="fp32"), "cifar10")


def trained(config=SMALL, devices=None):
    """A net with random weights, as of a run, on one device or divided."""
    torch.manual_seed(0)
    size, classes = config.net.input, tuple("abcdefgh"[: config.net.classes])
    mean = np.random.default_rng(0).uniform(0, 255, (size, size, 3)).astype(np.float32)
    images = SimpleNamespace(classes=classes, ids=(), side=size, mean=mean)
    with TemporaryDirectory() as folder:
        weights.describe(Path(folder), {"config": config.as_dict()}, images)
        weights.save_model(Path(folder), build(config, devices))
        return load(folder)


def noise(n, side):
    return torch.randint(256, (n, side, side, 3), dtype=torch.uint8).numpy()


# ---- runs ----------------------------------------------------------------------------------------


def test_a_finished_run_predicts_without_its_images(folders, monkeypatch):  # noqa: F811
    run = runs.run(JOB, TRAIN, TEST)
    moved = shutil.copytree(run.folder, folders / "elsewhere")
    for name in ("checkpoint.pt", "checkpoint.before.pt"):
        (moved / name).unlink()
    monkeypatch.chdir(folders)
    for source in (run.folder.name, run.folder / MODEL, "elsewhere", moved / MODEL):
        net = alexlib.load(source)
        found = net.predict(TEST.gather(slice(None)))
        np.testing.assert_allclose(found, run.probabilities["centre"], atol=2e-3)
        assert net.classes == TRAIN.classes and (net.side, net.precision) == (28, "fp32")


def test_a_run_that_lacks_a_file_says_which_and_gets_it(folders):  # noqa: F811
    run = runs.run(JOB, TRAIN, TEST)
    (run.folder / MODEL).unlink()
    kept = load(run.folder)  # as a run that goes on: from its checkpoint
    assert torch.equal(kept.model.conv1.weight, run.model.conv1.weight)
    (run.folder / MEAN).unlink()
    with pytest.raises(FileNotFoundError, match=MEAN):
        load(run.folder)
    assert not runs.run(JOB, TRAIN, TEST).trained_now
    assert (run.folder / MODEL).exists() and load(run.folder).classes == TRAIN.classes


@pytest.mark.parametrize("config", [TINY, SMALL], ids=["cifar", "alexnet"])
def test_images_may_be_files_images_or_pixels(tmp_path, config):
    net = trained(config)
    pixels = noise(2, net.side)
    images = [Image.fromarray(array) for array in pixels]
    images[0].save(file := tmp_path / "a.png")
    expected = net.predict(pixels)
    np.testing.assert_allclose(expected.sum(1), 1, rtol=1e-5)
    for given in ([file, images[1]], images):
        np.testing.assert_array_equal(net.predict(given), expected)
    np.testing.assert_allclose(net.predict(str(file)), expected[:1], rtol=1e-5)
    with torch.no_grad():
        net.model.conv1.weight[:] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        net.predict(pixels)


# ---- files that others made ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def vision():
    torch.manual_seed(0)
    return torchvision.models.alexnet(num_classes=7).eval()


class Settings:
    """An object of a training script, which is not there when its checkpoint is read."""


def named(state, before="", inside=""):
    """A state dict whose names have something before them and inside of them."""
    return {before + k.replace(".", f".{inside}", 1): v for k, v in state.items()}


@pytest.mark.parametrize(
    "made",
    [
        lambda s: s,
        lambda s: {"epoch": 9, "best": torch.ones(1), "state_dict": named(s, inside="module.")},
        lambda s: {"model": s, "args": argparse.Namespace(lr=0.1), "error": np.float64(1)},
        lambda s: {"model": s, "model_ema": {"n": torch.ones(1)} | named(s, "module.")},
        lambda s: {"model_state_dict": named(s, "module._orig_mod."), "other": Settings()},
        lambda s: {"state_dict": named(s, "model.") | {"loss.weight": torch.ones(7)}},
        lambda s: named({name: value.half() for name, value in s.items()}, "net."),
    ],
    ids=["alone", "examples", "references", "average", "compiled", "lightning", "half"],
)
def test_checkpoints_of_usual_training_scripts_are_read(tmp_path, vision, made):
    torch.save(made(vision.state_dict()), tmp_path / "w.pth.tar")
    net = load(tmp_path / "w.pth.tar")
    assert net.classes == tuple(f"class {i}" for i in range(7)) and net.ids == ()
    state, near = vision.state_dict(), {"rtol": 1e-3, "atol": 1e-6}
    torch.testing.assert_close(net.model.fc8.weight, state["classifier.6.weight"], **near)
    torch.testing.assert_close(net.model.conv2.bias, state["features.3.bias"], **near)


def test_torchvisions_net_computes_what_torchvision_does(tmp_path, vision):
    save_file(vision.state_dict(), tmp_path / "blob")
    (tmp_path / "w.safetensors").symlink_to(tmp_path / "blob")  # as in the cache of Hugging Face
    net = load(tmp_path / "w.safetensors", classes="abcdefg")
    pixels = torch.tensor(noise(2, 256))
    transforms = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.transforms()
    x = torch.stack([transforms(image.permute(2, 0, 1)) for image in pixels])
    torch.testing.assert_close(net.input(pixels), x, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="224 pixels"):
        net.predict(pixels[:, :200, :200])
    with torch.no_grad():
        expected = vision(x).softmax(1)
    np.testing.assert_allclose(net.predict(pixels), expected, rtol=1e-3)
    assert net.model.conv2.weight.shape == (192, 64, 5, 5) and net.classes == tuple("abcdefg")
    with pytest.raises(ValueError, match="7 classes"):
        load(tmp_path / "w.safetensors", classes="ab")


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda s: {"conv1.weight": torch.ones(1)}, "has conv1.weight: expected"),
        (lambda s: {"epoch": 1, "weights": None}, "has epoch, weights: expected"),
        (lambda s: named(s, "teacher.") | named(s, "student."), r"has teacher\..* and 24 more"),
        (lambda s: s | {"features.0.weight": torch.ones(8, 3, 11, 11)}, "has features.0.weight"),
        (lambda s: [1], "has one list"),
        (lambda s: nn.ReLU(), "has one torch.nn.modules.activation.ReLU"),
        (None, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, vision, made, says):
    file = tmp_path / "w.pth"
    file.write_text("<html>not found") if made is None else torch.save(
        made(vision.state_dict()), file
    )
    with pytest.raises(ValueError, match=says):
        load(file)
    with pytest.raises(FileNotFoundError, match="nothing"):
        load("nothing")
    with pytest.raises(ValueError, match=r"no config\.json"):
        load(tmp_path)


def test_caffes_net_computes_what_its_layers_do(tmp_path):
    """bvlcalexnet, 1/16 as wide, for 99 pixels, with random weights, as the Model Zoo stores it."""
    onnx = pytest.importorskip("onnx")
    shapes = [(6, 3, 11, 11), (16, 3, 5, 5), (24, 16, 3, 3), (24, 12, 3, 3), (16, 12, 3, 3)]
    shapes += [(256, 64), (256, 256), (7, 256)]
    w = [torch.randn(shape) * 1.5 / np.prod(shape[1:]) ** 0.5 for shape in shapes]
    b = [torch.randn(len(weights)) / 10 for weights in w]
    nodes, arrays = [], []
    for i, pair in enumerate(zip(w, b, strict=True)):
        names = [f"w{i}", f"b{i}"]
        kind = "Conv" if i < 5 else "Gemm"
        nodes += [onnx.helper.make_node(kind, ["x", *names], ["x"])]
        nodes += [onnx.helper.make_node("Relu", ["x"], ["x"])]
        arrays += map(onnx.numpy_helper.from_array, [x.numpy() for x in pair], names)
    graph = onnx.helper.make_graph(nodes, "alexnet", [], [], arrays)
    onnx.save(onnx.helper.make_model(graph), tmp_path / "made.onnx")

    def norm_and_pool(x):
        return F.max_pool2d(F.local_response_norm(x, 5, 1e-4, 0.75, 1.0), 3, 2)

    x = 60 * torch.randn(3, 3, 99, 99)  # red, green, blue; the file wants blue first
    y = norm_and_pool(F.conv2d(x.flip(1), w[0], b[0], 4).relu())
    y = norm_and_pool(F.conv2d(y, w[1], b[1], padding=2, groups=2).relu())
    for i, groups in ((2, 1), (3, 2), (4, 2)):
        y = F.conv2d(y, w[i], b[i], padding=1, groups=groups).relu()
    y = F.linear(F.max_pool2d(y, 3, 2).flatten(1), w[5], b[5]).relu()
    expected = F.linear(F.linear(y, w[6], b[6]).relu(), w[7], b[7])
    config = foreign.CAFFE.replace(input=99, width=1 / 16, classes=7)
    with torch.no_grad():
        found = foreign.caffe(tmp_path / "made.onnx", config)["model"](x)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())
    assert expected.std() > 0.01
    with pytest.raises(ValueError, match="has the operators Conv, Relu, Conv"):
        load(tmp_path / "made.onnx")  # of another width


# ---- classes -------------------------------------------------------------------------------------


def test_the_classes_of_imagenet_are_those_of_torchvision_in_the_order_of_their_ids():
    names = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.meta["categories"]
    pairs = zip(IMAGENET_CLASSES.values(), names, strict=True)
    differ = [name for name, theirs in pairs if name != theirs]
    assert [name.split(" (")[0] for name in differ] == ["crane"] * 2 + ["maillot"] * 2
    assert list(IMAGENET_CLASSES) == sorted(IMAGENET_CLASSES)
    assert len(set(IMAGENET_CLASSES.values())) == 1000
    for wnid, (name, *_) in torchvision.datasets.Imagenette._WNID_TO_CLASS.items():
        assert IMAGENET_CLASSES[wnid] == name


@pytest.mark.parametrize(
    ("classes", "ids", "expected"),
    [
        (["n02086240", "n01440764"], (), [155, 0]),
        (["one", "two"], ("n02012849", "n03126707-crane"), [134, 517]),
        (["tench, Tinca tinca", "Great_White_Shark"], (), [0, 2]),
        (["crane", "155"], (), [-1, -1]),  # a bird or a machine; a number is no name
        (["dog", "class 1"], ("dog", "class 1"), [-1, -1]),
    ],
)
def test_classes_are_matched_by_wordnet_id_or_by_name(classes, ids, expected):
    images = SimpleNamespace(classes=tuple(classes), ids=ids)
    net = SimpleNamespace(classes=tuple(IMAGENET_CLASSES.values()), ids=tuple(IMAGENET_CLASSES))
    assert weights.match(net, images).tolist() == expected
    own = SimpleNamespace(classes=tuple(classes)[::-1], ids=())
    by_name = weights.match(own, SimpleNamespace(classes=tuple(classes), ids=()))
    assert by_name.tolist() == [1, 0]
    twice = SimpleNamespace(classes=(classes[0],) * 2, ids=())
    assert weights.match(twice, images).tolist() == [-1, -1]


# ---- files for others ----------------------------------------------------------------------------


def plain(size, net):
    """The net of SMALL in torch's own modules, by the table in docs/fidelity.md."""

    def halves(norm):  # one for each tower
        return lambda x: torch.cat([norm(part) for part in x.chunk(2, 1)], 1)

    lrn, spatial = net.lrn_n * net.lrn_alpha, 25 * net.spatial_alpha
    norm = halves(nn.LocalResponseNorm(net.lrn_n, lrn, net.lrn_beta, net.lrn_k))
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)

    def over_positions(x):
        return x / (1 + spatial * F.avg_pool2d(x**2, 5, 1, 2)) ** 0.75

    def forward(state, x):
        def conv(i, x, **options):
            return F.conv2d(x, state[f"conv{i}.weight"], state[f"conv{i}.bias"], **options)

        def fc(i, x):
            return F.linear(x, state[f"fc{i}.weight"], state[f"fc{i}.bias"])

        edge = -(size - 11) % 4
        x = pool(norm(conv(1, F.pad(x, (0, edge, 0, edge)), stride=4))).relu()
        x = pool(over_positions(norm(conv(2, x, padding=2, groups=2).relu())))
        x = conv(3, x, padding=1).relu()
        x = conv(4, x, padding=1, groups=2).relu()
        x = pool(conv(5, x, padding=1, groups=2).relu()).flatten(1)
        return fc(8, fc(7, fc(6, x).relu()).relu())  # nn.Dropout changes nothing in testing

    return forward


@pytest.mark.parametrize("devices", [None, ("cpu", "cpu")], ids=["one device", "two"])
def test_a_state_dict_fits_torchs_own_modules(tmp_path, devices):
    net, pixels = trained(devices=devices), noise(4, 64)
    for name in ("w.pth", "w.safetensors"):
        assert "16 tensors" in foreign.export(net, tmp_path / name)
    state = torch.load(tmp_path / "w.pth", weights_only=True)
    x = (torch.tensor(pixels) - net.mean).permute(0, 3, 1, 2)
    found = plain(64, net.model.net)(state, x).softmax(1)
    np.testing.assert_allclose(found, net.predict(pixels), rtol=1e-4)
    with pytest.raises(ValueError, match="must end in"):
        foreign.export(net, tmp_path / "w.txt")


@pytest.mark.parametrize("config", [SMALL, SMALL.replace(cross_talk=False), TINY])
def test_onnxruntime_computes_what_the_net_does(tmp_path, config):
    runtime = pytest.importorskip("onnxruntime")
    net, pixels = trained(config), noise(5, config.net.input)
    assert "at most" in foreign.export(net, tmp_path / "w.onnx")
    session = runtime.InferenceSession(tmp_path / "w.onnx")
    (found,) = session.run(None, {"pixels": pixels.transpose(0, 3, 1, 2).astype(np.float32)})
    np.testing.assert_allclose(found, net.predict(pixels), rtol=1e-4)
    assert '"a", "b"' in session.get_modelmeta().custom_metadata_map["classes"]


def test_an_export_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(Trained, "predict", lambda *_: np.zeros((3, 3)))
    with pytest.raises(ArithmeticError, match="differ"):
        foreign.export(trained(), tmp_path / "w.onnx")
    assert not list(tmp_path.iterdir())


# ---- starting from weights -----------------------------------------------------------------------


def test_a_net_that_starts_from_another_computes_the_same(folders, capsys):  # noqa: F811
    wide = TINY.replace(precision="fp32", epochs=0)
    first = runs.run(Job("99_try", "first", wide, "cifar10"), TRAIN, TEST)
    second = Job("99_try", "second", wide, "cifar10", 1, weights.identity(first.folder))
    started = runs.run(second, TRAIN, TEST)
    assert "not copied: nothing" in capsys.readouterr().out
    assert (started.probabilities["centre"] == first.probabilities["centre"]).all()
    assert "weights" not in first.row and started.row["weights"].startswith(str(first.folder))
    assert Job.of(started.row).weights == started.row["weights"]


def test_layers_that_do_not_fit_are_new_and_dropout_is_reckoned_with(capsys, tmp_path, folders):  # noqa: F811
    config = SMALL.replace(dropout=0.0)
    source = Trained(trained(config).model, torch.zeros(64, 64, 3), tuple("abc"), "", std=2.0)
    state = foreign.plain_state(source)
    folder = tmp_path / "runs" / "r"
    images = SimpleNamespace(classes=tuple("abc"), ids=(), side=64, mean=np.zeros((64, 64, 3)))
    weights.describe(folder, {"config": config.as_dict()}, images)
    weights.save_model(folder, source.model)
    model = build(SMALL.replace(classes=5), ("cpu", "cpu"))
    weights.start_from(weights.identity(folder), model, SMALL.replace(classes=5))
    assert "fc8 ([3, 256] there, [5, 256] here)" in capsys.readouterr().out
    found = model.state_dict()
    torch.testing.assert_close(found["fc7.weight"] / 2, state["fc7.weight"])
    torch.testing.assert_close(found["conv1.weight"], 2 * state["conv1.weight"])

    given = weights.identity(folder)
    with pytest.raises(ValueError, match="no layer"):
        weights.start_from(given, build(TINY), TINY)
    weights.save_model(folder, build(config))
    with pytest.raises(ValueError, match="not the same"):
        weights.start_from(given, model, SMALL)


def test_a_run_from_weights_has_a_name_of_its_own(folders):  # noqa: F811
    run = runs.run(JOB, TRAIN, TEST)
    fields = {"width": 1 / 16, "epochs": 0}
    jobs = [Job.training("paper", "sample", 0, w, **fields) for w in ("", run.folder.name)]
    assert jobs[1].variant == f"{jobs[0].variant}+weights={run.folder.name}"[:120]
    assert "weights" not in jobs[0].as_dict() and jobs[1].weights == jobs[1].as_dict()["weights"]
    same = [replace(jobs[0], weights=w) for w in ("", "w.pth sha256:1", "w.pth sha256:2")]
    assert len({runs.run_name(job, TRAIN.fingerprint) for job in same}) == 3
