"""Each layer against an independent one: a float64 loop written from the equation, or torch's own."""

import pytest
import torch
import torch.nn.functional as F

from alexold import layers
from alexold.layers import Dropout, LocalResponseNorm, ScaledTanh, SpatialResponseNorm, Tanh, TowerLinear


def lrn_loop(a, n, k, alpha, beta, towers):
    """The equation of section 3.3, map by map, in float64."""
    a, b = a.double(), torch.empty_like(a, dtype=torch.float64)
    maps = a.shape[1] // towers
    for i in range(a.shape[1]):
        first = i // maps * maps
        low, high = max(first, i - n // 2), min(first + maps - 1, i + n // 2)
        total = sum(a[:, j] ** 2 for j in range(low, high + 1))
        b[:, i] = a[:, i] / (k + alpha * total) ** beta
    return b


def layouts(x):
    """The same values, stored in different ways."""
    wide = torch.cat([x, x], 3)
    yield "contiguous", x.contiguous()
    yield "channels-last", x.to(memory_format=torch.channels_last)
    yield "every second column", torch.stack([x, x], 4).flatten(3)[..., ::2]
    yield "window of a larger tensor", wide[..., : x.shape[3]]
    yield "transposed", x.transpose(2, 3).contiguous().transpose(2, 3)


@pytest.mark.parametrize("n", [1, 3, 5, 9])
@pytest.mark.parametrize(("maps", "towers"), [(12, 1), (12, 2), (3, 1), (4, 2), (1, 1)])
def test_lrn_is_the_equation_forward_and_backward(n, maps, towers):
    torch.manual_seed(0)
    x = torch.randn(3, maps, 4, 5) * 40
    g = torch.randn_like(x)
    settings = (n, 2.0, 1e-3, 0.75)
    exact = x.double().requires_grad_()
    expected = lrn_loop(exact, *settings, towers)
    expected_grad = torch.autograd.grad(expected, exact, g.double())[0]
    for name, stored in layouts(x):
        stored = stored.detach().requires_grad_()
        y = LocalResponseNorm(*settings, towers)(stored)
        torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-5, msg=lambda m, s=name: f"{s}: {m}")
        torch.testing.assert_close(torch.autograd.grad(y, stored, g)[0].double(), expected_grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [3, 5, 9])
@pytest.mark.parametrize("beta", [0.75, 0.5])
def test_lrn_is_torchs_with_alpha_times_n(n, beta):
    torch.manual_seed(1)
    x = torch.randn(2, 16, 6, 6) * 20
    ours = LocalResponseNorm(n, 1.5, 2e-3, beta)(x)
    torch.testing.assert_close(
        ours, F.local_response_norm(x, n, alpha=2e-3 * n, beta=beta, k=1.5), rtol=2e-6, atol=1e-6
    )


@pytest.mark.parametrize("norm", [LocalResponseNorm(5, 2, 0.05, 0.75, 2), LocalResponseNorm(3, 1, 0.1, 0.6), None])
def test_gradcheck(norm):
    torch.manual_seed(2)
    norm = norm or SpatialResponseNorm(3, 0.1)
    x = torch.randn(2, 6, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, x)


def test_lrn_of_an_empty_batch_and_of_vectors():
    assert LocalResponseNorm()(torch.empty(0, 8, 3, 3)).shape == (0, 8, 3, 3)
    x = torch.randn(4, 8)
    torch.testing.assert_close(LocalResponseNorm()(x).double(), lrn_loop(x, 5, 2, 1e-4, 0.75, 1))


def test_lrn_in_slices_is_the_same(monkeypatch):
    torch.manual_seed(3)
    x = (torch.randn(7, 10, 5, 5) * 30).requires_grad_()
    g = torch.randn_like(x)

    def both():
        y = LocalResponseNorm(towers=2)(x)
        return y, torch.autograd.grad(y, x, g)[0]

    whole = both()
    monkeypatch.setattr(layers, "SLICE", 2 * 10 * 25)  # two pictures at a time, the last one alone
    assert all(torch.equal(a, b) for a, b in zip(whole, both(), strict=True))


