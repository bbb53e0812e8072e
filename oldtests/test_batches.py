"""The feed of batches: every picture once an epoch, the same from any place on, read ahead in bounded memory."""

import functools
import threading

import numpy as np
import pytest
import torch

from alexold import batches, data
from alexold.batches import Feed, generator, order


def images(n=50, side=6):
    """Picture i is filled with i, its label is i modulo 3."""
    pixels = np.arange(n, dtype=np.uint8)[:, None, None, None] * np.ones((side, side, 3), np.uint8)
    axes = {"mean": np.zeros((side, side, 3), np.float32), "eigenvalues": np.ones(3), "eigenvectors": np.eye(3)}
    about = {"name": "made", "split": "train", "fingerprint": "f"}
    return data.Images(pixels, np.arange(n) % 3, ("a", "b", "c"), **axes, **about)


def feed_of(way, made=None):
    """A feed that works in one of its three ways; the one that keeps a set on a GPU works on a CPU as well."""
    feed = Feed(made or images())
    feed.fits = way != "read ahead"
    if way == "on the device":
        feed._whole = feed.images.gather(range(len(feed)))
        feed._whole = torch.from_numpy(feed._whole), None
    return feed


@pytest.fixture(params=["read ahead", "from the pack", "on the device"])
def feed(request):
    return functools.partial(feed_of, request.param)


def test_an_epoch_shows_each_picture_once_in_an_order_of_its_own():
    epochs = [torch.cat(order(50, 8, seed=1, epoch=e)).tolist() for e in (0, 1, 0)]
    assert epochs[0] == epochs[2] != epochs[1] and torch.cat(order(50, 8, 2, 0)).tolist() != epochs[0]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert [len(part) for part in order(50, 8, 1, 0)] == [8] * 6 + [2]


def test_every_place_is_as_likely_for_a_picture():
    first = np.bincount([order(5, 5, seed, 0)[0][0] for seed in range(2000)], minlength=5)
    assert first.min() > 330 and first.max() < 470  # 400 expected, standard deviation 18


def test_generators_of_other_purposes_and_numbers_are_others():
    keys = [(0, 0, "order"), (0, 0, "augment"), (0, 1, "order"), (1, 0, "order")]
    assert len({generator(*key).initial_seed() for key in keys}) == 4
    assert generator(0, 7, "order").initial_seed() == generator(0, 7, "order").initial_seed()


def test_batches_hold_the_pictures_that_were_asked_for(feed):
    parts = order(50, 8, seed=3, epoch=0)
    seen = list(feed()(parts))
    assert len(seen) == 7 and len(seen[-1][0]) == 2, "the last batch is not dropped"
    for indices, (pixels, labels) in zip(parts, seen, strict=True):
        assert pixels.dtype == torch.uint8 and pixels.shape == (len(indices), 6, 6, 3)
        assert torch.equal(pixels[:, 2, 3, 1].long(), indices) and torch.equal(labels, indices % 3)


def test_it_goes_on_at_any_batch(feed):
    parts = order(50, 8, seed=3, epoch=4)
    whole, rest = list(feed()(parts)), list(feed()(order(50, 8, seed=3, epoch=4)[5:]))
    assert len(rest) == 2
    for (pixels, labels), (again, labels_again) in zip(whole[5:], rest, strict=True):
        assert torch.equal(pixels, again) and torch.equal(labels, labels_again)


def test_subsets_and_numpy_indices(feed):
    part = images().subset([40, 3, 17])
    ((pixels, labels),) = feed(part)([np.array([2, 0])])
    assert pixels[:, 0, 0, 0].tolist() == [17, 40] and labels.tolist() == [17 % 3, 40 % 3]


def test_a_few_batches_are_read_ahead_and_no_more(monkeypatch):
    made, read, allowed = images(), [], threading.Semaphore(0)
    gather = data.Images.gather

    def counted(self, indices):
        read.append(len(indices))
        allowed.release()
        return gather(self, indices)

    monkeypatch.setattr(data.Images, "gather", counted)
    running = feed_of("read ahead", made)(torch.arange(50).split(5))
    next(running)
    for _ in range(1 + batches.AHEAD):  # read while nobody asks
        assert allowed.acquire(timeout=30)
    assert len(read) == 1 + batches.AHEAD
    next(running)
    assert allowed.acquire(timeout=30) and len(read) == 2 + batches.AHEAD


def test_an_error_of_the_reading_thread_arrives_and_the_thread_ends():
    before = threading.active_count()
    with pytest.raises(IndexError, match=r"0\.\.49"):
        list(feed_of("read ahead")([torch.arange(5), torch.arange(48, 53)]))
    started = feed_of("read ahead")(torch.arange(50).split(5))
    next(started)
    started.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(("memory", "fits"), [(2, True), (1.99, False)])
def test_a_set_larger_than_half_the_memory_is_read_ahead(monkeypatch, memory, fits):
    made = images()
    monkeypatch.setattr(batches, "_memory", lambda _: memory * made.pixels.nbytes)
    assert Feed(made).fits == fits
    assert (Feed(made)._whole is None) != fits


def test_memory_is_that_of_this_machine():
    assert 2**28 < batches._memory(torch.device("cpu")) < 2**50
