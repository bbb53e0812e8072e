"""Pictures of every shape and mode, packs that survive changes, kills and races, and the sets made from them."""

import errno
import functools
import io
import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps

from alexold import data, pack, pictures, sources
from alexold.paths import ROOT, data_root

SIDE = 16
PICTURES = data_root()  # before the tests move it


@pytest.fixture(autouse=True)
def roots(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXLIB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ALEXLIB_DATA", str(tmp_path / "data"))


def noise(seed, height=SIDE, width=SIDE):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make_set(folder, counts=(("cat", 6, 2), ("dog", 4, 3)), test="val"):
    """PNG files of side SIDE, so that their decoded bytes are known; returns {"train": pixels, "test": pixels}."""
    pixels = {"train": [], "test": []}
    for c, (name, *numbers) in enumerate(counts):
        for split, where, number in zip(("train", "test"), ("train", test), numbers, strict=True):
            (folder / where / name).mkdir(parents=True)
            for i in range(number):
                pixels[split].append(noise((c, i, split == "train")))
                Image.fromarray(pixels[split][-1]).save(folder / where / name / f"{i}.png")
    return {split: np.stack(list_) for split, list_ in pixels.items()}


def packs():
    """Names under packs/: whole packs and leftovers, without the (empty) lock files."""
    return sorted(p.name for p in pack.runs_root().glob("packs/*") if p.suffix != ".lock")


load = functools.partial(data.load, side=SIDE)


@pytest.fixture
def folder(tmp_path):
    make_set(tmp_path / "set")
    return tmp_path / "set"


# ---- what a set holds --------------------------------------------------------------------------------------


def test_a_folder_becomes_two_sets_in_sorted_order(tmp_path):
    pixels = make_set(tmp_path / "set")
    for no_picture in ("notes.txt", "._0.png"):
        (tmp_path / "set" / "train" / "cat" / no_picture).touch()
    train, test = load(tmp_path / "set")
    assert (np.asarray(train.pixels) == pixels["train"]).all() and (np.asarray(test.pixels) == pixels["test"]).all()
    assert train.labels.tolist() == [0] * 6 + [1] * 4 and train.labels.dtype == np.int64
    assert test.labels.tolist() == [0] * 2 + [1] * 3
    assert train.classes == test.classes == ("cat", "dog")
    assert (train.name, train.split, test.split, train.side, len(test)) == ("set", "train", "test", SIDE, 5)
    assert train.fingerprint != test.fingerprint and train.origin == "folder of 15 .png files"
    with pytest.raises(ValueError):
        train.pixels[0] = 0


def test_mean_and_colour_axes_are_those_of_all_training_pixels(tmp_path):
    rng = np.random.default_rng(5)
    mix = np.array([[60, 10, 0], [50, -5, 8], [40, 3, -6]])
    for split, name in (("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")):
        (tmp_path / "set" / split / name).mkdir(parents=True)
        for i in range(20):
            colours = np.clip(110 + rng.standard_normal((SIDE, SIDE, 3)) @ mix.T, 0, 255).astype(np.uint8)
            Image.fromarray(colours).save(tmp_path / "set" / split / name / f"{i}.png")
    train, test = load(tmp_path / "set")
    pixels = train.gather(range(len(train))).astype(np.float64)
    covariance = np.cov(pixels.reshape(-1, 3), rowvar=False, bias=True)
    vectors = train.eigenvectors
    assert train.mean.dtype == np.float32 and np.abs(train.mean - pixels.mean(axis=0)).max() < 1e-5
    assert np.allclose(vectors @ np.diag(train.eigenvalues) @ vectors.T, covariance, rtol=1e-9)
    assert np.allclose(train.eigenvalues, np.linalg.eigvalsh(covariance), rtol=1e-9)
    assert np.allclose(vectors.T @ vectors, np.eye(3), atol=1e-12)
    assert all(column[np.abs(column).argmax()] > 0 for column in vectors.T)
    assert test.mean is train.mean and test.eigenvalues is train.eigenvalues


def test_packs_stay_valid_and_one_colour_has_no_negative_variance(tmp_path):
    """The name of a pack's folder and the fingerprint of its content do not change unless `FORMAT` does."""
    for i, where in enumerate(("train/a", "val/a")):
        (tmp_path / "set" / where).mkdir(parents=True)
        Image.new("RGB", (SIDE, SIDE), (13, 101, i)).save(tmp_path / "set" / where / "0.bmp")
        os.utime(tmp_path / "set" / where / "0.bmp", ns=(0, 1))
    train, _ = load(tmp_path / "set")
    assert (packs(), train.fingerprint) == (["set-16-68a005eeeb5f3f73"], "4155455505c526d1")
    meta = json.loads((pack.runs_root() / "packs" / packs()[0] / "meta.json").read_text())
    assert meta["sha256"]["train"].startswith(train.fingerprint) and meta["numpy"] == np.__version__
    assert (train.eigenvalues >= 0).all() and np.allclose(train.eigenvalues, 0, atol=1e-6)


def test_the_fingerprint_is_that_of_the_content(tmp_path):
    make_set(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    os.utime(tmp_path / "two" / "train" / "cat" / "0.png", (1, 1))
    one, two = load(tmp_path / "one"), load(tmp_path / "two")
    assert one[0].fingerprint == two[0].fingerprint and one[1].fingerprint == two[1].fingerprint
    (tmp_path / "two" / "train" / "cat" / "5.png").rename(tmp_path / "two" / "train" / "dog" / "!.png")
    relabelled, test = load(tmp_path / "two")
    assert (relabelled.labels != one[0].labels).any() and (relabelled.pixels == one[0].pixels).all()
    assert relabelled.fingerprint != one[0].fingerprint and test.fingerprint == one[1].fingerprint
    Image.fromarray(noise(99)).save(tmp_path / "one" / "train" / "cat" / "0.png")
    assert load(tmp_path / "one")[0].fingerprint != one[0].fingerprint


# ---- parts of a set ----------------------------------------------------------------------------------------


def test_subset_and_gather_equal_direct_indexing(tmp_path):
    pixels = make_set(tmp_path / "set")["train"]
    train, _ = load(tmp_path / "set")
    some = [7, 0, 7, 3]
    assert (train.gather(some) == pixels[some]).all()
    part = train.subset([9, 2, 5, 0], split="part")
    assert (part.gather([3, 1]) == pixels[[0, 2]]).all() and (part.pixels[1] == pixels[2]).all()
    assert part.labels.tolist() == [1, 0, 0, 0] and (len(part), part.side, part.split) == (4, SIDE, "part")
    inner = part.subset(part.labels == 0)
    assert (inner.gather([0, 1, 2]) == pixels[[2, 5, 0]]).all() and len(inner) == 3
    assert np.shares_memory(inner.pixels.array, train.pixels), "a subset must not copy the pixels"
    assert part.fingerprint not in (train.fingerprint, train.subset([9, 2, 5, 1]).fingerprint)
    assert part.fingerprint == train.subset([9, 2, 5, 0]).fingerprint
    assert train.gather([]).shape == (0, SIDE, SIDE, 3)
    for copy in (train.gather([0]), part.gather([3])):
        assert copy.flags.writeable, "torch.from_numpy warns of arrays that are not"
        copy[:] = 0
    assert (train.gather([0]) == pixels[[0]]).all()


def images(labels):
    """A set without files, each pixel of picture i being i."""
    labels = np.asarray(labels)
    pixels = np.broadcast_to(np.arange(len(labels), dtype=np.uint8)[:, None, None, None], (len(labels), 4, 4, 3))
    axes = {"mean": np.zeros((4, 4, 3), np.float32), "eigenvalues": np.ones(3), "eigenvectors": np.eye(3)}
    return data.Images(pixels, labels, ("a", "b", "c"), **axes, name="made", split="train", fingerprint="f")


def test_holdout_is_stratified_disjoint_and_the_same_each_time():
    whole = images([0] * 100 + [1] * 50 + [2] * 10)
    rest, held = whole.holdout(0.2, seed=1)
    assert np.bincount(held.labels).tolist() == [20, 10, 2] and np.bincount(rest.labels).tolist() == [80, 40, 8]
    ids = [part.gather(range(len(part)))[:, 0, 0, 0] for part in (rest, held)]
    assert sorted(np.concatenate(ids).tolist()) == list(range(160))
    assert (rest.split, held.split) == ("train", "holdout")
    assert (whole.holdout(0.2, seed=1)[1].pixels.rows == held.pixels.rows).all()
    assert (whole.holdout(0.2, seed=2)[1].pixels.rows != held.pixels.rows).any()


def test_holdout_leaves_something_of_each_class_on_both_sides():
    for fraction in (0.01, 0.99):
        rest, held = images([0] * 5 + [1] * 2 + [2]).holdout(fraction, seed=0)
        assert set(rest.labels) == {0, 1, 2} and set(held.labels) == {0, 1}
    for wrong in (0, 1, -0.1, 1.5):
        with pytest.raises(ValueError, match="fraction"):
            images([0, 1]).holdout(wrong, seed=0)


@pytest.mark.parametrize("wrong", [[10], [-1], [0.5], [[0, 1]], [True, False]])
def test_indices_outside_the_set_are_refused(wrong):
    with pytest.raises(IndexError, match="indices"):
        images([0] * 10).gather(wrong)


def test_images_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match="do not fit 3 classes"):
        images([0, 3])
    with pytest.raises(ValueError, match=r"labels \(N,\)"):
        images([[0, 1]])


# ---- packs -------------------------------------------------------------------------------------------------


def no_decoding(*_):
    raise AssertionError("decoded again")


def test_an_unchanged_set_is_not_decoded_again(folder, monkeypatch):
    first = load(folder)
    monkeypatch.setattr(sources, "decode", no_decoding)
    second = load(folder)
    assert len(packs()) == 1 and (np.asarray(second[0].pixels) == np.asarray(first[0].pixels)).all()
    assert (second[0].mean == first[0].mean).all() and second[0].fingerprint == first[0].fingerprint
    with pytest.raises(AssertionError, match="decoded again"):
        load(folder, side=8)


CHANGES = {  # by name: what is done to train/cat/0.png, and the number of training pictures after it
    "rewritten": (lambda one: Image.fromarray(noise(99)).save(one), 10),
    "touched": (lambda one: os.utime(one, ns=(0, one.stat().st_mtime_ns + 1)), 10),
    "added": (lambda one: Image.fromarray(noise(99)).save(one.with_name("!.png")), 11),
    "removed": (lambda one: one.unlink(), 9),
    "renamed": (lambda one: one.rename(one.with_name("new.png")), 10),
    "moved": (lambda one: one.rename(one.parents[2] / "val" / "cat" / "new.png"), 9),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_set_makes_a_new_pack(folder, change):
    load(folder)
    act, count = CHANGES[change]
    act(folder / "train" / "cat" / "0.png")
    train, _ = load(folder)
    assert len(packs()) == 2 and len(train) == count
    assert (train.gather([0])[0] == noise(99)).all() == (change in ("rewritten", "added"))


def test_size_alone_and_split_alone_make_a_new_pack(tmp_path):
    make_set(tmp_path / "set", (("cat", 3, 1),))
    (tmp_path / "set" / "val" / "cat" / "0.png").rename(tmp_path / "set" / "val" / "cat" / "9.png")
    load(tmp_path / "set")
    last = tmp_path / "set" / "train" / "cat" / "2.png"
    then = last.stat().st_mtime_ns
    Image.new("RGB", (SIDE, SIDE)).save(last)
    os.utime(last, ns=(then, then))
    assert not load(tmp_path / "set")[0].gather([2]).any()
    last.rename(tmp_path / "set" / "val" / "cat" / "2.png")  # the files in a row are the same as before
    assert [len(images) for images in load(tmp_path / "set")] == [2, 2]


def whole(folder):
    """Whether a set made by `make_set` loads up to the last training picture."""
    return (load(folder)[0].gather([9])[0] == noise((1, 3, True))).all()


def test_an_interrupted_packing_leaves_nothing(folder, monkeypatch, capfd):
    def interrupted(path, side, real=sources.decode):
        if path.name == "3.png":
            raise KeyboardInterrupt
        return real(path, side)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sources, "decode", interrupted)
        load(folder)
    assert re.match(r"packing set was stopped: \d pictures in 0 s\n$", capfd.readouterr().err)
    assert packs() == []
    assert whole(folder)


LOADING = """
import sys, threading
from alexold import data, sources
real = sources.decode
def stall(path, side):
    if path.name == sys.argv[2]:
        print("stalled", flush=True)
        threading.Event().wait()
    return real(path, side)
sources.decode = stall
print(data.load(sys.argv[1], 16)[0].fingerprint)
"""


def loading(folder, stall_at=""):
    command = [sys.executable, "-c", LOADING, str(folder), stall_at]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert not stall_at or process.stdout.readline() == "stalled\n"
    return process


def test_a_killed_packing_is_swept_away_by_the_next(folder, tmp_path):
    process = loading(folder, stall_at="5.png")
    make_set(tmp_path / "other")
    load(tmp_path / "other")
    assert len([name for name in packs() if name.endswith(".part")]) == 1, "a living packing must be left alone"
    process.kill()
    process.communicate()
    assert len(packs()) == 2
    load(tmp_path / "other", side=8)
    assert len(packs()) == 2 and not any(name.endswith(".part") for name in packs())
    assert whole(folder)


def test_a_second_process_waits_and_takes_the_place_of_a_killed_one(folder):
    first = loading(folder, stall_at="5.png")
    second = loading(folder)
    assert "waiting" in second.stderr.readline()
    first.kill()
    first.communicate()
    assert "packed set: 15 pictures" in second.communicate()[1] and second.returncode == 0
    assert len(packs()) == 1


def test_two_processes_at_once_share_one_pack(tmp_path):
    make_set(tmp_path / "set", (("cat", 60, 20), ("dog", 60, 20)))
    results = [process.communicate() for process in [loading(tmp_path / "set") for _ in range(3)]]
    assert len({out for out, _ in results}) == 1 and results[0][0]
    assert sum("packed set" in err for _, err in results) == 1, "packed once"
    assert len(packs()) == 1


@pytest.mark.parametrize("name", ["train.u8", "test.labels.npy", "statistics.npz", "meta.json"])
@pytest.mark.parametrize("left", [0, 100, None])
def test_a_damaged_pack_is_named(folder, name, left):
    load(folder)
    packed = next(pack.runs_root().glob("packs/set-*"))
    if left is None:
        (packed / name).unlink()
    else:
        os.truncate(packed / name, left)
    with pytest.raises(ValueError, match=rf"{packed} is damaged .*delete this folder"):
        load(folder)


def test_a_full_disk_is_refused_before_anything_is_written(folder, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=15 * SIDE * SIDE * 3))
    monkeypatch.setattr(sources, "decode", no_decoding)
    with pytest.raises(OSError, match=r"needs 0\.00 GB.* free: make room, or set ALEXLIB_RUNS"):
        load(folder)
    assert packs() == []


