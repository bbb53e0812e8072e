"""The compiled response norm, conv1 in blocks and the cheap order of stages, against the plain ways of torch."""

import shutil
import subprocess
import warnings
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from test_layers import lrn_loop
from torch import nn

from alexold import native
from alexold.ablations import baseline, variants
from alexold.config import FIGURE1, PAPER, SOURCE2012
from alexold.layers import FirstConv, LocalResponseNorm
from alexold.nets import AlexNet, CifarNet, build
from alexold.train import autocast

compiled = pytest.mark.skipif(native.kernels() is None, reason="no C compiler")
SMALL = {"width": 0.125, "classes": 5, "input": 99}


def channels_last(*shape, scale=40.0):
    return (torch.randn(*shape) * scale).to(memory_format=torch.channels_last)


def gradients(f, *inputs, g):
    y = f(*inputs)
    return y, *torch.autograd.grad(y, inputs, g.to(y.dtype))


@compiled
@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("n", [1, 3, 5, 9])
@pytest.mark.parametrize(("maps", "towers"), [(40, 1), (40, 2), (3, 1), (2, 2), (257, 1)])
def test_the_kernels_are_the_equation(n, maps, towers, rectify):
    torch.manual_seed(0)
    x, g = channels_last(3, maps, 4, 5), channels_last(3, maps, 4, 5, scale=1)
    norm = LocalResponseNorm(n, 2.0, 1e-3, 0.75, towers)
    exact = x.double().requires_grad_()
    expected = lrn_loop(exact.relu() if rectify else exact, n, 2.0, 1e-3, 0.75, towers)
    expected = expected, *torch.autograd.grad(expected, exact, g.double())
    for dtype, bound in ((torch.float32, 1e-5), (torch.bfloat16, 2**-7)):
        if dtype == torch.bfloat16:  # what is given is rounded, what lies between is not
            x, g = x.to(dtype), g.to(dtype)
            exact = x.double().requires_grad_()
            expected = lrn_loop(exact.relu() if rectify else exact, n, 2.0, 1e-3, 0.75, towers)
            expected = expected, *torch.autograd.grad(expected, exact, g.double())
        assert native.fits(x, towers, n, 0.75)
        found = gradients(lambda x: norm(x, rectify=rectify), x.detach().requires_grad_(), g=g)
        assert found[0].grad_fn.name() == "ResponseNormBackward"
        for ours, true in zip(found, expected, strict=True):
            assert ours.dtype == dtype and ours.is_contiguous(memory_format=torch.channels_last)
            torch.testing.assert_close(ours.double(), true, rtol=bound, atol=bound / 10)


@pytest.mark.parametrize(("n", "maps", "towers"), [(5, 12, 2), (3, 4, 1), (9, 6, 1), (1, 2, 2)])
def test_what_is_compiled_is_the_equation(n, maps, towers):
    torch.manual_seed(0)
    norm = LocalResponseNorm(n, 2.0, 1e-3, 0.75, towers)
    for x in (channels_last(3, maps, 4, 5).double().requires_grad_(), torch.randn(3, maps).double().requires_grad_()):
        g, loop = torch.randn_like(x), partial(lrn_loop, n=n, k=2.0, alpha=1e-3, beta=0.75, towers=towers)
        for found, true in zip(gradients(norm.formula, x, g=g), gradients(loop, x, g=g), strict=True):
            torch.testing.assert_close(found, true)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("c++"), reason="no C++ compiler")
@pytest.mark.parametrize("name", ["paper", "source2012"])
def test_a_compiled_net_is_the_net(name):
    torch.manual_seed(5)
    model = build(NETS[name].net).to(memory_format=torch.channels_last).eval()
    x = torch.randn(2, 3, model.net.input, model.net.input) * 60
    torch.testing.assert_close(torch.compile(model, fullgraph=True)(x), model(x), rtol=1e-4, atol=1e-5)


