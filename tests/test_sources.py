"""Layouts of others, sets of torchvision and of Hugging Face: packed like class folders."""

import io
import shutil
import sys
import tarfile
from pathlib import Path

import pytest
from PIL import Image
from test_prepare import SIDE, load, make_set, noise, roots  # noqa: F401 (a fixture)
from torchvision import datasets

from alexlib.config import runs_root
from alexlib.data import prepare, sources

WNIDS = ("n01440764", "n01443537")


def same(found, expected):
    return [images.fingerprint for images in found] == [images.fingerprint for images in expected]


def flatten(folder):
    """Moves the images of val/<class> to val/; returns the class of each file name."""
    classes = {}
    for file in sorted(folder.glob("*/*.png")):
        name = f"{file.stem}_{file.parent.name}"
        classes[name] = file.parent.name
        file.rename(folder / f"{name}.png")
    for name in {*classes.values()}:
        (folder / name).rmdir()
    return classes


def test_tiny_imagenet_is_read_as_it_comes(tmp_path, capsys):
    make_set(tmp_path / "set", WNIDS)
    expected = load(tmp_path / "set")
    for name in WNIDS:
        (tmp_path / "set/train" / name).rename(tmp_path / "images")
        (tmp_path / "set/train" / name).mkdir()
        (tmp_path / "images").rename(tmp_path / "set/train" / name / "images")
        (tmp_path / "set/train" / name / f"{name}_boxes.txt").touch()
    val = tmp_path / "set/val"
    lines = [f"{file}.png\t{wnid}\t0\t0\t9\t9\n" for file, wnid in flatten(val).items()]
    shutil.copytree(val, tmp_path / "set/test/images")
    shutil.copytree(val, val / "images")
    for file in val.glob("*.png"):
        file.unlink()
    (val / "val_annotations.txt").write_text("".join(lines))
    found = load(tmp_path / "set")
    assert same(found, expected) and found[0].classes == ("tench", "goldfish")
    assert "ignored: 3 .txt, folder test/" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["", "ILSVRC", "ILSVRC/Data/CLS-LOC"])
def test_kaggles_imagenet_is_read_as_it_comes(tmp_path, given, capsys):
    folder = tmp_path / "data/imagenet/ILSVRC/Data/CLS-LOC"
    make_set(folder, WNIDS)
    expected = load(folder)
    lines = [f"{file},{id} 1 2 3 4 {id} 5 6 7 8" for file, id in flatten(folder / "val").items()]
    (folder / "test").mkdir()
    Image.new("RGB", (20, 20)).save(folder / "val/more.png")
    text = "\n".join(["ImageId,PredictionString", *lines])  # without an end of the last line
    (tmp_path / "data/imagenet/LOC_val_solution.csv").write_text(text)
    assert same(load(tmp_path / "data/imagenet" / given), expected)
    assert "1 images without a class of train/" in capsys.readouterr().err
    assert same(load("imagenet"), expected)


def test_archives_of_imagenet_are_unpacked_by_torchvision(tmp_path, monkeypatch):
    def unpack(folder, split):
        make_set(folder) if split == "train" else None
        if not (folder / "devkit").exists():
            raise RuntimeError("no devkit")

    monkeypatch.setattr(datasets, "ImageNet", unpack)
    for name in ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="no devkit"):
        load(tmp_path)
    shutil.rmtree(tmp_path / "train"), shutil.rmtree(tmp_path / "val")
    (tmp_path / "devkit").touch()
    assert len(load(tmp_path)[0]) == 10


class Flowers102:
    """Like torchvision's."""

    def __init__(self, root, split="train", transform=None, download=False):
        if download:
            (root / split).mkdir(parents=True)
        if not (root / split).is_dir():
            raise RuntimeError("not found, use download=True")
        self.images = [Image.fromarray(noise(i)) for i in range(4 if split == "train" else 2)]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], i % 2


@pytest.mark.parametrize("named", [True, False])
def test_sets_of_torchvision_are_packed_by_name(tmp_path, monkeypatch, capsys, named):
    monkeypatch.setattr(datasets, "Flowers102", Flowers102)
    monkeypatch.setattr(Flowers102, "classes", ["rose", "tulip"], raising=False)
    if not named:
        monkeypatch.delattr(Flowers102, "classes")
    make_set(tmp_path / "Flowers102")
    monkeypatch.chdir(tmp_path)
    train, test = load("Flowers102")
    assert train.classes == (("rose", "tulip") if named else ("0", "1"))
    assert (train.name, len(train), len(test)) == ("flowers102", 4, 2)
    assert (train.gather([1])[0] == noise(1)).all() and (tmp_path / "data/flowers102/test").is_dir()
    assert "write ./Flowers102" in capsys.readouterr().err


def test_the_parts_of_torchvisions_sets():
    named = "cifar100 country211 dtd fgvcaircraft flowers102 food101 gtsrb mnist oxfordiiitpet "
    named += "fashionmnist kmnist pcam places365 qmnist stanfordcars stl10 svhn usps"
    for name in named.split():
        assert sources.torchvision_splits(name), name
    for name in ("imagefolder", "fakedata", "kinetics", "celeba", "eurosat", "sintel", "set"):
        assert sources.torchvision_splits(name) is None
    parts = {
        split: given["split"]
        for split, (_, given) in sources.torchvision_splits("places365").items()
    }
    assert parts == {"train": "train-standard", "test": "val"}


