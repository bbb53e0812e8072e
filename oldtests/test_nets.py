"""The architecture: the numbers of the paper, what each tower sees, initial values, and that every knob is wired."""

import pytest
import torch
from torch import nn

from alexold import paper
from alexold.config import ONE_GPU, PAPER, SOURCE2012
from alexold.layers import Dropout, LocalResponseNorm, SpatialResponseNorm
from alexold.nets import AlexNet, trace, trace_text

SMALL = {"input": 64, "classes": 5, "width": 1 / 16}  # 6 + 6 kernels in conv1


def totals(spec):
    rows = trace(spec)
    return {key: sum(r[key] for r in rows) for key in ("neurons", "parameters", "macs")}


@pytest.mark.parametrize("spec", [PAPER, SOURCE2012], ids=lambda s: s.name)
def test_layers_are_the_papers(spec):
    rows = {r["stage"]: r for r in trace(spec)}
    for layer in paper.LAYERS:
        row = rows[layer.name]
        assert row["neurons"] == layer.neurons
        assert row["parameters"] == layer.parameters
        assert row["macs"] == layer.macs
    assert totals(spec) == {"neurons": 659_272, "parameters": 60_965_224, "macs": 724_406_816}


def test_built_net_has_60_965_224_parameters():
    with torch.device("meta"):
        net = AlexNet(PAPER)
    assert sum(p.numel() for p in net.parameters()) == 60_965_224
    assert [tuple(m.weight.shape) for m in net if hasattr(m, "weight")] == [x.weight_shape for x in paper.LAYERS]


def test_other_nets_of_the_record():
    one_tower = totals(PAPER.replace(towers=1))
    assert (one_tower["parameters"], one_tower["macs"]) == (62_378_344, 1_135_256_096)
    one_gpu = totals(PAPER.replace(**ONE_GPU))
    assert one_gpu["parameters"] == paper.HALF_PARAMETERS
    assert round(one_gpu["macs"] / paper.MACS, 2) == 0.54
    alone = PAPER.replace(cross_talk=False, kernels=(96, 320, 384, 384, 256), units=(8192, 4096))  # run 150
    assert round(totals(alone)["parameters"] / 1e6, 1) == 60.7
    shapes = {r["stage"]: r["output"] for r in trace(PAPER.replace(overlapping=False))}  # run 147
    sides = [shapes[s][1] for s in ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5")]
    assert sides == [55, 28, 26, 13, 13, 13, 11, 6]


def test_order_of_the_stages():
    with torch.device("meta"):
        text, source = (" ".join(dict(AlexNet(s).named_children())) for s in (PAPER, SOURCE2012))
    assert text.startswith("conv1 relu1 lrn1 pool1 conv2 relu2 lrn2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5")
    assert source.startswith("conv1 lrn1 pool1 relu1 conv2 relu2 lrn2 spatial2 pool2 conv3 relu3")
    assert text.endswith("flatten fc6 relu6 dropout6 fc7 relu7 dropout7 fc8")


@pytest.mark.parametrize("side", [224, 227])
def test_224_pixels_make_55_windows_as_227_do(side):
    shapes = {r["stage"]: r["output"] for r in trace(PAPER.replace(input=side))}
    assert shapes["conv1"] == (96, 55, 55)


def test_the_last_window_reads_three_columns_of_zeros():
    net = AlexNet(PAPER.replace(**SMALL | {"input": 224}))
    x = torch.randn(1, 3, 224, 224)
    window = torch.zeros(3, 11, 11)
    window[:, :8, :8] = x[0, :, 216:, 216:]
    expected = (net.conv1.weight * window).sum((1, 2, 3)) + net.conv1.bias
    torch.testing.assert_close(net.conv1(x)[0, :, 54, 54], expected, rtol=1e-4, atol=1e-4)


def reads(net, layer, source, x):
    """Which maps (or units) of stage `source` the first and the second half of `layer` depend on, by their gradient."""
    outputs = {}
    for name in (source, layer):
        getattr(net, name).register_forward_hook(lambda _m, _i, y, n=name: outputs.__setitem__(n, y))
    net(x)
    seen = []
    for half in outputs[layer].chunk(2, 1):
        grad = torch.autograd.grad(half.abs().sum(), outputs[source], retain_graph=True)[0]
        seen.append([bool(part.abs().sum() > 0) for part in grad.chunk(2, 1)])
    return seen


OWN, BOTH = [[True, False], [False, True]], [[True, True], [True, True]]


@pytest.mark.parametrize(
    ("layer", "source", "expected"),
    [
        *(("conv2", "conv1", OWN), ("conv3", "conv2", BOTH), ("conv4", "conv3", OWN), ("conv5", "conv4", OWN)),
        *(("fc6", "conv5", BOTH), ("fc7", "fc6", BOTH), ("lrn1", "conv1", OWN), ("lrn2", "conv2", OWN)),
    ],
)
def test_towers_meet_where_the_paper_says(layer, source, expected):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 64, 64) * 60
    assert reads(AlexNet(PAPER.replace(**SMALL)), layer, source, x) == expected
    assert reads(AlexNet(PAPER.replace(**SMALL, towers=1)), layer, source, x) == BOTH or layer.startswith("lrn")


