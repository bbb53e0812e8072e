"""AlexNet on two devices: the numbers of one device, its state dict, and the data that crosses."""

import pytest
import torch
import torch.nn.functional as F

from alexlib.config import FIGURE1, PAPER, SOURCE2012
from alexlib.models import build
from alexlib.models.two_gpu import crossings

SMALL = {"input": 64, "classes": 10, "width": 1 / 8}
CPUS = ("cpu", "cpu")
pytestmark = pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
CONFIGS = {
    "paper": PAPER,
    "source2012": SOURCE2012,
    "no cross-talk": SOURCE2012.replace(cross_talk=False),
    "no conv1": SOURCE2012.replace(omit=(1,), dropout=0.0, fc_factor=0.5),
    "no conv3": PAPER.replace(omit=(3,), dropout=0.25, fc_factor=2 / 3),
    "no fc6, fc7": PAPER.replace(omit=(6, 7), cross_talk=False),
    "LRN everywhere": SOURCE2012.replace(lrn=(1, 2, 3, 4, 5), lrn_n=3, lrn_beta=0.6),
    "non-overlapping, tanh": PAPER.replace(overlapping=False, activation="tanh"),
}
CONFIGS = {name: config.replace(**SMALL) for name, config in CONFIGS.items()}


def built(config, devices, fast):
    torch.manual_seed(0)
    return build(config, devices, fast).to(torch.float32 if fast else torch.float64)


def images():
    torch.manual_seed(1)
    return torch.randn(4, 3, 64, 64) * 60


def step(net, x):
    """The scores, and the parameters after a step of gradient descent, by their names."""
    torch.manual_seed(2)  # of dropout
    scores = net(x)
    F.cross_entropy(scores, torch.arange(4)).backward()
    torch.optim.SGD(net.parameters(), 0.1).step()
    return scores.detach(), net.state_dict()


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", CONFIGS)
def test_two_devices_compute_what_one_does(name, fast, mode):
    """In training too, with the same dropped units. The fast stages are plain in float64."""
    near, x = (1e-4, images()) if fast else (1e-9, images().double())
    x = x.to(memory_format=torch.channels_last)
    one, two = (built(CONFIGS[name], devices, fast) for devices in (None, CPUS))
    before = {key: value.clone() for key, value in one.state_dict().items()}
    assert all(torch.equal(before[key], value) for key, value in two.state_dict().items())
    scores, after = step(one.train(mode == "train"), x)
    found, after_two = step(two.train(mode == "train"), x)
    torch.testing.assert_close(found, scores, rtol=near, atol=near)
    assert list(after_two) == list(after)
    for key, value in after.items():
        change = value - before[key]
        assert change.norm() > 0 and (after_two[key] - value).norm() < near * change.norm(), key


def test_each_device_draws_for_the_whole_layer_and_uses_its_half():
    """Two GPUs with the same seed must not drop the same units; "meta" stands for the second."""
    stage = build(PAPER.replace(**SMALL), ("cpu", "meta")).dropout6
    torch.manual_seed(0)
    a, b = stage((torch.ones(3, 256), torch.ones(3, 256, device="meta")))
    torch.manual_seed(0)
    assert torch.equal(a, torch.empty(3, 512).bernoulli_(0.5)[:, :256])
    assert b.is_meta and b.shape == (3, 256)


def test_each_device_holds_its_tower_whatever_is_moved():
    net = build(CONFIGS["paper"], ("cpu", "meta")).to_empty(device="cpu")
    sizes = {"cpu": 0, "meta": 0}
    for p in net.parameters():
        sizes[p.device.type] += p.numel()
    assert sizes["cpu"] - 10 == sizes["meta"]  # the bias of fc8


def test_unsuitable_devices_and_nets_are_refused():
    one_tower = PAPER.replace(**SMALL, towers=1)
    cases = [(CONFIGS["paper"], devices) for devices in (("cpu", "cuda:77"), ("cpu",), "cpu")]
    for config, devices in (*cases, (one_tower, CPUS), (FIGURE1, CPUS)):
        with pytest.raises(ValueError, match="devices"):
            build(config, devices)


def test_crossings_of_the_paper_by_hand():
    values = [224 * 224 * 3, 13 * 13 * 256, 6 * 6 * 256, 4096, 1000]
    rows = crossings(PAPER)
    assert [row["layer"] for row in rows] == ["images", "conv3", "fc6", "fc7", "fc8"]
    assert [row["values"] for row in rows] == values
    assert [row["forward"] for row in rows] == [4 * values[0], *(2 * x for x in values[1:])]
    wide = crossings(PAPER.replace(precision="fp32"))
    assert [row["forward"] for row in wide] == [4 * x for x in values]