def rows(folder):
    """(file name, bytes, label) of each image below train/ and val/."""
    for split, name in (("train", "train"), ("val", "validation")):
        files = sorted((folder / split).glob("*/*"))
        yield name, [(f.name, f.read_bytes(), int(f.parent.name == "dog")) for f in files]


def write_parquet(folder, out, label=int, unlabelled=False):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    out.mkdir()
    splits = dict(rows(folder))
    if unlabelled:
        splits["test"] = [(*row[:2], -1) for row in splits["validation"]]
    for split, found in splits.items():
        columns = {"label": [label(row[2]) for row in found]}
        columns["image"] = [{"path": row[0], "bytes": row[1]} for row in found]
        parquet.write_table(arrow.table(columns), out / f"{split}-00000-of-00001.parquet")


def write_tar(folder, out, pattern):
    for split, found in rows(folder):
        file = out / pattern.format(split)
        file.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(file, "w") as tar:
            for i, (_, content, label) in enumerate(found):
                for ending, data in (("jpg", content), ("cls", str(label).encode())):
                    info = tarfile.TarInfo(f"{i:04}.{ending}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))


SHARDS = {
    "parquet": lambda folder, out: write_parquet(folder, out, unlabelled=True),
    "words": lambda folder, out: write_parquet(folder, out, label=lambda x: ("cat", "dog")[x]),
    "tar": lambda folder, out: write_tar(folder, out, "set-{}-0000.tar"),
    "folders": lambda folder, out: write_tar(folder, out, "{}/0000.tar"),
}


@pytest.mark.parametrize("kind", SHARDS)
def test_shards_become_the_same_pack_as_their_files(tmp_path, monkeypatch, kind):
    pytest.importorskip("datasets")
    make_set(tmp_path / "set")
    SHARDS[kind](tmp_path / "set", tmp_path / "shards")
    found = load(tmp_path / "shards")
    assert same(found, load(tmp_path / "set"))
    assert found[0].classes == (("cat", "dog") if kind == "words" else ("0", "1"))
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert load(tmp_path / "shards")[0].pack == found[0].pack, "opens the pack"
    shutil.rmtree(runs_root() / "packs")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'alexlib\[data\]'"):
        load(tmp_path / "shards")


def test_bad_images_in_shards_are_named(tmp_path):
    pytest.importorskip("datasets")
    make_set(tmp_path / "set")
    (tmp_path / "set/train/cat/3.png").write_bytes(b"no image")
    write_parquet(tmp_path / "set", tmp_path / "shards")
    with pytest.raises(ValueError, match=r"train: 3.png: empty, or not an image"):
        load(tmp_path / "shards")
    assert len(load(tmp_path / "shards", on_error="skip")[0]) == 9


def test_a_set_of_the_hub_is_not_confused_with_a_folder(tmp_path, monkeypatch):
    library = pytest.importorskip("datasets")
    make_set(tmp_path / "set")
    write_parquet(tmp_path / "set", tmp_path / "pets")
    read = library.load_dataset
    hub = {f"owner/{name}": str(tmp_path / name) for name in ("pets", "set")}
    monkeypatch.setattr(library, "load_dataset", lambda name, **options: read(hub[name], **options))
    assert same(load("hf:owner/pets"), load(tmp_path / "set"))
    assert same(load("hf:owner/set"), load(tmp_path / "set")), "files, not shards"
    assert load("hf:owner/set")[0].classes == ("cat", "dog")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="give \\./pets"):
        load("hf:pets")
    with pytest.raises(ValueError, match="nothing cannot be opened"):
        load("hf:nothing")


def test_shards_without_labels_and_shards_further_down_are_explained(tmp_path):
    pytest.importorskip("datasets")
    make_set(tmp_path / "set")
    (tmp_path / "shards").mkdir()
    for split in ("train", "val"):
        with tarfile.open(tmp_path / f"shards/{split}.tar", "w") as tar:
            tar.add(tmp_path / "set" / split, split)
    shutil.rmtree(tmp_path / "set")
    with pytest.raises(ValueError, match="no images with labels"):
        load(tmp_path / "shards")
    with pytest.raises(FileNotFoundError, match=r"did you mean .*/shards\?"):
        load(tmp_path)
    for split in ("train", "val"):
        (tmp_path / f"shards/{split}.tar").rename(tmp_path / f"shards/{split[0]}.tar")
    with pytest.raises(FileNotFoundError, match=r"unpack t\.tar, v\.tar first"):
        load(tmp_path / "shards")


def test_names_are_told_from_folders():
    assert prepare.known_name("hf:x") == "hf:x" and prepare.known_name("MNIST") == "mnist"
    assert prepare.known_name(Path("mnist")) is None and prepare.known_name("./mnist") is None