@compiled
def test_any_number_of_threads_gives_the_same_bits():
    torch.manual_seed(1)
    x, g, norm = channels_last(5, 24, 3, 7).requires_grad_(), channels_last(5, 24, 3, 7), LocalResponseNorm()
    found, usual = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            found.append(gradients(norm, x, g=g))
    finally:
        torch.set_num_threads(usual)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_no_number_is_not_hidden(dtype):
    x = torch.ones(1, 8, 2, 2).to(dtype, memory_format=torch.channels_last)
    x[0, 3, 0, 0], x[0, 6, 1, 1] = float("nan"), float("inf")
    expected = lrn_loop(x, 5, 2.0, 1e-4, 0.75, 1)
    assert expected.isnan().sum() == 6  # five maps around the NaN; infinity over infinity
    for rectify in (False, True):
        y = LocalResponseNorm()(x.clone(memory_format=torch.channels_last), rectify=rectify)
        torch.testing.assert_close(y.double(), expected, rtol=2**-8, atol=0, equal_nan=True)


@compiled
def test_the_kernel_saves_its_input_alone():
    saved, x = [], channels_last(2, 8, 4, 4).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        LocalResponseNorm()(x, rectify=True)
    assert [t.data_ptr() for t in saved] == [x.data_ptr()]


@pytest.mark.parametrize(
    ("change", "beta"),
    [
        (lambda x: x.double(), 0.75),
        (lambda x: x.contiguous(), 0.75),
        (lambda x: x[..., ::2], 0.75),
        (lambda x: x.flatten(2), 0.75),
        (lambda x: x.to("meta"), 0.75),
        (lambda x: x, 0.5),
        (lambda x: torch.cat([x] * 200, 1), 0.75),
    ],
)
def test_what_the_kernels_cannot_do_torch_does(change, beta):
    x = change(channels_last(2, 6, 4, 4))
    assert not native.fits(x, 1, 5, beta)
    y = LocalResponseNorm(beta=beta)(x, rectify=True)
    if not x.is_meta:
        torch.testing.assert_close(y, LocalResponseNorm(beta=beta)(x.relu()))


@pytest.fixture
def unbuilt(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.kernels.cache_clear()
    yield tmp_path
    native.kernels.cache_clear()


@compiled
def test_the_kernels_are_built_once(unbuilt, monkeypatch):
    assert native.kernels() is not None
    (built,) = unbuilt.glob("alexold/*")
    native.kernels.cache_clear()
    monkeypatch.setattr(native, "_build", None)  # would be an error
    assert native.kernels() is not None and list(unbuilt.glob("alexold/*")) == [built]


@pytest.mark.parametrize("way", ["switched off", "no compiler", "a compiler that fails"])
def test_without_kernels_the_same_numbers_come_out(unbuilt, monkeypatch, way):
    torch.manual_seed(2)
    x = channels_last(2, 12, 5, 5)
    expected = lrn_loop(x.relu(), 5, 2, 1e-4, 0.75, 2).float()
    if way == "switched off":
        monkeypatch.setenv("ALEXLIB_NATIVE", "0")
    else:
        monkeypatch.setenv("CC", {"no compiler": "no-such-compiler"}.get(way, shutil.which("false")))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        y = LocalResponseNorm(towers=2)(x, rectify=True)
    assert native.kernels() is None
    assert [str(w.message) for w in warned if "kernels.c" in str(w.message)] == [] or "fails" in way
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)


