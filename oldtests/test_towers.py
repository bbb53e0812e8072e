"""The net on two devices: the same numbers as on one, the same checkpoints, and exactly the copies of the ledger."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from alexold import findings, rows, study, towers
from alexold.config import FIGURE1, PAPER, SOURCE2012
from alexold.data import Images
from alexold.nets import AlexNet, build, ledger
from alexold.optim import freeze_first_layer, make_optimizer
from alexold.tower_plots import colour_figure, tower_figure
from alexold.train import evaluate, fit, predict

SMALL = {"input": 64, "classes": 10, "width": 1 / 8}
CPUS = ("cpu", "cpu")
pytestmark = pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
GPUS = torch.cuda.device_count()
VARIANTS = {
    "paper": PAPER,
    "source2012": SOURCE2012,
    "no-cross-talk": SOURCE2012.replace(cross_talk=False),
    "no-conv1": SOURCE2012.replace(omit=(1,)),
    "no-conv2": SOURCE2012.replace(omit=(2,), dropout=0.0, fc_factor=0.5),
    "dropout-and-factor": PAPER.replace(dropout=0.25, fc_factor=2 / 3),
    "no-conv3": PAPER.replace(omit=(3,)),
    "no-conv3-4-5": PAPER.replace(omit=(3, 4, 5)),
    "no-fc6": PAPER.replace(omit=(6,)),
    "no-hidden-fc": PAPER.replace(omit=(6, 7)),
    "no-hidden-fc-no-cross-talk": PAPER.replace(omit=(6, 7), cross_talk=False),
    "lrn-numbers": PAPER.replace(lrn_n=3, lrn_k=1.0, lrn_alpha=1e-3, lrn_beta=0.6),
    "no-lrn": PAPER.replace(lrn=()),
    "lrn-everywhere": SOURCE2012.replace(lrn=(1, 2, 3, 4, 5), lrn_before_relu=(1, 2, 4), spatial_norm=(1, 2, 5)),
    "non-overlapping-tanh": PAPER.replace(overlapping=False, activation="tanh"),
}
VARIANTS = {name: spec.replace(**SMALL) for name, spec in VARIANTS.items()}
SPEC = VARIANTS["source2012"]


@pytest.fixture(autouse=True)
def one_thread():
    """Nets this small gain nothing from threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def both(spec, devices=CPUS, dtype=torch.float32):
    """The same net on one device and on two."""
    nets = []
    for where in (None, devices):
        torch.manual_seed(0)
        nets.append(build(spec, where).to(dtype))
    return nets


def pictures(n=4, dtype=torch.float32):
    torch.manual_seed(1)
    return (torch.randn(n, 3, 64, 64) * 60).to(dtype), torch.arange(n)


def gradients(net, x, labels, seed=2):
    """Scores, and the gradients of the loss by the names of the net on one device."""
    net.zero_grad(set_to_none=True)
    torch.manual_seed(seed)
    scores = net(x)
    F.cross_entropy(scores, labels).backward()
    return scores.detach(), towers._joined(net, {name: p.grad for name, p in net.named_parameters()})


def difference(a, b):
    """The largest difference of two tensors over the largest value."""
    return ((a.cpu() - b.cpu()).abs().max() / b.abs().max().cpu()).item()


def same(one, two, x, labels, tolerance):
    """Whether two nets put out the same scores and gradients."""
    (scores, wanted), (found_scores, found) = gradients(one, x, labels), gradients(two, x, labels)
    assert scores.abs().max() > 0 and difference(found_scores, scores) < tolerance
    assert found.keys() == wanted.keys() == one.state_dict().keys()
    for name, grad in wanted.items():
        assert grad.abs().max() > 0 and found[name].shape == grad.shape
        assert difference(found[name], grad) < tolerance, name


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("name", VARIANTS)
def test_scores_and_gradients_are_those_of_one_device(name, dtype, tolerance, mode):
    """In training too: with one generator both layouts drop the same units."""
    one, two = both(VARIANTS[name], dtype=dtype)
    same(getattr(one, mode)(), getattr(two, mode)(), *pictures(dtype=dtype), tolerance)