def test_a_large_set_takes_bounded_memory():
    """Few pictures may be read ahead of the one that is written."""
    begun = []
    read = pack._pictures(500, lambda i: begun.append(i) or np.zeros((4, 4, 3), np.uint8))
    for done, _ in enumerate(read):
        assert len(begun) <= done + 1 + pictures.AHEAD * os.cpu_count()
    assert done == 499


def test_progress_counts_every_picture_and_ends_in_one_line(folder, capfd, monkeypatch):
    with monkeypatch.context() as patch:
        shown = []
        patch.setattr(pictures.Progress, "due", lambda _: True)
        patch.setattr(pictures.Progress, "show", lambda _, text: shown.append(text))
        load(folder)
        assert [line.split(",")[0] for line in shown] == [f"packing set: {i} of 15 pictures" for i in range(1, 16)]
        assert shown[-1].endswith(" 0 s left")
    assert capfd.readouterr().err.startswith("packed set: 15 pictures in ")
    load(folder)
    assert capfd.readouterr() == ("", "")


# ---- pictures that cannot be used --------------------------------------------------------------------------


def spoil(folder, *names):
    """Make files of a set unusable."""
    for name in names:
        os.truncate(folder / name, 60)


EARLY = "its data end early"
skip = functools.partial(load, on_error="skip")


