"""Facts of the net: counted again by hand, and the memory from what torch keeps for a backward pass."""

import math

import pytest
import torch
import torch.nn.functional as F

from alexold import facts, paper
from alexold.claims import CLAIMS
from alexold.config import PAPER
from alexold.nets import build

FACTS = {claim.id: claim for claim in CLAIMS if claim.kind == "fact"}
# Section 3.5: kernels, maps that a kernel reads, its side. The sides of the maps follow from strides and pools.
KERNELS = {"conv1": (96, 3, 11), "conv2": (256, 48, 5), "conv3": (384, 256, 3), "conv4": (384, 192, 3),
           "conv5": (256, 192, 3)}  # fmt: skip
UNITS = {"fc6": (4096, 256 * 6 * 6), "fc7": (4096, 4096), "fc8": (1000, 4096)}


def by_hand():
    """Neurons and parameters of the layers, from the numbers of the text alone."""

    def pooled(side):
        return math.ceil((side - 3) / 2) + 1

    conv1 = math.ceil((224 - 11) / 4) + 1
    sides = [conv1, pooled(conv1)] + 3 * [pooled(pooled(conv1))]
    neurons = {name: n * side**2 for (name, (n, _, _)), side in zip(KERNELS.items(), sides, strict=True)}
    parameters = {name: n * (maps * size**2 + 1) for name, (n, maps, size) in KERNELS.items()}
    neurons |= {name: n for name, (n, _) in UNITS.items()}
    return neurons, parameters | {name: n * (inputs + 1) for name, (n, inputs) in UNITS.items()}


def test_every_fact_is_counted_and_nothing_else():
    assert facts.counts().keys() == FACTS.keys()


def test_counts_are_those_of_the_text():
    neurons, parameters = by_hand()
    total = sum(parameters.values())
    expected = {
        "parameters": total,
        "neurons": sum(neurons.values()),
        "conv1-neurons": neurons.pop("conv1"),
        "neurons-input": 150_528,
        "one-percent": 100 * max(parameters[name] for name in KERNELS) / total,
        "crops-factor": 2 * 33 * 33,
    } | {f"neurons-{name}": count for name, count in neurons.items()}
    found = facts.counts()
    del found["memory-limit"]
    assert found == pytest.approx(expected, rel=1e-12)


def test_neurons_are_what_a_forward_pass_puts_out():
    with torch.device("meta"):
        model, seen = build(PAPER), {}
        for name, layer in model.named_children():
            if hasattr(layer, "weight"):
                layer.register_forward_hook(lambda _, x, y, name=name: seen.update({name: y[0].numel()}))
        model(torch.empty(1, 3, 224, 224))
    found = facts.counts()
    assert found["conv1-neurons"] == seen.pop("conv1") and {f"neurons-{name}" for name in seen} <= found.keys()
    assert all(found[f"neurons-{name}"] == count for name, count in seen.items())


def test_counts_beside_the_paper():
    """All counts of Figure 2 hold but that of conv1; what is off by more than the paper's digits is a known slip."""
    found = facts.counts()
    for layer in paper.LAYERS[1:]:
        assert found[f"neurons-{layer.name}"] == FACTS[f"neurons-{layer.name}"].paper == layer.caption
    assert found["neurons-input"] == FACTS["neurons-input"].paper == paper.INPUT_VALUES
    assert {id for id, claim in FACTS.items() if claim.slip} == {"conv1-neurons", "one-percent", "crops-factor"}
    assert 0 < found["neurons"] - FACTS["neurons"].paper < 10_000
    for id, claim in FACTS.items():
        assert claim.log is None or claim.log == pytest.approx(found[id], abs=0.005), id


@pytest.mark.parametrize("fields", [{}, {"width": 0.25, "input": 128, "classes": 10}])
def test_memory_is_what_torch_saves_for_the_backward_pass(fields):
    """Beside what is counted torch keeps conv1's zeros at two edges and both dropout masks as numbers."""
    spec, batch, saved = PAPER.replace(**fields), 2, {}

    def keep(tensor):
        saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.device("meta"):
        model = build(spec).train()
        x = torch.empty(batch, 3, spec.net.input, spec.net.input)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            F.cross_entropy(model(x), torch.zeros(batch, dtype=torch.long), reduction="sum")
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    kept = [t for key, t in saved.items() if key not in weights and t.dtype == torch.float32 and t.dim()]
    kept = sum(t.untyped_storage().nbytes() for t in kept)
    padded = spec.net.input + model.conv1.over
    extra = 4 * batch * (3 * (padded**2 - spec.net.input**2) + sum(fc.out_features for fc in (model.fc6, model.fc7)))
    state = 3 * sum(4 * p.numel() for p in model.parameters())
    assert facts.memory(spec.net, batch) * 1e9 == pytest.approx(kept - extra + state, abs=0.5)


def test_memory_at_the_paper_s_batch():
    claim, value = FACTS["memory-limit"], facts.counts()["memory-limit"]
    assert claim.paper == paper.CONSTANTS["gpu_memory"].value and claim.over and claim.unit == "GB"
    images = facts.memory(PAPER.net, 129) - facts.memory(PAPER.net, 128)
    assert value == pytest.approx(3 * 4 * paper.PARAMETERS / 1e9 + 128 * images)
    assert value < claim.paper  # the least that training takes would fit
