"""The faster stages against the plain ones and against the equations."""

import copy
import os
import shutil
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from test_models import lrn_loop
from torch import nn
from torch.utils._pytree import tree_leaves

from alexlib.config import CIFAR13, FIGURE1, PAPER, ROOT, SOURCE2012
from alexlib.models import accelerate, build, fast, native
from alexlib.models.layers import LocalResponseNorm, SpatialResponseNorm

compiled = pytest.mark.skipif(native.kernels() is None, reason="no C compiler")
SMALL = {"width": 0.125, "classes": 5, "input": 99}
CHANGES = {  # of SOURCE2012
    "one tower": {"towers": 1},
    "without cross-talk": {"cross_talk": False},
    "without LRN": {"lrn": (), "spatial_norm": (1,)},
    "LRN everywhere": {"lrn": (1, 2, 3, 4, 5), "lrn_before_relu": (1, 4)},
    "other LRN": {"lrn_n": 3, "lrn_beta": 0.6},
    "non-overlapping": {"overlapping": False},
    "input 128": {"input": 128},
    "tanh": {"activation": "tanh"},
}
CHANGES |= {f"without {i}": {"omit": (i,)} for i in range(1, 8)}
CONFIGS = {
    "paper": PAPER.replace(**SMALL),
    "source2012": SOURCE2012.replace(**SMALL),
    "cifar": FIGURE1,
    "cifar local with LRN": CIFAR13.replace(lrn=True),
    **{name: SOURCE2012.replace(**SMALL | changes) for name, changes in CHANGES.items()},
}


def plain_and_fast(config):
    """The same net twice, with weights that keep the size of the activations."""
    torch.manual_seed(4)
    plain = build(config, fast=False).to(memory_format=torch.channels_last).eval()
    for p in plain.parameters():
        if p.dim() > 1:
            nn.init.normal_(p, 0, p[0].numel() ** -0.5)
    return plain, accelerate(copy.deepcopy(plain))


def images(model, dtype=torch.float32):
    x = torch.randn(6, 3, model.net.input, model.net.input, dtype=dtype) * 60
    return x.to(memory_format=torch.channels_last)


def scores_and_gradients(model, x, autocast=False):
    with torch.autocast(x.device.type, torch.bfloat16, enabled=autocast):
        scores = model(x)
    loss = F.cross_entropy(scores.to(x.dtype), torch.arange(6, device=x.device) % 5)
    return scores.detach(), *torch.autograd.grad(loss, tuple(model.parameters()))


@pytest.mark.parametrize("name", CONFIGS)
def test_fast_nets_are_the_plain_ones(name):
    plain, quick = plain_and_fast(CONFIGS[name])
    assert [*plain.state_dict()] == [*quick.state_dict()]
    assert [n for n, _ in plain.named_children()] == [n for n, _ in quick.named_children()]
    x, double = images(plain), images(plain, torch.float64)
    results = [scores_and_gradients(model, x) for model in (quick, plain)]
    low = [scores_and_gradients(model, x, autocast=True) for model in (quick, plain)]
    for found, expected, low_found, low_expected in zip(*results, *low, strict=True):
        assert (found - expected).norm() <= 1e-4 * expected.norm()
        error, usual = (low_found - expected).norm(), (low_expected - expected).norm()
        assert low_found.dtype == low_expected.dtype
        assert error <= 1.5 * usual + 0.01 * expected.norm()
    results = [scores_and_gradients(model.double(), double) for model in (quick, plain)]
    assert all(torch.equal(found, expected) for found, expected in zip(*results, strict=True))


def seen_by_hook(model, stage, hook, x):
    """The tensors that a hook on a stage is given."""
    seen = []
    register = getattr(model.get_submodule(stage), f"register_{hook}_hook")
    handle = register(lambda _stage, *tensors: seen.extend(tree_leaves(tensors)))
    model(x).sum().backward()
    handle.remove()
    return seen