def test_all_bad_files_of_both_splits_are_named_and_leave_no_pack(folder, capfd):
    spoil(folder, "train/cat/1.png", "val/dog/2.png")
    (folder / "train/dog/0.png").write_bytes(b"")
    with pytest.raises(ValueError) as caught:
        load(folder)
    assert str(caught.value).splitlines() == [
        f"{folder}: 3 of 15 pictures cannot be used",
        f"  train/cat/1.png: {EARLY}",
        "  train/dog/0.png: 0 bytes",
        f"  val/dog/2.png: {EARLY}",
        'replace or delete them, or leave them out with on_error="skip" (--on-error skip); '
        f"to look closer: python -m alexold data check {folder}",
    ]
    assert packs() == [] and capfd.readouterr().err.startswith("looked at set: 15 pictures in ")
    for name in ("train/cat/1.png", "val/dog/2.png", "train/dog/0.png"):
        (folder / name).unlink()
    assert [len(images) for images in load(folder)] == [8, 4]


def test_a_refused_set_is_looked_at_without_writing(folder, monkeypatch):
    class Untouched(io.FileIO):
        def write(self, _):
            raise AssertionError("written for nothing")

    spoil(folder, "train/cat/0.png")
    with monkeypatch.context() as patch, pytest.raises(ValueError, match="1 of 15 pictures"):
        patch.setattr(pack, "open", Untouched, raising=False)
        load(folder)