def test_lrn_in_bfloat16_sums_in_float32():
    """The result is the float64 one rounded once or twice to 8 bits, though the sums of squares need many more."""
    torch.manual_seed(4)
    x = (torch.randn(4, 64, 6, 6) * 300).bfloat16().to(memory_format=torch.channels_last).requires_grad_()
    g = torch.randn(4, 64, 6, 6).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = LocalResponseNorm()(x)
    grad = torch.autograd.grad(y, x, g)[0]
    exact = x.detach().double().requires_grad_()
    expected = lrn_loop(exact, 5, 2, 1e-4, 0.75, 1)
    expected_grad = torch.autograd.grad(expected, exact, g.double())[0]
    assert y.dtype == grad.dtype == torch.bfloat16 and y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y.double(), expected, rtol=2**-8, atol=1e-6)
    torch.testing.assert_close(grad.double(), expected_grad, rtol=2**-8, atol=1e-6)


def test_lrn_saves_its_input_alone():
    saved = []
    x = torch.randn(2, 8, 4, 4, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        LocalResponseNorm()(x)
    assert [t.data_ptr() for t in saved] == [x.data_ptr()]


def test_even_windows_and_odd_towers_are_refused():
    with pytest.raises(ValueError, match="odd"):
        LocalResponseNorm(n=4)
    with pytest.raises(ValueError, match="9 maps"):
        LocalResponseNorm(towers=2)(torch.ones(1, 9, 2, 2))


def test_spatial_norm_is_its_equation():
    torch.manual_seed(5)
    x = torch.randn(2, 3, 6, 7) * 10
    a = x.double()
    expected = torch.empty_like(a)
    for r in range(6):
        for c in range(7):
            window = a[:, :, max(r - 2, 0) : r + 3, max(c - 2, 0) : c + 3]
            expected[:, :, r, c] = a[:, :, r, c] * (1 + 2e-3 * (window**2).sum((2, 3))) ** -0.75
    torch.testing.assert_close(SpatialResponseNorm(5, 2e-3)(x).double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("p", [0.25, 0.5])
def test_dropout_scales_in_use_and_not_in_training(p):
    torch.manual_seed(6)
    x, layer = torch.full((400, 500), 3.0), Dropout(p)
    trained = layer.train()(x)
    assert set(trained.unique().tolist()) == {0.0, 3.0}
    assert abs((trained == 0).float().mean().item() - p) < 5 * (p * (1 - p) / x.numel()) ** 0.5
    assert torch.equal(layer.eval()(x), x * (1 - p))


def test_tower_linear_is_one_linear_layer_a_tower():
    torch.manual_seed(7)
    layer = TowerLinear(6, 8, 2)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(5, 6)
    halves = [F.linear(x[:, :3], layer.weight[0]), F.linear(x[:, 3:], layer.weight[1])]
    torch.testing.assert_close(layer(x), torch.cat(halves, 1) + layer.bias)


def test_scaled_tanh_is_one_at_one():
    x = torch.tensor([-1.0, 0.0, 1.0])
    torch.testing.assert_close(ScaledTanh()(x), x, atol=1e-4, rtol=0)


def test_tanh_in_bfloat16_is_torchs_for_every_number():
    numbers = torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.bfloat16)
    mine, torchs = (numbers[numbers.isfinite()].clone().requires_grad_() for _ in range(2))
    y, expected = Tanh()(mine), torch.tanh(torchs)
    assert y.dtype == torch.bfloat16 and torch.equal(y, expected)
    arriving = torch.randn(len(mine), generator=torch.Generator().manual_seed(1)).bfloat16()
    y.backward(arriving)
    expected.backward(arriving)
    assert torch.equal(mine.grad, torchs.grad)


@pytest.mark.parametrize("layer", [Tanh(), ScaledTanh()])
def test_tanh_layers_have_their_derivative(layer):
    torch.autograd.gradcheck(layer, torch.linspace(-3, 3, 9, dtype=torch.float64).requires_grad_())