@pytest.mark.parametrize("name", ["paper", "source2012", "cifar"])
@pytest.mark.parametrize("hook", ["forward", "forward_pre", "full_backward"])
def test_hooks_see_what_they_see_in_the_plain_net(name, hook):
    plain, quick = plain_and_fast(CONFIGS[name])
    x = images(plain).requires_grad_()
    for stage in ("pad1", "conv1", "relu1", "lrn1", "pool1", "relu2", "pool2", "conv3", "relu3"):
        if hasattr(plain, stage):
            found, expected = (seen_by_hook(model, stage, hook, x) for model in (quick, plain))
            assert expected
            for a, b in zip(found, expected, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * b.abs().max().item())


def test_pairs_of_stages_without_hooks_run_as_one():
    _, quick = plain_and_fast(CONFIGS["paper"])
    x, shapes = images(quick), []
    expected = quick(x)
    quick.pad1.forward = quick.relu1.forward = None  # not called
    quick.relu5.forward = lambda x: shapes.append(x.shape) or x.relu()
    assert torch.equal(quick(x), expected)
    assert shapes[0][1:].numel() == quick.fc6.in_features  # relu5 comes after pool5


@pytest.mark.parametrize("on_gpu", [False, True])
def test_blocks_of_pixels_give_the_same_convolution(on_gpu, monkeypatch):
    plain, quick = plain_and_fast(CONFIGS["input 128"])
    x = images(plain)
    expected = plain.conv1(plain.pad1(x))
    monkeypatch.setattr(torch.Tensor, "is_cuda", on_gpu, raising=False)
    torch.testing.assert_close(quick.conv1(x, edge=3), expected, rtol=1e-4, atol=1e-3)


def test_fast_nets_can_be_copied_and_accelerated_again():
    model = build(CONFIGS["paper"]).eval()
    x = images(model)
    assert accelerate(model) is model and type(model).__mro__.count(fast._Fused) == 1
    assert torch.equal(copy.deepcopy(model)(x), model(x))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("c++"), reason="no C++ compiler")
@pytest.mark.parametrize("name", ["paper", "source2012", "cifar"])
def test_both_nets_can_be_compiled(name):
    for model in plain_and_fast(CONFIGS[name]):
        x = images(model)
        found = torch.compile(model, fullgraph=True)(x)
        torch.testing.assert_close(found, model(x), rtol=1e-4, atol=1e-4)


def channels_last(*shape, scale=40.0):
    return (torch.randn(*shape) * scale).to(memory_format=torch.channels_last)


def value_and_gradient(f, x, g):
    x = x.detach().requires_grad_()
    y = f(x)
    return y, torch.autograd.grad(y, x, g.to(y.dtype))[0]


def fast_norm(*settings):
    return accelerate(nn.Sequential(LocalResponseNorm(*settings)))[0]


LAYOUTS = {
    "channels-last": lambda x: x,
    "contiguous": lambda x: x.contiguous(),
    "a part": lambda x: torch.cat([x, x], 3)[..., : x.shape[3]],
    "vectors": lambda x: x.flatten(2).mean(2),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize(("n", "maps", "towers"), [(5, 40, 2), (1, 3, 1), (9, 257, 1), (3, 2, 2)])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 2**-7)])