def test_twenty_bad_files_are_listed_and_the_others_counted(tmp_path):
    make_set(tmp_path / "set", (("cat", 26, 1),))
    spoil(tmp_path / "set", *(f"train/cat/{i}.png" for i in range(25)))
    with pytest.raises(ValueError, match="25 of 27 pictures cannot be used") as caught:
        load(tmp_path / "set")
    assert str(caught.value).count(EARLY) == 20 and "\n  ... and 5 more\n" in str(caught.value)


def test_skipped_files_are_left_out_and_recorded(tmp_path, monkeypatch, capfd):
    """What is packed equals the set that never had them."""
    for name in ("set", "clean"):
        make_set(tmp_path / name)
    bad = ("train/cat/1.png", "train/dog/3.png", "val/cat/0.png")
    spoil(tmp_path / "set", *bad)
    for name in bad:
        (tmp_path / "clean" / name).unlink()
    for images, expected in zip(skip(tmp_path / "set"), load(tmp_path / "clean"), strict=True):
        assert images.fingerprint == expected.fingerprint and (images.labels == expected.labels).all()
        for name in ("pixels", "mean", "eigenvalues", "eigenvectors"):
            assert (np.asarray(getattr(images, name)) == np.asarray(getattr(expected, name))).all(), name
        assert expected.skipped == ()
    assert "packed set: 15 pictures in 0 s, 3 of them left out" in capfd.readouterr().err
    monkeypatch.setattr(sources, "decode", no_decoding)
    train, test = skip(tmp_path / "set")
    assert train.skipped == ((bad[0], EARLY), (bad[1], EARLY)) and test.skipped == ((bad[2], EARLY),)
    rest, held = train.holdout(0.5, seed=0)
    assert rest.skipped == held.skipped == rest.subset([0]).skipped == train.skipped
    folder = next(pack.runs_root().glob("packs/set-*"))
    skipped = {"train": [[bad[0], EARLY], [bad[1], EARLY]], "test": [[bad[2], EARLY]]}
    assert json.loads((folder / "meta.json").read_text())["skipped"] == skipped
    with pytest.raises(ValueError, match=rf"set: 3 of 15 pictures cannot be used\n  {bad[0]}: {EARLY}\n"):
        load(tmp_path / "set")