def test_without_dropout_training_is_the_same_whatever_the_generator_does():
    one, two = both(SPEC.replace(dropout=0.0))
    x, labels = pictures()
    (_, wanted), (_, found) = gradients(one, x, labels), gradients(two, x, labels, seed=3)
    assert all(difference(found[name], grad) < 1e-5 for name, grad in wanted.items())


def test_dropout_drops_half_of_the_units_of_each_tower_and_not_the_same():
    stage = AlexNet(SPEC, CPUS).dropout6
    torch.manual_seed(0)
    a, b = stage((torch.ones(50, 256), torch.ones(50, 256)))
    assert abs(a.mean() - 0.5) < 0.02 and abs(b.mean() - 0.5) < 0.02 and abs((a == b).float().mean() - 0.5) < 0.02
    assert all(torch.equal(half, torch.full((2, 3), 0.5)) for half in stage.eval()((torch.ones(2, 3),) * 2))


def test_each_device_draws_for_the_whole_layer_and_keeps_its_half():
    """As on two GPUs with the same seed; here a device that never draws stands for the second."""
    stage = AlexNet(SPEC, ("cpu", "meta")).dropout6
    torch.manual_seed(0)
    a, b = stage((torch.ones(3, 256), torch.ones(3, 256, device="meta")))
    torch.manual_seed(0)
    assert torch.equal(a, torch.empty(3, 512).bernoulli_(0.5)[:, :256]) and b.is_meta and b.shape == (3, 256)


@pytest.mark.parametrize("name", ["paper", "no-cross-talk", "no-fc6"])
def test_state_dicts_and_initial_values_are_those_of_one_device(name):
    one, two = both(VARIANTS[name])
    mine, theirs = one.state_dict(), two.state_dict()
    assert list(mine) == list(theirs) and all(torch.equal(mine[key], theirs[key]) for key in mine)
    torch.manual_seed(5)
    one, x = AlexNet(VARIANTS[name]), pictures()[0]
    two.load_state_dict(one.state_dict())
    assert difference(two.eval()(x), one.eval()(x)) < 1e-5
    again = AlexNet(VARIANTS[name])
    again.load_state_dict(two.state_dict())
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in one.state_dict().items())


def test_random_numbers_go_on_as_after_the_net_on_one_device():
    after = []
    for devices in (None, CPUS):
        torch.manual_seed(0)
        AlexNet(SPEC, devices)
        after.append(torch.rand(1))
    assert after[0] == after[1]


def test_state_dicts_of_other_nets_are_refused():
    two = AlexNet(SPEC, CPUS)
    state = AlexNet(SPEC).state_dict()
    with pytest.raises(RuntimeError, match="size mismatch for conv2"):
        two.load_state_dict(AlexNet(SPEC.replace(kernels=(96, 128, 384, 384, 256))).state_dict())
    with pytest.raises(RuntimeError, match=r"Missing key.*fc7"):
        two.load_state_dict({key: value for key, value in state.items() if key != "fc7.bias"})
    with pytest.raises(RuntimeError, match=r"Unexpected key.*fc9"):
        two.load_state_dict(state | {"fc9.weight": state["fc8.weight"]})


def test_each_device_holds_its_tower():
    net = AlexNet(PAPER.replace(**SMALL), ("cpu", "meta"))
    on = {kind: sum(p.numel() for p in net.parameters() if p.device.type == kind) for kind in ("cpu", "meta")}
    assert on["cpu"] - 10 == on["meta"] and sum(on.values()) == sum(p.numel() for p in AlexNet(net.net).parameters())
    assert [tuple(half.weight.shape) for half in net.conv3] == [(24, 32, 3, 3)] * 2
    assert [tuple(half.weight.shape) for half in net.conv4] == [(24, 24, 3, 3)] * 2
    assert [half.weight.shape[0] for half in net.fc7] == [256, 256]