def test_fast_lrn_is_the_equation(n, maps, towers, rectify, layout, dtype, bound, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    x = LAYOUTS[layout](channels_last(3, maps, 4, 5)).to(dtype)
    g = torch.randn_like(x)
    norm = fast_norm(n, 2.0, 1e-3, 0.75, towers)

    def equation(x):
        return lrn_loop(x.relu() if rectify else x, n, 2.0, 1e-3, 0.75, towers)

    found = value_and_gradient(lambda x: norm(x, rectify=rectify), x, g)
    for ours, true in zip(found, value_and_gradient(equation, x.double(), g), strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.double(), true, rtol=bound, atol=bound / 10)


@pytest.mark.parametrize("name", ["LRN", "spatial"])
def test_norms_in_slices_are_the_same_and_save_only_their_input(name, monkeypatch):
    norm = {"LRN": LocalResponseNorm(towers=2), "spatial": SpatialResponseNorm()}[name]
    norm = accelerate(nn.Sequential(norm))[0]
    x, g, saved = torch.randn(7, 10, 5, 5).requires_grad_(), torch.randn(7, 10, 5, 5), []
    whole = value_and_gradient(norm, x, g)
    monkeypatch.setattr(fast, "SLICE", 2 * 10 * 25)  # two images at a time, then one
    for a, b in zip(whole, value_and_gradient(norm, x, g), strict=True):
        assert torch.equal(a, b)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        norm(x)
    assert [t.data_ptr() for t in saved] == [x.data_ptr()]


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kernels_pass_nan_and_infinity_on(dtype):
    x = torch.ones(1, 8, 2, 2).to(dtype, memory_format=torch.channels_last)
    x[0, 3, 0, 0], x[0, 6, 1, 1] = float("nan"), float("inf")
    for rectify in (False, True):
        y = fast_norm()(x, rectify=rectify).double()
        expected = lrn_loop(x, 5, 2.0, 1e-4, 0.75, 1)
        torch.testing.assert_close(y, expected, rtol=2**-8, atol=0, equal_nan=True)


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.kernels.cache_clear()
    yield tmp_path
    native.kernels.cache_clear()


@compiled
def test_kernels_are_compiled_once_and_found_again(empty_cache, monkeypatch):
    assert native.kernels()
    (file,) = empty_cache.rglob("kernels*")
    native.kernels.cache_clear()
    monkeypatch.setattr(native.subprocess, "run", pytest.fail)
    assert native.kernels() and list(empty_cache.rglob("kernels*")) == [file]
    monkeypatch.undo()
    damaged = empty_cache / "other" / "alexlib" / file.name
    damaged.parent.mkdir(parents=True)
    damaged.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty_cache / "other"))
    native.kernels.cache_clear()
    assert native.kernels() and damaged.stat().st_size  # compiled anew, and kept


@pytest.mark.parametrize("way", ["ALEXLIB_NATIVE=0", "CC=no-such-compiler", "CC=false"])
def test_without_kernels_the_results_are_the_same(empty_cache, monkeypatch, way, recwarn):
    monkeypatch.delenv("ALEXLIB_NATIVE", raising=False)
    monkeypatch.setenv(*way.split("="))
    x = channels_last(2, 12, 5, 5)
    for _ in range(2):
        y = fast_norm(5, 2.0, 1e-4, 0.75, 2)(x, rectify=True)
    assert native.kernels() is None
    assert sum("kernels.c" in str(w.message) for w in recwarn) == way.startswith("CC")
    expected = lrn_loop(x.relu(), 5, 2, 1e-4, 0.75, 2).float()
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)


INTERPRETED = """
import torch
from alexlib.models.fast import ResponseNorm
from alexlib.models.kernels import response_norm
from alexlib.models.layers import LocalResponseNorm, SpatialResponseNorm

lrn, spatial = LocalResponseNorm(alpha=2e-3, towers=2), SpatialResponseNorm()
for norm, maps, rectify in ((lrn, 6, False), (lrn, 6, True), (spatial, 1, False)):
    x = (torch.randn(3, 12, 5, 4) * 20).to(memory_format=torch.channels_last).requires_grad_()
    g, exact = torch.randn_like(x), x.detach().double().requires_grad_()
    expected = norm(exact.relu() if rectify else exact)
    settings = getattr(norm, "k", 1.0), norm.alpha
    y = ResponseNorm.apply(x, response_norm, maps, 2, norm is spatial, rectify, *settings)
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-5)
    (found,), (expected,) = torch.autograd.grad(y, x, g), torch.autograd.grad(expected, exact, g)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
"""


def test_the_kernels_for_gpus_are_the_equations():
    """Run by Triton's interpreter, on a CPU."""
    pytest.importorskip("triton")
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", INTERPRETED], env=environment, check=True)