def test_packs_from_before_skipping_stay_valid(folder, monkeypatch):
    load(folder)
    meta = next(pack.runs_root().glob("packs/set-*")) / "meta.json"
    content = json.loads(meta.read_text())
    assert content.pop("skipped") == {}
    meta.write_text(json.dumps(content))
    monkeypatch.setattr(sources, "decode", no_decoding)
    assert load(folder)[0].skipped == skip(folder)[0].skipped == ()


def test_a_class_without_usable_pictures_is_an_error(folder):
    spoil(folder, "train/cat/0.png", "val/cat/0.png", "val/cat/1.png")
    expected = r"set: 2 of 2 pictures of class cat in test cannot be used\n  val/cat/0.png: .*\n  val/cat/1.png: .*\n"
    with pytest.raises(ValueError, match=expected + "replace them, or remove the class; "):
        skip(folder)
    assert packs() == []


def test_a_flat_folder_can_skip_too(tmp_path):
    for i in range(3):
        Image.fromarray(noise(i)).save(tmp_path / f"{i}.png")
    spoil(tmp_path, "1.png")
    with pytest.raises(ValueError, match=rf"1 of 3 .*\n  1.png: {EARLY}\n"):
        data.load_flat(tmp_path, SIDE)
    flat = data.load_flat(tmp_path, SIDE, on_error="skip")
    assert (flat.gather([0, 1]) == [noise(0), noise(2)]).all() and flat.skipped == (("1.png", EARLY),)