def test_the_net_stays_on_its_devices():
    net = AlexNet(SPEC, ("cpu", "meta")).to_empty(device="cpu").to(memory_format=torch.channels_last).double()
    assert all([half.weight.device.type for half in net.get_submodule(f"conv{i}")] == ["cpu", "meta"] for i in (1, 3))
    assert net.conv2[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert {p.dtype for p in net.parameters()} == {torch.float64}


def test_devices_that_do_not_serve_are_refused():
    with pytest.raises(ValueError, match=r"device 'cuda:77' is not there: valid ones here: cpu"):
        AlexNet(SPEC, ("cpu", "cuda:77"))
    with pytest.raises(ValueError, match="towers=1"):
        AlexNet(SPEC.replace(towers=1), CPUS)
    for devices in (("cpu",), ("cpu",) * 3, "cpu"):
        with pytest.raises(ValueError, match="expected two"):
            AlexNet(SPEC, devices)
    with pytest.raises(ValueError, match="no towers"):
        build(FIGURE1, CPUS)
    with pytest.raises(ValueError, match="device 'cuda:77' is not there"):
        study.pick_device("cpu,cuda:77")
    assert study.pick_device("cpu,cpu") == "cpu,cpu"


@pytest.fixture
def sent(monkeypatch):
    """(source, target, bytes) of all that crosses, in order; what comes back from `meta` is zeros."""
    log, send = [], towers.send

    def recorded(x, device):
        log.append((x.device.type, device.type, x.numel() * x.element_size()))
        return torch.zeros(x.shape, dtype=x.dtype) if x.is_meta and device.type == "cpu" else send(x, device)

    monkeypatch.setattr(towers, "send", recorded)
    return log


def counted(net, sent, precision):
    """Bytes a picture that cross forward and backward in one step."""
    x, labels = pictures()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        loss = F.cross_entropy(net(x).float(), labels)
    forward = sum(size for *_, size in sent)
    loss.backward()
    return forward // len(x), (sum(size for *_, size in sent) - forward) // len(x)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", VARIANTS)
def test_the_ledger_counts_what_crosses(name, precision, sent):
    spec = VARIANTS[name].replace(precision=precision)
    found = counted(AlexNet(spec, CPUS), sent, precision)
    rows = ledger(spec)
    assert found == (sum(row["forward"] for row in rows), sum(row["backward"] for row in rows)) and found[1] > 0


def test_the_papers_ledger_by_hand():
    values = {"pictures": 224 * 224 * 3, "conv3": 13 * 13 * 256, "fc6": 6 * 6 * 256, "fc7": 4096, "fc8": 1000}
    assert {row["layer"]: row["values"] for row in ledger(PAPER)} == values
    half, full = ledger(PAPER), ledger(PAPER.net)
    assert [row["forward"] for row in half] == [602_112, 86_528, 18_432, 8_192, 2_000]
    assert [row["backward"] for row in half] == [0, 86_528, 18_432, 8_192, 2_000]
    assert [row["forward"] for row in full] == [602_112, 173_056, 36_864, 16_384, 4_000]
    assert [row["layer"] for row in ledger(PAPER.replace(cross_talk=False))] == ["pictures", "fc8"]
    assert [row["layer"] for row in ledger(PAPER.replace(omit=(3,)))][1] == "conv4"


def test_what_crosses_goes_to_the_other_device_and_back(sent):
    net = AlexNet(PAPER.replace(**SMALL), ("cpu", "meta"))
    net(pictures()[0]).sum().backward()
    ways = [way for *way, _ in sent]
    there, back = ["cpu", "meta"], ["meta", "cpu"]
    assert ways[:8] == [there, there, back, there, back, there, back, back]  # pictures, conv3, fc6, fc7, fc8
    assert sorted(ways[8:]) == sorted([there, there, back, there, back, there, back])
    assert ways[8] == there and sent[8][2] == sent[7][2]  # first fc8's gradient


class Watched(TorchDispatchMode):
    """What would make the host wait, and how data are sent from device to device."""

    def __init__(self):
        super().__init__()
        self.waits, self.copies = [], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, str(function)
        if "_local_scalar_dense" in name or "nonzero" in name or "item" in name:
            self.waits.append(name)
        if "_to_copy" in name and kwargs.get("device") is not None:
            self.copies.append(kwargs.get("non_blocking", False))
        return function(*args, **kwargs)


@pytest.mark.parametrize("name", ["paper", "source2012", "no-cross-talk"])
def test_nobody_waits_and_every_copy_is_sent(name, sent):
    net, x = AlexNet(VARIANTS[name], ("meta", "meta")), torch.empty(4, 3, 64, 64, device="meta")
    with Watched() as watched:
        net(x).sum().backward()
    assert watched.waits == [] and watched.copies == [True] * len(sent) and len(sent) > 2


@pytest.mark.skipif(not GPUS, reason="needs a GPU")
def test_nobody_waits_for_a_gpu():
    pair = ("cuda:0", f"cuda:{GPUS - 1}")
    net = AlexNet(SPEC, pair).to("cuda:0", memory_format=torch.channels_last)
    x, labels = (t.to(pair[0]) for t in pictures())
    gradients(net, x, labels)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        F.cross_entropy(net(x), labels).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not GPUS, reason="needs a GPU")