def test_a_failing_compiler_says_what_it_said(unbuilt, monkeypatch):
    script = unbuilt / "cc"
    script.write_text("#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho 'kernels.c: no room' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    with pytest.warns(UserWarning, match="could not be built.*no room"):
        assert native.kernels() is None
    assert not list(unbuilt.glob("alexold/*.so"))


@compiled
def test_the_built_file_depends_on_the_compiler(monkeypatch):
    one = native._digest("cc")
    version = subprocess.CompletedProcess([], 0, stdout=b"another compiler")
    monkeypatch.setattr(native.subprocess, "run", lambda *args, **kwargs: version)
    assert native._digest("cc") != one


@pytest.mark.parametrize(("side", "size", "stride"), [(224, 11, 4), (227, 11, 4), (128, 11, 4), (31, 5, 2), (20, 4, 4)])
def test_conv1_in_blocks_is_the_convolution(side, size, stride):
    torch.manual_seed(3)
    over = -(side - size) % stride
    conv = FirstConv(3, 7, size, stride, over)
    plain = nn.Conv2d(3, 7, size, stride).double()
    plain.load_state_dict(conv.state_dict())
    x = torch.randn(2, 3, side, side)
    y = conv(x)
    expected = plain(F.pad(x.double(), (0, over, 0, over)))
    g = torch.randn_like(y)
    found = y, *torch.autograd.grad(y, conv.parameters(), g)
    exact = expected, *torch.autograd.grad(expected, plain.parameters(), g.double())
    for ours, true in zip(found, exact, strict=True):
        torch.testing.assert_close(ours.double(), true, rtol=1e-5, atol=1e-5 * true.abs().max().item())
    torch.testing.assert_close(conv(x.to(memory_format=torch.channels_last)), y)
    with autocast("cpu", "bf16"):
        low = conv(x)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.double(), expected.detach(), rtol=0.02, atol=0.02)


def plain_way(model, x):
    """Stage by stage, with torch's own operations alone."""
    for name, stage in model.named_children():
        if name == "conv1":
            over = getattr(stage, "over", 0)
            x = F.conv2d(F.pad(x, (0, over, 0, over)), stage.weight, stage.bias, stage.stride, stage.padding)
        else:
            x = stage(x.contiguous() if isinstance(stage, LocalResponseNorm) else x)
    return x


NETS = {
    "paper": PAPER.replace(**SMALL),
    "source2012": SOURCE2012.replace(**SMALL),
    "no LRN": PAPER.replace(**SMALL, lrn=()),
    "non-overlapping": variants(baseline("sample", **SMALL))["non-overlapping"],
    "cifar": FIGURE1,
    "cifar local with LRN": FIGURE1.replace(stack="local", lrn=True, input=24),
}


@pytest.mark.parametrize("name", NETS)
def test_fast_and_plain_nets_agree(name):
    torch.manual_seed(4)
    model = build(NETS[name].net).to(memory_format=torch.channels_last).eval()
    for p in model.parameters():  # the CIFAR nets' 1e-4 leaves nothing to compare
        if p.dim() > 1:
            nn.init.normal_(p, 0, p[0].numel() ** -0.5)
    x = torch.randn(6, 3, model.net.input, model.net.input) * 60
    labels = torch.arange(6) % 5

    def run(forward, precision):
        with autocast("cpu", precision):
            scores = forward(x).float()
        return scores, *torch.autograd.grad(F.cross_entropy(scores, labels), tuple(model.parameters()))

    for precision, bound in (("fp32", 1e-5), ("bf16", 1e-2)):
        plain = run(lambda x: plain_way(model, x), precision)
        for ours, true in zip(run(model, precision), plain, strict=True):
            assert (ours - true).norm() <= bound * true.norm(), precision
    exact = run(model, "fp32")[0]
    assert (run(model, "bf16")[0] - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize("kind", [AlexNet, CifarNet])
def test_a_watched_relu_keeps_its_place(kind):
    model = build(NETS["paper" if kind is AlexNet else "cifar"].net).eval()
    x, seen = torch.randn(2, 3, model.net.input, model.net.input) * 60, {}
    expected = plain_way(model, x)
    for name in ("relu1", "pool1") if kind is CifarNet else ("relu1", "lrn1"):
        hook = getattr(model, name).register_forward_hook(lambda _m, i, y, name=name: seen.update({name: (*i, y)}))
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)
        hook.remove()
    assert torch.equal(seen["relu1"][0].relu(), seen["relu1"][1])
    after = seen["pool1" if kind is CifarNet else "lrn1"]
    assert torch.equal(after[0], seen["relu1"][1])