@pytest.mark.parametrize("source", ["sample", "set"])
def test_unknown_ways_to_handle_errors_are_refused(folder, source):
    with pytest.raises(ValueError, match="on_error must be one of raise, skip, not 'ignore'"):
        load(folder if source == "set" else source, on_error="ignore")


def test_a_disk_that_becomes_full_leaves_nothing(folder, monkeypatch):
    class Full(io.FileIO):
        def write(self, content):
            if self.tell() > 3 * SIDE * SIDE * 3:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

    def opened(path, mode):
        return (Full if mode == "wb" else open)(path, mode)

    expected = r"^no room was left in .*packs while set was packed: make room, or set ALEXLIB_RUNS"
    with monkeypatch.context() as patch, pytest.raises(OSError, match=expected):
        patch.setattr(pack, "open", opened, raising=False)
        load(folder)
    assert packs() == []
    assert whole(folder)


# ---- wrong folders and missing sets ------------------------------------------------------------------------


def test_folders_that_are_laid_out_otherwise_are_explained(tmp_path):
    folder = tmp_path / "set"
    with pytest.raises(FileNotFoundError, match=r"set is no folder, and no set known by name .*imagenette"):
        load(folder)
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match=r"has no train/ \(it has: no folders\); expected are train/<class>"):
        load(folder)
    make_set(folder, (("cat", 1, 1),), test="validation")
    with pytest.raises(FileNotFoundError, match=r"has no val/ or test/ \(it has: train, validation\); expected"):
        load(folder)
    (folder / "val").mkdir()
    Image.fromarray(noise(0)).save(folder / "val" / "0.JPEG")
    with pytest.raises(ValueError, match=r"val has no class folders \(1 pictures lie directly in it\); expected"):
        load(folder)
    (folder / "val" / "cat").mkdir()
    with pytest.raises(ValueError, match=r"val/cat holds no pictures \(.jpeg .jpg"):
        load(folder)
    (folder / "val" / "0.JPEG").rename(folder / "val" / "cat" / "0.JPEG")
    assert len(load(folder)[1]) == 1
    (folder / "test").mkdir()
    assert len(load(folder)[1]) == 1, "a folder without classes, as ImageNet's own test pictures"
    shutil.copytree(folder / "val" / "cat", folder / "test" / "cat")
    with pytest.raises(ValueError, match="has both val/ and test/"):
        load(folder)


