"""Sets of images, their parts, and the mini-batches that are read from them."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.datasets import FakeData

from alexlib.data import images as module
from alexlib.data.images import Feed, Images, generator, order
from alexlib.data.packing import pack


def images_of(labels, side=6):
    """Every pixel of image i is i."""
    n = len(labels)
    pixels = np.arange(n, dtype=np.uint8)[:, None, None, None] * np.ones((side, side, 3), np.uint8)
    statistics = np.zeros((side, side, 3), np.float32), np.ones(3), np.eye(3)
    return Images(pixels, np.array(labels), ("a", "b", "c"), *statistics, "made", "train", "f")


@pytest.fixture
def made():
    return images_of(np.arange(50) % 3)


def numbers(images):
    return images.gather(range(len(images)))[:, 0, 0, 0].tolist()


def test_subsets_are_indexed_like_arrays(made):
    part = made.subset([9, 2, 5, 0], split="part")
    assert numbers(part) == [9, 2, 5, 0] and part.labels.tolist() == [0, 2, 2, 0]
    assert numbers(part.subset(part.labels == 2)) == [2, 5], "a subset of a subset"
    assert part.split == "part" and part.side == 6
    assert np.shares_memory(part.pixels, made.pixels), "no pixels are copied"
    assert made.gather([]).shape == (0, 6, 6, 3) and len(made.subset([])) == 0
    with pytest.raises(IndexError):
        part.gather([4])
    part = made.subset([9, 2, 5])
    assert part.fingerprint == made.subset(np.array([9, 2, 5], np.int32)).fingerprint
    others = made.subset([9, 2, 4]), made.subset([2, 9, 5]), made
    assert part.fingerprint not in {other.fingerprint for other in others}


@settings(deadline=None)
@given(counts=st.tuples(*[st.integers(0, 40)] * 3), fraction=st.floats(0.01, 0.99))
def test_a_holdout_is_stratified_and_disjoint(counts, fraction):
    whole = images_of(np.repeat(np.arange(3), counts))
    rest, held = whole.holdout(fraction, seed=1)
    assert sorted(numbers(rest) + numbers(held)) == list(range(len(whole)))
    for label, count in enumerate(counts):
        taken = np.sum(held.labels == label)
        assert abs(taken - fraction * count) <= 1
        assert count < 2 or 0 < taken < count, "both parts get an image"
    assert (rest.split, held.split) == ("train", "holdout")


def test_packed_images_are_pickled_without_pixels(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXLIB_RUNS", str(tmp_path))
    train = pack("fake", {"train": FakeData(8, (3, 99, 99), 2)}, ("a", "b"), 64)["train"]
    for images in (train, train.subset([5, 1])):
        content = pickle.dumps(images)
        again = pickle.loads(content)
        assert len(content) < images.mean.nbytes + 10_000
        assert (again.gather([1, 0]) == images.gather([1, 0])).all()
        assert again.fingerprint == images.fingerprint


def test_an_epoch_has_each_image_once_in_its_own_order():
    epochs = [torch.cat(order(50, 8, seed=1, epoch=epoch)).tolist() for epoch in (0, 1, 0)]
    assert epochs[0] == epochs[2] != epochs[1] != torch.cat(order(50, 8, 2, 1)).tolist()
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert [len(batch) for batch in order(50, 8, 1, 0)] == [8] * 6 + [2]
    # as in the runs on record
    assert torch.cat(order(10, 4, seed=0, epoch=3)).tolist() == [6, 2, 8, 3, 1, 5, 0, 7, 4, 9]
    assert generator(7, 11, "augment").initial_seed() == 8486298747442875409


@pytest.mark.parametrize("way", ["read ahead", "on the GPU"])
def test_batches_hold_the_images_that_were_asked_for(made, way):
    part = made.subset(np.arange(49, 9, -1))
    feed, batches = Feed(part), order(len(part), 8, seed=3, epoch=0)
    if way == "on the GPU":  # as `Feed` copies a set to a GPU
        feed._copy = feed._copied()
    for wanted in (batches, batches[3:], [np.array([2, 0])]):
        for indices, (pixels, labels) in zip(wanted, feed(wanted), strict=True):
            assert pixels.dtype == torch.uint8 and pixels.shape == (len(indices), 6, 6, 3)
            assert (49 - pixels[:, 2, 3, 1].long()).tolist() == indices.tolist()
            assert labels.tolist() == part.labels[indices].tolist()
    assert {x.device.type for x in next(Feed(part, "meta")(batches))} == {"meta"}


def test_few_items_are_read_ahead():
    taken = []
    items = (taken.append(i) or i for i in range(100))
    for done, result in enumerate(module.in_order(lambda i: i, items, threads=4, ahead=8)):
        assert result == done and len(taken) <= done + 9