@pytest.mark.parametrize(
    "pair", [("cuda:0", "cpu"), ("cpu", "cuda:0"), ("cuda:0", f"cuda:{max(GPUS - 1, 0)}")], ids=str
)
def test_gpus_compute_the_same(pair):
    one, two = both(SPEC, pair, torch.float64)
    x, labels = pictures(dtype=torch.float64)
    (scores, wanted), (found_scores, found) = (
        gradients(net.eval(), x.to(where), labels.to(where)) for net, where in ((one, "cpu"), (two, pair[0]))
    )
    assert difference(found_scores, scores) < 1e-10
    assert all(difference(found[name], grad) < 1e-10 for name, grad in wanted.items())
    with torch.autocast(torch.device(pair[0]).type, torch.bfloat16):
        assert difference(two.float()(x.float().to(pair[0])).double(), scores) < 0.05


def test_bf16_is_close_to_one_device():
    one, two = both(SPEC)
    with torch.autocast("cpu", torch.bfloat16):
        x, _ = pictures()
        assert difference(two.eval()(x).float(), one.eval()(x).float()) < 0.02


TINY = SPEC.replace(
    width=1 / 16, classes=3, batch=8, epochs=3, validation=0.2, precision="fp32", conv1_freeze=2 / 3, lr=0.003
)


def images(n=40, split="train"):
    """Noise with stripes whose direction tells the class."""
    rng = np.random.default_rng(n)
    labels = np.arange(n) % 3
    y, x = np.mgrid[:72, :72] / 4
    waves = np.stack([np.sin(x), np.sin(y), np.sin(x + y)])[labels][..., None]
    pixels = (128 + 70 * waves + rng.normal(0, 20, (n, 72, 72, 3))).clip(0, 255).astype(np.uint8)
    mean = pixels.mean(0, dtype=np.float64).astype(np.float32)
    values, vectors = np.linalg.eigh(np.cov(pixels.reshape(-1, 3).T.astype(np.float64)))
    return Images(pixels, labels, tuple("abc"), mean, values, vectors, "stripes", split, f"{split}-{n}")


def fitted(devices, spec=TINY, **kwargs):
    torch.manual_seed(0)
    model = build(spec, devices)
    return model, fit(model, images(), images(9, "val"), spec, **kwargs)


def close(history, other):
    return all(
        row[key] == pytest.approx(wanted[key], rel=1e-4)
        for row, wanted in zip(history, other, strict=True)
        for key in ("lr", "bias_lr", "train_loss", "train_top1", "val_loss", "val_top1")
    )