def test_without_cross_talk_towers_meet_at_fc8_alone():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 64, 64) * 60
    net = AlexNet(PAPER.replace(**SMALL, cross_talk=False))
    assert reads(net, "fc7", "conv1", x) == OWN
    assert reads(net, "fc8", "fc7", x) == BOTH


def test_without_conv3_the_towers_meet_at_conv4():
    torch.manual_seed(0)
    net = AlexNet(PAPER.replace(**SMALL, omit=(3,)))
    assert reads(net, "conv4", "conv2", torch.randn(2, 3, 64, 64) * 60) == BOTH


@pytest.mark.parametrize("side", [224, 128])
@pytest.mark.parametrize(("omit", "takes_over"), [((1,), "conv2"), ((2,), "conv3"), ((3,), "conv4"), ((5,), None)])
def test_without_a_convolution_later_shapes_are_those_of_the_whole_net(omit, takes_over, side):
    """The next one takes over stride and pool (conv1), or the pool (conv2); later maps keep their size."""
    whole, less = ({r["stage"]: r for r in trace(SOURCE2012.replace(input=side, omit=o))} for o in ((), omit))
    gone = f"conv{omit[0]}"
    assert gone not in less and [s for s in less if s.startswith("pool")] == ["pool1", "pool2", "pool5"]
    after = [s for s in less if s.startswith(("pool", "conv", "fc")) and s != takes_over]
    assert all(less[s]["output"][1:] == whole[s]["output"][1:] for s in after)
    if takes_over:
        assert less[takes_over]["output"][0] == whole[takes_over]["output"][0]


def test_conv2_in_the_place_of_conv1_reads_all_colours_with_stride_4():
    torch.manual_seed(0)
    net = AlexNet(SOURCE2012.replace(**SMALL | {"input": 128, "width": 0.25}, omit=(1,)))
    assert net.conv2.weight.shape[1] == 3 and net.conv2.groups == 1 and net.conv2.stride == (4, 4)
    assert net.conv2.weight.std().item() == pytest.approx(0.01, rel=0.1)  # as the paper has it, whatever the width
    x = torch.randn(2, 3, 128, 128) * 60
    expected = torch.nn.functional.conv2d(x, net.conv2.weight, net.conv2.bias, stride=4)
    torch.testing.assert_close(net.conv2(x), expected)
    assert list(dict(net.named_children()))[:6] == ["conv2", "relu2", "lrn2", "spatial2", "pool1", "pool2"]
    net(x).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_without_dropout_and_with_the_factor_the_next_layer_sees_the_same_mean():
    torch.manual_seed(0)
    x = torch.rand(2000, 50)
    dropout, factor = Dropout(0.5), Dropout(0.0, 0.5)
    assert dropout(x).mean().item() == pytest.approx(factor(x).mean().item(), rel=0.02)
    torch.testing.assert_close(factor(x), 0.5 * x)  # in training
    torch.testing.assert_close(factor.eval()(x), dropout.eval()(x))  # and in use
    torch.testing.assert_close(Dropout(0.0)(x), x)
    quarter = Dropout(0.25, 2 / 3)
    assert quarter(x).mean().item() == pytest.approx(0.5 * x.mean().item(), rel=0.02)
    torch.testing.assert_close(quarter.eval()(x), 0.5 * x)
    stages = dict(AlexNet(SOURCE2012.replace(**SMALL, dropout=0.0, fc_factor=0.5)).named_children())
    assert [(stages[name].p, stages[name].factor) for name in ("dropout6", "dropout7")] == [(0.0, 0.5)] * 2