def test_different_classes_in_train_and_test_are_named(folder):
    (folder / "val" / "dog").rename(folder / "val" / "wolf")
    with pytest.raises(ValueError, match=r"same class folders; only one has train/dog, val/wolf$"):
        load(folder)
    (folder / "train" / "wolf").write_text("../dog")
    with pytest.raises(ValueError, match=r"only one has train/dog, val/wolf \(train/wolf is no folder\)$"):
        load(folder)


def test_links_to_nothing_are_named(folder):
    os.symlink(folder / "gone.png", folder / "val" / "cat" / "gone.png")
    with pytest.raises(ValueError, match=r"1 of 16 .*\n  val/cat/gone.png: cannot be read \(No such file or directory"):
        load(folder)
    os.symlink(folder / "gone", folder / "train" / "cow")
    with pytest.raises(FileNotFoundError, match=r"train/cow is a link to nothing: mend or remove it"):
        load(folder)


@pytest.mark.parametrize("where", ["", "train", "val/dog"])
def test_a_folder_that_cannot_be_listed_is_named(folder, monkeypatch, where, real=os.scandir):
    def denied(path):
        if folder / where == sources.Path(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", denied)
    expected = rf"^{folder / where} cannot be listed \(Permission denied\): make it readable, or remove it$"
    with pytest.raises(OSError, match=expected):
        load(folder)


def test_no_set_and_no_network(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", offline)
    monkeypatch.setattr("torchvision.datasets.Imagenette", offline)
    for name in ("cifar10", "imagenette"):
        asked = rf"OSError: no route to host\)\. Put the pictures into .*{name}: .*; or unpack https://.*gz in "
        for call in (load, sources.get):
            with pytest.raises(FileNotFoundError, match=asked):
                call(name)
    with pytest.raises(FileNotFoundError, match=r"ImageNet is not at .*imagenet: get ILSVRC-2012"):
        load("imagenet")
    assert packs() == []


@pytest.mark.parametrize("place", ["imagenette", "imagenette2", "imagenette2-320"])
def test_imagenette_is_found_where_it_lies_and_named_for_people(tmp_path, place):
    make_set(tmp_path / "data" / place, (("n01440764", 2, 1), ("n03888257", 1, 1)))
    train, _ = load("imagenette")
    assert train.classes == ("tench", "parachute") and train.name == "imagenette"
    assert sources.get("imagenette") == tmp_path / "data" / place


def test_imagenette_is_downloaded_whole_or_not_at_all(tmp_path, monkeypatch):
    root, fail = tmp_path / "data", True

    def download(part, size, download):
        make_set(sources.Path(part) / "imagenette2-320", (("n01440764", 2, 1),))
        if fail:
            raise RuntimeError("connection lost")

    monkeypatch.setattr("torchvision.datasets.Imagenette", download)
    with pytest.raises(FileNotFoundError, match="connection lost"):
        load("imagenette")
    assert list(root.iterdir()) == []
    fail = False
    assert len(load("imagenette")[0]) == 2
    assert [path.name for path in root.iterdir()] == ["imagenette2-320"]


def test_cifar10_from_torchvision_and_from_a_folder(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)

    def published(root, train, download):
        part = slice(0, 4) if train else slice(4, 6)
        return SimpleNamespace(data=pixels[part], targets=[1, 0, 0, 1, 1, 0][part], classes=["airplane", "automobile"])

    monkeypatch.setattr("torchvision.datasets.CIFAR10", published)
    train, test = load("cifar10", side=32)
    assert (np.asarray(train.pixels) == pixels[:4]).all() and test.labels.tolist() == [1, 0]
    assert train.origin == "CIFAR-10 as published" and train.classes == ("airplane", "automobile")
    assert sources.get("cifar10") == tmp_path / "data" / "cifar-10-batches-py"
    make_set(tmp_path / "data" / "cifar10", test="test")
    assert sources.get("cifar10") == tmp_path / "data" / "cifar10"
    train, _ = load("cifar10", side=32)
    assert train.origin == "folder of 15 .png files" and train.classes == ("cat", "dog") and train.name == "cifar10"


def test_sets_that_are_not_downloaded(tmp_path):
    assert sources.get("sample") is None
    (tmp_path / "data" / "imagenet").mkdir(parents=True)
    assert sources.get("imagenet") == tmp_path / "data" / "imagenet"
    with pytest.raises(ValueError, match="no set is called 'mnist'; valid names: sample, cifar10, imagenette, mini"):
        sources.get("mnist")


def test_the_sample_is_generated(monkeypatch):
    monkeypatch.setattr(sources, "SAMPLE_TRAIN", 12)
    monkeypatch.setattr(sources, "SAMPLE_TEST", 11)
    train, test = load("sample")
    assert (len(train), len(test), train.name, train.side) == (12, 11, "sample", SIDE)
    assert test.labels.tolist() == [*range(10), 0] and len(train.classes) == 10
    assert (train.gather([3])[0] == sources.sample.picture(sources.SAMPLE_SEED, "train", 3, SIDE)[0]).all()


def test_about_txt_says_which_copy_it_is(folder):
    first = load(folder)[0]
    (folder / "about.txt").write_text("  A copy of a copy \nby nobody\n")
    noted = load(folder)[0]
    assert noted.origin == f"A copy of a copy; {first.origin}" and noted.fingerprint == first.fingerprint
    (folder / "about.txt").write_text("")
    assert load(folder)[0].origin == first.origin and len(packs()) == 2


def test_a_flat_folder_is_one_class(tmp_path):
    for i in range(3):
        Image.fromarray(noise(i)).save(tmp_path / f"{i}.PNG")
    flat = data.load_flat(tmp_path, SIDE)
    assert len(flat) == 3 and flat.classes == ("unlabelled",) and (flat.gather([2])[0] == noise(2)).all()
    with pytest.raises(FileNotFoundError, match="no folder with pictures"):
        data.load_flat(tmp_path / "nowhere", SIDE)


def coarse(picture):
    """Means of tiles of 8 x 8 pixels: coarser than what JPEG drafts and rounded crops change."""
    return np.asarray(picture, float).reshape(32, 8, 32, 8, 3).mean((1, 3))


@pytest.mark.data("imagenet-photos")
def test_real_photographs_are_cut_to_squares_and_not_squashed():
    files = sorted((PICTURES / "imagenet-photos").glob("*.JPEG"))
    flat = data.load_flat(PICTURES / "imagenet-photos", 256)
    assert len(flat) == len(files) and flat.side == 256
    for file, pixels in zip(files, flat.gather(range(len(files))), strict=True):
        with Image.open(file) as photo:
            grey, rgb, long = photo.mode == "L", photo.convert("RGB"), max(photo.size) > 1.2 * min(photo.size)
        cut, squashed = (
            coarse(make(rgb, (256, 256), Image.Resampling.BICUBIC)) for make in (ImageOps.fit, Image.Image.resize)
        )
        to_cut, to_squashed = (np.abs(coarse(pixels) - other).mean() for other in (cut, squashed))
        assert to_cut < 4, file.name
        assert not long or to_squashed > 2 * to_cut, file.name
        assert (pixels == pixels[..., :1]).all() == grey, file.name