@pytest.mark.parametrize("changes", [{"dropout": 0.0}, {}, {"conv_decay": False, "momentum": 0.0}], ids=str)
def test_training_takes_the_same_path(changes):
    (one, wanted), (two, found) = (fitted(devices, TINY.replace(**changes)) for devices in (None, CPUS))
    assert close(found, wanted) and wanted[0]["train_loss"] != wanted[-1]["train_loss"]
    state = two.state_dict()
    assert all(difference(state[key], value) < 1e-4 for key, value in one.state_dict().items())
    np.testing.assert_allclose(predict(two, images(9), TINY), predict(one, images(9), TINY), rtol=1e-3)
    assert evaluate(two, images(9), TINY, views="ten")["n"] == 9


def test_both_halves_of_conv1_are_frozen():
    net = AlexNet(SPEC, CPUS)
    freeze_first_layer(net, True)
    assert [half.weight.requires_grad for half in (*net.conv1, *net.conv2)] == [False, False, True, True]


def test_optimizer_groups_hold_the_parameters_of_both_devices():
    net = AlexNet(SPEC, CPUS)
    weights, biases, conv = make_optimizer(net, SPEC.replace(conv_decay=False).train).param_groups
    assert [len(group["params"]) for group in (weights, biases, conv)] == [6, 15, 10]


@pytest.mark.parametrize(("first", "then"), [(None, CPUS), (CPUS, None), (CPUS, CPUS)], ids=str)
@pytest.mark.parametrize("conv_decay", [True, False])
def test_a_run_goes_on_in_the_other_layout(first, then, conv_decay, tmp_path):
    spec = TINY.replace(conv_decay=conv_decay)
    _, wanted = fitted(None, spec)
    fitted(first, spec, folder=tmp_path, finish=1)
    _, history = fitted(then, spec, folder=tmp_path)
    assert close(history, wanted)


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_the_optimizers_state_is_written_as_on_one_device(momentum):
    states = []
    for net in both(SPEC):
        optimizer = make_optimizer(net, SPEC.replace(momentum=momentum).train)
        gradients(net.eval(), *pictures())
        optimizer.step()
        states.append(towers.whole_optimizer(net, optimizer))
    one, two = states
    assert one["param_groups"] == two["param_groups"] and one["state"].keys() == two["state"].keys()
    assert len(one["state"]) == (16 if momentum else 0)
    for key, state in one["state"].items():
        assert difference(two["state"][key]["momentum_buffer"], state["momentum_buffer"]) < 1e-5


def test_one_device_writes_what_torch_does():
    net = AlexNet(SPEC)
    optimizer = make_optimizer(net, SPEC.train)
    gradients(net, *pictures())
    optimizer.step()
    found, wanted = towers.whole_optimizer(net, optimizer), optimizer.state_dict()
    assert found["param_groups"] == wanted["param_groups"] and found["state"].keys() == wanted["state"].keys()
    assert all(found["state"][i]["momentum_buffer"] is wanted["state"][i]["momentum_buffer"] for i in wanted["state"])


def test_a_study_runs_on_two_devices(monkeypatch, tmp_path):
    monkeypatch.setenv("ALEXLIB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ALEXLIB_REPORTS", str(tmp_path / "reports"))
    spec, test = TINY.replace(epochs=2), images(9, "test")
    run = study.run("towers", "two", spec, "sample", images(), test, device="cpu,cpu")
    assert isinstance(run.model.conv1, towers.Pair) and run.row["device"].count(" threads") == 1
    again = study.opened("towers", "two", spec, "sample", images(), test)
    assert again.model.devices is None and not again.trained_now
    state = run.model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in again.model.state_dict().items())


def test_colourfulness_of_kernels_made_by_hand():
    pattern = torch.randn(11, 11, generator=torch.Generator().manual_seed(0))
    grey, red = pattern.expand(3, 11, 11), torch.stack([pattern, 0 * pattern, 0 * pattern])
    opponent = torch.stack([pattern, -pattern, 0 * pattern])
    kernels = torch.stack([grey, 5 * grey, red, -red, opponent, 0 * grey, grey + opponent])
    # energies: grey 3, red 1 of which 1/3 is grey, opponent 2 of which nothing is, their sum 3 + 2
    expected = torch.tensor([0, 0, 2 / 3, 2 / 3, 1, 0, 2 / 5], dtype=torch.float64)
    torch.testing.assert_close(towers.colourfulness(kernels), expected, atol=1e-6, rtol=0)