@pytest.mark.parametrize("spec", [PAPER, SOURCE2012], ids=lambda s: s.name)
def test_initial_values(spec):
    torch.manual_seed(0)
    net = AlexNet(spec.replace(classes=1000))
    layers = [m for m in net if hasattr(m, "weight")]
    for layer, std, bias in zip(layers, spec.net.init_std, spec.net.init_bias, strict=True):
        n = layer.weight.numel()
        assert abs(layer.weight.std().item() / std - 1) < 5 / (2 * n) ** 0.5
        assert abs(layer.weight.mean().item()) < 5 * std / n**0.5
        assert (layer.bias == bias).all()


def test_narrow_nets_keep_the_size_of_the_signal():
    """A quarter of the inputs, twice the standard deviation: the same variance arrives at each unit."""
    torch.manual_seed(0)
    net = AlexNet(PAPER.replace(width=0.25, classes=10))
    assert net.conv1.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert net.conv3.weight.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("activation", ["relu", "tanh", "scaled_tanh", "leaky_relu", "gelu", "linear"])
def test_every_activation_trains_a_step(activation):
    torch.manual_seed(0)
    net = AlexNet(PAPER.replace(**SMALL, activation=activation))
    net(torch.randn(2, 3, 64, 64)).square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in net.parameters())


def count(net, kind):
    return sum(isinstance(m, kind) for m in net.modules())


def test_every_knob_changes_the_net():
    base = SOURCE2012.replace(**SMALL)

    def net(**fields):
        return AlexNet(base.replace(**fields))

    assert count(net(lrn=()), LocalResponseNorm) == 0 and count(net(lrn=(1,)), LocalResponseNorm) == 1
    assert count(net(spatial_norm=()), SpatialResponseNorm) == 0
    assert net(lrn_alpha=0.5, lrn_k=1.0, lrn_beta=0.5, lrn_n=3).lrn1.alpha == 0.5
    assert (net(lrn_n=3).lrn2.n, net(lrn_k=1.0).lrn2.k, net(lrn_beta=0.5).lrn2.beta) == (3, 1, 0.5)
    assert net(spatial_alpha=0.1).spatial2.alpha == 0.1
    assert [m.p for m in net(dropout=0.25).modules() if isinstance(m, Dropout)] == [0.25, 0.25]
    assert count(net(activation="tanh"), nn.ReLU) == 0 and count(net(activation="tanh"), nn.Tanh) == 7
    assert net(overlapping=False).pool1.kernel_size == 2
    assert {"conv3", "fc7"}.isdisjoint(dict(net(omit=(3, 7)).named_children()))
    assert net(kernels=(96, 256, 384, 384, 512)).conv5.out_channels == 32
    assert net(units=(2048, 4096)).fc6.out_features == 128
    assert net(classes=7).fc8.out_features == 7
    assert net(init_bias=(0.5,) * 8).conv3.bias[0] == 0.5
    assert list(dict(net(lrn_before_relu=(1, 2)).named_children()))[5:9] == ["lrn2", "spatial2", "pool2", "relu2"]


def test_readings_are_the_same_where_they_agree():
    """Without norms the order of max-pool and ReLU does not matter: both readings compute the same."""
    torch.manual_seed(0)
    plain = {**SMALL, "spatial_norm": (), "lrn_alpha": 0.0, "lrn_k": 1.0}
    text, source = AlexNet(PAPER.replace(**plain)), AlexNet(SOURCE2012.replace(**plain))
    source.load_state_dict(text.state_dict())
    x = torch.randn(2, 3, 64, 64) * 50
    torch.testing.assert_close(text.eval()(x), source.eval()(x))


def test_trace_prints_the_totals():
    last = trace_text(PAPER).splitlines()[-1]
    assert last.split() == ["total", "659,272", "60,965,224", "724,406,816"]
