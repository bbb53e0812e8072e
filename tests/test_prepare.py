"""Image files become squares, data sets become packs, and what is wrong with them is named."""

import errno
import hashlib
import io
import multiprocessing
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin
from torchvision.datasets import FakeData

from alexlib.config import runs_root
from alexlib.data import packing, prepare
from alexlib.data.images import read_file
from alexlib.data.packing import pack, square

SIDE = 16


@pytest.fixture(autouse=True)
def roots(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXLIB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ALEXLIB_DATA", str(tmp_path / "data"))


def load(folder, **options):
    return prepare.load(folder, SIDE, **options)


def noise(seed, size=(SIDE, SIDE)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def make_set(folder, classes=("cat", "dog"), test="val", counts=(5, 2)):
    """PNG files of side SIDE; returns the pixels of the training and of the test images."""
    pixels = ([], [])
    for c, name in enumerate(classes):
        for s, split in enumerate(("train", test)):
            (folder / split / name).mkdir(parents=True)
            for i in range(counts[s]):
                pixels[s].append(noise((s, c, i)))
                Image.fromarray(pixels[s][-1]).save(folder / split / name / f"{i}.png")
    return np.stack(pixels[0]), np.stack(pixels[1])


@pytest.fixture
def folder(tmp_path):
    make_set(tmp_path / "set")
    return tmp_path / "set"


@pytest.mark.parametrize("size", [(96, 40), (40, 96), (33, 20), (SIDE, 41)])
def test_the_centre_of_an_image_becomes_a_square(size):
    """A ramp over x and y tells where each pixel of the square was."""
    y, x = np.mgrid[: size[1], : size[0]]
    found = square(Image.fromarray(np.stack([2 * x, 2 * y, 0 * x], -1).astype(np.uint8)), SIDE)
    centres = (np.arange(SIDE) + 0.5) * min(size) / SIDE - 0.5
    for channel, length in enumerate(size):
        expected = 2 * ((length - min(size)) // 2 + centres)
        seen = found[..., channel].mean(axis=channel)
        assert np.abs(seen - expected)[2:-2].max() < 1.5  # resampling flattens the ends


MODES = {  # a value, and its RGB
    "1": (1, (255, 255, 255)),
    "LA": ((40, 255), (40, 40, 40)),
    "RGBA": ((10, 200, 30, 0), (255, 255, 255)),
    "CMYK": ((255, 0, 0, 0), (0, 255, 255)),
    "I;16": (77 * 257, (77, 77, 77)),
}


@pytest.mark.parametrize("mode", MODES)
def test_all_modes_become_rgb(mode):
    value, expected = MODES[mode]
    assert (square(Image.new(mode, (30, 20), value), SIDE) == expected).all()


def test_a_large_jpeg_is_decoded_at_a_fraction_and_looks_the_same(tmp_path):
    x, y = np.meshgrid(np.linspace(0, 6, 800), np.linspace(0, 4, 500))
    smooth = [128 + 100 * np.sin(x + k) * np.cos(y) for k in range(3)]
    image, exif = Image.fromarray(np.stack(smooth, -1).astype(np.uint8)), Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees", which is ignored as in 2012
    image.save(tmp_path / "a.jpg", quality=95, subsampling=0, exif=exif)
    read = read_file(str(tmp_path / "a.jpg"), 62)
    assert read.size == (200, 125)
    expected = image.crop((150, 0, 650, 500)).resize((62, 62), Image.Resampling.BICUBIC)
    assert np.abs(square(read, 62) - np.asarray(expected, float)).max() <= 4


def encoded(form, size=(60, 45), **options):
    out = io.BytesIO()
    Image.fromarray(noise(0, size)).save(out, form, **options)
    return out.getvalue()


TEXT = PngImagePlugin.PngInfo()
TEXT.add_text("comment", "x" * 2_000_000, zip=True)
GOOD = {"a.jfif": encoded("JPEG"), "a.avif": encoded("AVIF"), "a.PNG": encoded("PNG", pnginfo=TEXT)}
BAD = {
    "empty": b"",
    "no image": b"<html>404</html>",
    "no known format": encoded("EPS"),  # Pillow starts another program for it
    "cut JPEG": encoded("JPEG")[:1500],
    "cut PNG": encoded("PNG")[:1500],
    "header only": b"\xff\xd8\xff" + bytes(99),
    "too small": encoded("PNG", (7, 40)),
    "too long": encoded("PNG", (8, 801)),
    "bomb": encoded("PNG", (120, 120)),
}


def test_bad_files_are_all_named_or_left_out(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as some notebooks do
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6500)  # a bomb has twice as many
    for name, content in GOOD.items():
        (folder / "train/cat" / name).write_bytes(content)
    shutil.copytree(folder, tmp_path / "clean")
    for name, content in BAD.items():
        (folder / "train/dog" / f"{name}.png").write_bytes(content)
    (folder / "val/cat/gone.png").symlink_to("nowhere.png")
    with pytest.raises(ValueError) as caught:
        load(folder)
    assert str(tmp_path) not in str(caught.value)
    skipped, good = load(folder, on_error="skip"), load(tmp_path / "clean")
    found = skipped[0].skipped + skipped[1].skipped
    bad = [f"train/dog/{name}.png" for name in sorted(BAD)]
    assert [file for file, _ in found] == [*bad, "val/cat/gone.png"]
    assert all(reason and f"{file}: {reason}" in str(caught.value) for file, reason in found)
    for images, expected in zip(skipped, good, strict=True):
        assert images.fingerprint == expected.fingerprint, "as if the files had never been there"
        assert (images.mean == expected.mean).all()
    assert len(good[0]) == 10 + len(GOOD)
    with pytest.raises(ValueError, match="header only"):
        load(folder)  # nobody trains on fewer images by mistake


def test_a_class_that_loses_all_images_is_an_error(folder):
    for file in (folder / "val/dog").iterdir():
        file.write_bytes(b"")
    with pytest.raises(ValueError, match="val/dog"):
        load(folder, on_error="skip")

    class Stream:  # of words, as in shards
        def __iter__(self):
            return iter([(f"{i}.jpg", None, ["a", "b", None][i % 3]) for i in range(6)])

        def __getitem__(self, item):
            return (Image.new("RGB", (30, 30)) if item[2] != "b" else None), item[2]

    with pytest.raises(ValueError, match=r"(?s)1.jpg.*not a PIL image.*2.jpg.*NoneType"):
        pack("words", lambda: {"train": Stream()}, (), side=SIDE, on_error="skip")


def test_a_folder_becomes_two_sets_in_sorted_order(tmp_path, capsys):
    pixels = make_set(tmp_path / "set")
    (tmp_path / "set/train/cat/notes.txt").touch()
    (tmp_path / "set/train/.hidden").mkdir()
    (tmp_path / "set/train/stray.JPG").write_bytes(encoded("JPEG"))
    (tmp_path / "set/train/cat/.0.png").touch()
    (tmp_path / "set/classes.txt").write_text("dog\thound, Canis\ncat\tcat, Felis catus\n")
    (tmp_path / "set/about.txt").write_text("A copy of a copy\nby nobody\n")
    (tmp_path / "set/test").mkdir()  # without class folders, as that of ImageNet
    sets = load(tmp_path / "set")
    for images, expected, split in zip(sets, pixels, ("train", "test"), strict=True):
        assert (images.gather(range(len(expected))) == expected).all()
        assert images.labels.tolist() == sorted([0, 1] * (len(expected) // 2))
        assert (images.name, images.split, images.classes) == ("set", split, ("cat", "hound"))
        content = str([*expected.shape]).encode() + expected.tobytes() + images.labels.tobytes()
        assert images.fingerprint == hashlib.sha256(content).hexdigest()[:16]
    ignored = "ignored: 1 .txt, 1 hidden, 1 images beside the class folders, folder test/"
    assert sets[0].origin == f"A copy of a copy; folder of 14 .png files; {ignored}"
    assert capsys.readouterr().err == f"set: {ignored}\n"


def test_mean_and_axes_are_those_of_all_training_pixels(folder):
    train, _ = load(folder)
    pixels = train.gather(range(len(train))).astype(np.float64)
    covariance = np.cov(pixels.reshape(-1, 3), rowvar=False, bias=True)
    assert train.mean.dtype == np.float32 and np.abs(train.mean - pixels.mean(0)).max() < 1e-5
    rebuilt = (train.eigenvectors * train.eigenvalues) @ train.eigenvectors.T
    np.testing.assert_allclose(rebuilt, covariance, rtol=1e-9)
    np.testing.assert_allclose(train.eigenvalues, np.linalg.eigvalsh(covariance), rtol=1e-9)
    assert all(column[np.abs(column).argmax()] > 0 for column in train.eigenvectors.T)


CHANGES = {  # of train/cat/0.png
    "touched": lambda file: os.utime(file, ns=(0, file.stat().st_mtime_ns + 1)),
    "removed": lambda file: file.unlink(),
    "moved": lambda file: file.rename(file.parents[1] / "dog/new.png"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_pack_is_used_until_a_file_changes(folder, monkeypatch, change):
    first = load(folder)[0]
    with monkeypatch.context() as patch:
        patch.setattr(packing, "_make", None)
        assert load(folder)[0].pack == first.pack
    CHANGES[change](folder / "train/cat/0.png")
    again = load(folder)[0]
    assert again.pack != first.pack and len(again) == len([*folder.glob("train/*/*")])


WRONG = {  # by what the message must name: what is done to a good folder
    "val": lambda folder: shutil.rmtree(folder / "val"),
    "train/": lambda folder: (folder / "train").rename(folder / "training"),
    "dog, wolf": lambda folder: (folder / "val/dog").rename(folder / "val/wolf"),
    "dog$": lambda folder: [file.unlink() for file in (folder / "val/dog").iterdir()],
    "train/cow": lambda folder: (folder / "train/cow").symlink_to("nowhere"),
    "either val": lambda folder: shutil.copytree(folder / "val", folder / "test"),
}


def test_a_folder_above_or_below_and_archives_are_explained(folder, tmp_path):
    (tmp_path / "zips").mkdir()
    archives = {"set.zip": "unpack it", "zips": "unpack a.zip"}
    for name in ("set.zip", "zips/a.zip"):
        (tmp_path / name).touch()
    meant = dict.fromkeys(("set/train", "set/train/cat", ""), "did you mean .*/set?")
    for given, said in (meant | archives).items():
        with pytest.raises(FileNotFoundError, match=said):
            load(tmp_path / given)


@pytest.mark.parametrize("named", WRONG)
def test_other_layouts_are_explained(folder, named):
    WRONG[named](folder)
    with pytest.raises((ValueError, FileNotFoundError), match=named):
        load(folder)


def test_any_map_style_data_set_is_packed(monkeypatch):
    data = FakeData(12, (3, 20, 30), 3)  # its generator is global: a single thread
    given = {"name": "fake: 1", "splits": {"train": data}, "classes": "abc", "side": SIDE}
    train = pack(**given, threads=1)["train"]
    for i, (image, label) in enumerate(data[i] for i in range(12)):
        assert train.labels[i] == label and (train.gather([i])[0] == square(image, SIDE)).all()
    with pytest.raises(ValueError, match="must be images"):
        pack(**given | {"splits": {"train": data, "test": []}}, threads=1)
    monkeypatch.setattr(packing, "_make", None)
    assert pack(**given)["train"].fingerprint == train.fingerprint
    with pytest.raises(TypeError):  # _make is called
        pack(**given, version="2")


@pytest.mark.parametrize(
    "stop",
    [
        (packing, "_fingerprint", Mock(side_effect=KeyboardInterrupt)),
        (packing, "_fingerprint", Mock(side_effect=OSError(errno.ENOSPC, "No space left"))),
        (shutil, "disk_usage", Mock(return_value=SimpleNamespace(free=14 * 3 * SIDE**2))),
    ],
)
def test_an_interruption_or_a_full_disk_leaves_nothing(folder, monkeypatch, stop):
    with monkeypatch.context() as patch, pytest.raises(BaseException, match=r"ALEXLIB_RUNS|^$"):
        patch.setattr(*stop)
        load(folder)
    assert {path.suffix for path in runs_root().glob("packs/*")} <= {".lock"}
    assert len(load(folder)[0]) == 10


def fingerprint_of(folder):
    """In another process: the fingerprint, and whether this process packed the set."""
    made, write = [], packing._write
    packing._write = lambda *given: made.append(write(*given))
    return load(folder)[0].fingerprint, len(made)


def test_processes_at_the_same_time_share_one_pack(folder):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        found = pool.map(fingerprint_of, [folder] * 3, chunksize=1)
    assert sum(made for _, made in found) == 1 and len({print_ for print_, _ in found}) == 1


def test_a_file_system_without_locks_still_packs(folder, monkeypatch):
    monkeypatch.setattr("fcntl.flock", Mock(side_effect=OSError(errno.ENOLCK, "No locks")))
    assert len(load(folder)[0]) == 10


@pytest.mark.parametrize("file", ["train.u8", "arrays.npz", "about.json"])
@pytest.mark.parametrize("left", [0, 100, None])
def test_a_damaged_pack_is_named(folder, file, left):
    path = load(folder)[0].pack[0] / file
    path.unlink() if left is None else os.truncate(path, left)
    with pytest.raises(ValueError, match=str(path.parent)):
        load(folder)


def test_the_sample_is_generated(monkeypatch):
    monkeypatch.setattr(prepare, "SAMPLE", {"train": 12, "test": 11})
    train, test = load("sample")
    assert (len(train), len(test), prepare.get("sample")) == (12, 11, None)
    assert (train.gather([3])[0] == prepare.synthetic.image(2012, "train", 3, SIDE)[0]).all()


def test_imagenette_is_downloaded_completely_or_not_at_all(tmp_path, monkeypatch):
    errors = [RuntimeError("connection lost")]

    def download(self, root, size, download):
        make_set(Path(root) / "imagenette2-320", ("n01440764",))
        if errors:
            raise errors.pop()

    monkeypatch.setattr("torchvision.datasets.Imagenette.__init__", download)
    with pytest.raises(FileNotFoundError, match="connection lost"):
        load("imagenette")
    assert list((tmp_path / "data").iterdir()) == []
    assert len(load("imagenette")[0]) == 5


def test_cifar10_is_read_by_torchvision_or_from_a_folder(tmp_path, monkeypatch):
    def published(root, train=True, download=False):
        (root / "cifar-10-batches-py").mkdir(parents=True, exist_ok=True)
        data = FakeData(6 if train else 3, (3, 32, 32), 2)
        data.classes = ["airplane", "automobile"]
        return data

    monkeypatch.setattr("torchvision.datasets.CIFAR10", published)
    train, test = load("cifar10")
    assert train.classes == ("airplane", "automobile") and (len(train), len(test)) == (6, 3)
    make_set(tmp_path / "data/cifar10", test="test")
    assert load("cifar10")[0].classes == ("cat", "dog")


def test_sets_that_are_not_there_are_named():
    for name in ("imagenet", "miniimagenet", "no/such/folder"):
        with pytest.raises(FileNotFoundError, match=name):
            load(name)


def test_a_known_set_is_found_before_a_folder_of_the_same_name(tmp_path, monkeypatch, capsys):
    make_set(tmp_path / "data/imagenette2", ("n01440764",))
    make_set(tmp_path / "here/imagenette")
    monkeypatch.chdir(tmp_path / "here")
    assert load("imagenette")[0].classes == ("tench",)
    assert "write ./imagenette" in capsys.readouterr().err
    assert load("./imagenette")[0].classes == ("cat", "dog")
    assert capsys.readouterr().err == ""


def test_class_folders_may_have_any_name(tmp_path):
    make_set(tmp_path / "图", ["猫", "naïve café", os.fsdecode(b"caf\xe9")])
    assert load(tmp_path / "图")[0].classes == ("caf\\xe9", "naïve café", "猫")