def test_colour_of_towers_against_all_divisions():
    """A net of 12 kernels: all 924 divisions in halves are the oracle for the drawn ones."""
    torch.manual_seed(0)
    model = AlexNet(PAPER.replace(width=0.125).net)
    with torch.no_grad():
        second = model.conv1.weight[6:]
        second.copy_(0.1 * second.mean(1, keepdim=True) + 0.9 * second)  # a little towards grey
    values = towers.colourfulness(model.conv1.weight).numpy()
    gap = abs(values[:6].mean() - values[6:].mean())
    halves = [values[list(half)].sum() for half in itertools.combinations(range(12), 6)]
    exact = np.mean([abs(2 * half - values.sum()) / 6 >= gap - 1e-12 for half in halves])
    found = towers.colour(model)["colour"]
    assert found["means"] == pytest.approx([values[:6].mean(), values[6:].mean()])
    assert found["p"] == pytest.approx(exact, abs=0.01) and 0.1 < exact < 0.3
    with torch.no_grad():
        second.copy_(0.3 * second.mean(1, keepdim=True) + 0.7 * second)
    assert towers.colour(model)["colour"]["p"] < 0.01
    assert towers.colour(AlexNet(PAPER.replace(width=0.125).net))["colour"]["p"] > 0.05
    assert towers.colour(AlexNet(PAPER.replace(width=0.125).net, CPUS))["colour"].keys() == {"means", "p"}
    assert towers.colour(AlexNet(PAPER.replace(width=0.125, towers=1).net)) == towers.colour(torch.nn.ReLU()) == {}


def test_colours_of_the_runs_on_record(monkeypatch, tmp_path):
    monkeypatch.setenv("ALEXLIB_REPORTS", str(tmp_path))
    monkeypatch.setattr(rows, "evidence", list)
    about = {"scale": "imagenette", "variant": "baseline", "history": [{"step": 700}]}
    for study_, seed, more in (
        ("04_train", 1, {"colour": {"means": [0.1, 0.4], "p": 0.001}}),
        ("01_augmentation", 0, {"colour": {"means": [0.3, 0.2], "p": 0.2}}),
        ("01_augmentation", 1, {}),  # of one tower
    ):
        rows.append(about | {"study": study_, "seed": seed} | more)
    found = findings.colours("imagenette")
    assert found == [
        {"run": "01 baseline, seed 0", "updates": 700, "tower 1": 0.3, "tower 2": 0.2, "p": 0.2},
        {"run": "04 baseline, seed 1", "updates": 700, "tower 1": 0.1, "tower 2": 0.4, "p": 0.001},
    ]
    (axis,) = colour_figure(found).axes
    assert "differ (p < .05) in 1 of 2 runs of at most 700 updates" in axis.get_title("left")
    assert sorted(float(dot.get_offsets()[0][0]) for dot in axis.collections) == [0.1, 0.2, 0.3, 0.4]


def test_figure_shows_shapes_and_bytes():
    figure = tower_figure(PAPER)
    texts = " ".join(text.get_text() for text in figure.axes[0].texts)
    for wanted in (
        "55×55×48",
        "13×13×192",
        "6×6×128",
        "2048",
        "1000",
        "43.3 kB",
        "9.2 kB",
        "4.1 kB",
        "2.0 kB",
        "602.1 kB",
    ):
        assert wanted in texts, wanted
    assert "43.3 kB" not in " ".join(t.get_text() for t in tower_figure(PAPER.replace(cross_talk=False)).axes[0].texts)
    with pytest.raises(ValueError, match="towers=1"):
        tower_figure(PAPER.replace(towers=1))
