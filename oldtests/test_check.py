"""The look at a folder before it is packed, the commands about data, and docs/data.md."""

import os
import re
import shutil
import subprocess
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.io
from PIL import Image

from alexold import __main__, data, pack, pictures, sources
from alexold.check import FLAT, LEAK, RENAMED, TWINS, amount, check, text
from alexold.paths import ROOT


@pytest.fixture(autouse=True)
def roots(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXLIB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ALEXLIB_DATA", str(tmp_path / "data"))


def picture(path, seed=0, size=(20, 16), mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def folder(tmp_path):
    """cat: 3 and 1 pictures, dog: 2 and 2."""
    for seed, name in enumerate(("train/cat/0", "train/cat/1", "train/cat/2", "train/dog/0", "train/dog/1")):
        picture(tmp_path / "set" / f"{name}.png", seed)
    picture(tmp_path / "set/val/cat/0.jpg", 10, (40, 30), "L")
    picture(tmp_path / "set/val/dog/0.JPEG", 11, (50, 30))
    picture(tmp_path / "set/val/dog/1.png", 12, (64, 64))
    return tmp_path / "set"


def run(capsys, *args):
    """Exit status, output (without what IPython's display adds under pytest) and errors of a command."""
    status = __main__.main(["data", *map(str, args)])
    out, err = capsys.readouterr()
    return status, out.lstrip("\n"), err


# ---- reports -----------------------------------------------------------------------------------------------


def test_a_good_folder_is_counted(folder):
    report = check(folder)
    assert not report.refused and not report.odd and not report.ignored and list(report.splits) == ["train", "val"]
    train, val = report.splits.values()
    assert (train.classes, val.classes) == ({"cat": 3, "dog": 2}, {"cat": 1, "dog": 2})
    assert val.formats == {"JPEG": 2, "PNG": 1} and val.modes == {"L": 1, "RGB": 2}
    assert val.sizes == {(40, 30): 1, (50, 30): 1, (64, 64): 1}
    assert train.bytes == sum(file.stat().st_size for file in folder.glob("train/*/*"))
    assert [line.strip() for line in text(report).splitlines()[-8:]] == [
        "classes  2 of 1 (cat) to 2 (dog) pictures",
        "formats  2 JPEG, 1 PNG",
        "modes    2 RGB, 1 L",
        "width    40 to 64 pixels, median 50",
        "height   30 to 64 pixels, median 30",
        "square   1 of 3",
        "",
        "All pictures can be used, and nothing about them is odd.",
    ]


def test_bad_files_are_listed_by_kind_and_packing_agrees(folder):
    (folder / "train/cat/0.png").write_bytes(b"")
    os.truncate(folder / "val/dog/1.png", 70)
    (folder / "train/cat/page.jpg").write_text("<html>")
    picture(folder / "train/dog/line.png", 20, (900, 8))
    picture(folder / "train/dog/dot.png", 20, (1, 1))
    report = check(folder)
    assert {kind: found.first for kind, found in report.bad.items()} == {
        "empty": ["train/cat/0.png: 0 bytes"],
        "not a picture": [
            "train/cat/page.jpg: no known format (JPEG, PNG, BMP, WEBP, GIF, TIFF): begins with b'<html>'"
        ],
        "too small": ["train/dog/dot.png: 1 x 1 pixels: a side is shorter than 8"],
        "too long": ["train/dog/line.png: 900 x 8 pixels: one side is more than 100 times the other"],
        "truncated": ["val/dog/1.png: its data end early"],
    }
    assert report.refused and "Packing would stop at 5 pictures; with --on-error skip it" in text(report)
    skipped = [file for images in data.load(folder, 16, on_error="skip") for file in images.skipped]
    assert sorted(map(": ".join, skipped)) == sorted(words for found in report.bad.values() for words in found.first)


def test_many_bad_files_are_counted_and_the_first_are_named(folder):
    for i in range(25):
        (folder / f"train/cat/empty{i:02}.png").touch()
    report = check(folder)
    assert report.bad["empty"].count == 25 and len(report.bad["empty"].first) == 20
    assert "  empty: 25\n    train/cat/empty00.png: 0 bytes\n" in text(report) and "... and 5 more" in text(report)


def test_what_is_odd_is_no_error(folder):
    shutil.copy(folder / "train/cat/1.png", folder / "val/dog/copy.png")
    shutil.copy(folder / "train/cat/1.png", folder / "val/cat/another.png")
    with Image.open(folder / "train/dog/1.png") as same:
        same.save(folder / "train/dog/other bytes.png", compress_level=1)
    (folder / "train/dog/other bytes.png").rename(folder / "train/dog/same.jpg")
    Image.new("RGB", (20, 20), "red").save(folder / "train/cat/red.png")
    report = check(folder)
    assert not report.refused and {kind: found.first for kind, found in report.odd.items()} == {
        FLAT: ["train/cat/red.png"],
        RENAMED: ["train/dog/same.jpg: PNG"],
        TWINS: ["val/dog/copy.png = val/cat/another.png", "train/dog/same.jpg = train/dog/1.png"],
        LEAK: ["val/cat/another.png = train/cat/1.png", "val/dog/copy.png = train/cat/1.png"],
    }
    assert text(report).endswith("\nAll pictures can be used.")


def test_copies_are_named_right_beside_bad_files(folder):
    (folder / "train/cat/0.png").write_bytes(b"")
    shutil.copy(folder / "train/dog/1.png", folder / "val/dog/copy.png")
    assert check(folder).odd[LEAK].first == ["val/dog/copy.png = train/dog/1.png"]


def test_files_that_packing_does_not_see_are_counted(folder):
    for name in ("train/notes.txt", "train/cat/a.XML", "train/cat/LICENSE", "train/cat/.hidden.png", ".git/x.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    picture(folder / "train/loose.png")
    picture(folder / "train/cat/deeper/0.png")
    report = check(folder)
    assert report.ignored == {".txt": 1, ".xml": 1, "without extension": 1, ".png elsewhere than in a class folder": 2}
    assert "ignored files: 2 .png elsewhere than in a class folder, 1 " in text(report)


def test_all_that_is_wrong_with_the_layout_is_told_at_once(folder, monkeypatch, real=os.scandir):
    (folder / "train/empty").mkdir()
    (folder / "val/empty").mkdir()
    (folder / "val/wolf").mkdir()
    picture(folder / "val/wolf/0.png", 30)
    (folder / "val/cat/0.jpg").write_bytes(b"")

    def denied(path):
        if sources.Path(path).name == "dog":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", denied)
    report = check(folder)
    assert [line.replace(str(folder), "set") for line in report.layout] == [
        "set/train/dog cannot be listed (Permission denied): make it readable, or remove it",
        "set/train/empty holds no pictures (.jpeg .jpg .png .bmp .webp .gif .tif .tiff): fill or remove it",
        "set/val/dog cannot be listed (Permission denied): make it readable, or remove it",
        "set/val/empty holds no pictures (.jpeg .jpg .png .bmp .webp .gif .tif .tiff): fill or remove it",
        "set: train/ and val/ must have the same class folders; only one has val/wolf",
        "set/val/cat: none of its pictures can be used",
    ]
    assert report.refused and text(report).endswith("Packing would refuse this folder: see above.")


@pytest.mark.parametrize(("missing", "told"), [("train", "has no train/"), ("val", r"has no val/ or test/")])
def test_a_missing_split_is_told_and_the_other_is_read(folder, missing, told):
    shutil.rmtree(folder / missing)
    report = check(folder)
    assert len(report.layout) == 1 and told in report.layout[0] and report.refused
    assert missing not in report.splits and len(report.splits) == 1
    assert sum(next(iter(report.splits.values())).formats.values()) in (3, 5)


def test_a_split_alone_and_a_flat_folder_can_be_looked_at(folder):
    split = check(folder / "train")
    assert split.splits[""].classes == {"cat": 3, "dog": 2} and not split.refused
    flat = check(folder / "train" / "cat")
    assert flat.splits[""].classes == {"": 3} and not flat.refused and flat.splits[""].formats == {"PNG": 3}
    assert "classes" not in text(flat) and text(flat).startswith(f"{folder / 'train' / 'cat'}: 3 pictures, ")
    os.symlink("nowhere", folder / "train/cat/gone.png")
    os.symlink("loop.png", folder / "train/cat/loop.png")
    assert check(folder / "train/cat").bad["unreadable"].first == [
        "gone.png: cannot be read (No such file or directory)",
        "loop.png: cannot be read (Too many levels of symbolic links)",
    ]
    (folder / "nothing").mkdir()
    assert check(folder / "nothing").layout == [f"{folder / 'nothing'} holds no pictures; {sources.LAYOUT}"]


@pytest.mark.parametrize(("size", "words"), [(251_887_689_936, "251.89 GB"), (4_321_000, "4.32 MB"), (0, "0.00 MB")])
def test_amounts(size, words):
    assert amount(size) == words


# ---- commands ----------------------------------------------------------------------------------------------


def test_check_says_by_its_status_whether_packing_would_refuse(folder, capsys):
    status, out, err = run(capsys, "check", folder)
    assert (
        status == 0
        and out.endswith("All pictures can be used, and nothing about them is odd.\n")
        and err.startswith(f"checked {folder}: 8 pict")
    )
    (folder / "train/cat/0.png").write_bytes(b"")
    status, out, err = run(capsys, "check", folder)
    assert status == 1 and "train/cat/0.png: 0 bytes" in out


def test_names_of_any_bytes_are_printed(folder, capfdbinary):
    with open(os.fsencode(folder / "train/cat") + b"/\xff.png", "wb"):
        pass
    assert __main__.main(["data", "check", str(folder)]) == 1
    assert rb"train/cat/\udcff.png: 0 bytes" in capfdbinary.readouterr().out
    assert __main__.main(["data", "pack", str(folder), "--on-error", "skip"]) == 0
    assert rb"train/cat/\udcff.png: 0 bytes" in capfdbinary.readouterr().out


def test_wrong_paths_are_one_line(folder, capsys):
    for path, told in ((folder / "nowhere", "is no folder"), (folder / "train/cat/0.png", "is a file, not a folder")):
        status, out, err = run(capsys, "check", path)
        assert status == 2 and out == "" and err.startswith(f"error: {path} {told}") and err.count("\n") == 1
        assert "the named sets are below" in err


def test_pack_says_where_how_many_and_what_is_left_out(folder, capsys, tmp_path):
    for i in range(22):
        (folder / f"train/cat/empty{i:02}.png").touch()
    status, out, err = run(capsys, "pack", folder, "--side", 16)
    assert status == 2 and out == "" and f"error: {folder}: 22 of 30 pictures cannot be used\n" in err
    status, out, _ = run(capsys, "pack", folder, "--side", 16, "--on-error", "skip")
    first, *lines = out.splitlines()
    (packed,) = (tmp_path / "runs/packs").glob("set-16-*")
    assert status == 0 and first == f"{packed}, 0.01 MB"
    assert lines[0] == "train: 5 pictures of side 16 in 2 classes, 22 files left out"
    assert lines[1] == "  train/cat/empty00.png: 0 bytes"
    assert lines[21] == f"  ... and 2 more, in {packed / 'meta.json'}"
    assert lines[22] == "test: 3 pictures of side 16 in 2 classes, 0 files left out" and len(lines) == 23


def test_get_says_where_a_set_is(tmp_path, capsys):
    (tmp_path / "data/imagenette").mkdir(parents=True)
    assert run(capsys, "get", "imagenette") == (0, f"{tmp_path / 'data/imagenette'}\n", "")
    assert run(capsys, "get", "sample")[:2] == (0, "sample is generated: there is nothing to get\n")
    for name in ("imagenet", "imagenete"):
        status, out, err = run(capsys, "get", name)
        assert status == 2 and out == "" and err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["get"], ["check"], ["pack"], ["pack", "set", "--side", "big"]])
def test_incomplete_commands_are_explained(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        run(capsys, *arguments)
    assert caught.value.code == 2 and "usage: python -m alexold data" in capsys.readouterr().err


def test_train_hands_on_error_over(monkeypatch, capsys):
    monkeypatch.setattr(data, "load", lambda *args: (_ for _ in ()).throw(ValueError(f"loaded {args}")))
    assert __main__.main(["train", "--data", "set", "--on-error", "skip"]) == 2
    assert "loaded ('set', 256, 'skip')" in capsys.readouterr().err


# ---- docs/data.md ------------------------------------------------------------------------------------------

PAGE = (ROOT / "docs" / "data.md").read_text()
HUNDRED, TRAIN, KAGGLE = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
(VAL,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
WNIDS = ("n01440764", "n03888257")


def archive(path, files):
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name in files:
            tar.add(path.parent / name, name)


def make_imagenet(folder):
    """Small archives with the names and the structure of the published ones."""
    for i, wnid in enumerate(WNIDS):
        for k in range(2):
            picture(folder / f"{wnid}_{k}.JPEG", 10 * i + k)
        archive(folder / f"{wnid}.tar", [f"{wnid}_{k}.JPEG" for k in range(2)])
    archive(folder / "ILSVRC2012_img_train.tar", [f"{wnid}.tar" for wnid in WNIDS])
    names = [f"ILSVRC2012_val_{i:08}.JPEG" for i in (1, 2, 3)]
    for i, name in enumerate(names):
        picture(folder / name, 50 + i)
    archive(folder / "ILSVRC2012_img_val.tar", names)
    fields = [("ILSVRC2012_ID", float), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", float)]
    synsets = np.array([(1, WNIDS[0], "tench, Tinca", "", 0), (2, WNIDS[1], "parachute, chute", "", 0)], fields)
    (folder / "ILSVRC2012_devkit_t12/data").mkdir(parents=True)
    scipy.io.savemat(folder / "ILSVRC2012_devkit_t12/data/meta.mat", {"synsets": synsets})
    (folder / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt").write_text("2\n1\n2\n")
    archive(folder / "ILSVRC2012_devkit_t12.tar.gz", ["ILSVRC2012_devkit_t12"])


def shell(code, folder):
    subprocess.run(["sh", "-e", "-c", code], cwd=folder, check=True)


def test_imagenet_is_laid_out_as_the_page_says(tmp_path, monkeypatch):
    make_imagenet(tmp_path)
    shell(TRAIN, tmp_path)
    monkeypatch.setattr("torchvision.datasets.imagenet.check_integrity", lambda *_: True)
    monkeypatch.chdir(tmp_path)
    exec(VAL, {})
    report = check(tmp_path / "data/imagenet")
    assert not report.refused and not report.ignored and not report.odd
    assert report.splits["train"].classes == dict.fromkeys(WNIDS, 2)
    assert report.splits["val"].classes == {WNIDS[0]: 1, WNIDS[1]: 2}
    assert (tmp_path / "data/imagenet/val" / WNIDS[0] / "ILSVRC2012_val_00000002.JPEG").exists()
    train, test = data.load("imagenet", 16)
    assert (train.name, len(train), len(test)) == ("imagenet", 4, 3)


def test_a_hundred_classes_are_linked_out_of_imagenet(tmp_path, monkeypatch):
    for i, wnid in enumerate(f"n{i:08}" for i in range(20)):
        for split in ("train", "val"):
            picture(tmp_path / f"data/imagenet/{split}/{wnid}/{i}.JPEG", i)
    shell(HUNDRED, tmp_path)
    (tmp_path / "data/miniimagenet/classes.txt").write_text("n00000000\thouse finch, linnet\nn00000010\trobin\n")
    monkeypatch.setenv("ALEXLIB_DATA", str(tmp_path / "data"))
    train, test = data.load("miniimagenet", 16)  # every tenth class
    assert train.classes == ("house finch", "robin") and (len(train), len(test)) == (2, 2)
    monkeypatch.setenv("ALEXLIB_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"mini-ImageNet is not at .*docs/data.md"):
        data.load("miniimagenet", 16)


def test_the_validation_pictures_of_kaggle_are_sorted(tmp_path):
    for i in (1, 2):
        picture(tmp_path / f"data/imagenet/val/ILSVRC2012_val_{i:08}.JPEG", i)
    rows = (f"ILSVRC2012_val_{i:08},{wnid} 85 1 499 272 {wnid} 1 2 3 4 " for i, wnid in zip((2, 1), WNIDS, strict=True))
    (tmp_path / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows, ""]))
    shell(KAGGLE, tmp_path)
    found = sorted(str(file.relative_to(tmp_path / "data/imagenet/val")) for file in tmp_path.rglob("*.JPEG"))
    assert found == [f"{WNIDS[0]}/ILSVRC2012_val_00000002.JPEG", f"{WNIDS[1]}/ILSVRC2012_val_00000001.JPEG"]


def test_the_page_says_how_much_disk_the_code_asks_for(tmp_path, monkeypatch):
    """Its numbers, and the refusal before a pack of ImageNet's size begins."""
    for count, side in ((3500, 256), (13394, 256), (60000, 32), (1_281_167, 256), (50_000, 256), (1_331_167, 256)):
        assert f"{count * side**2 * 3 / 1e9:.2f} GB" in PAGE
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=252e9))
    with pytest.raises(OSError, match=r"1,331,167 pictures of side 256\) needs 261\.73 GB; .* has 252\.00 GB free"):
        pack._check_room(tmp_path, "imagenet", 1_331_167, 256)


def test_the_page_names_all_commands_and_extensions(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["data", "--help"])
    commands = re.findall(r"^    (\w+) ", capsys.readouterr().out, re.M)
    assert commands == ["get", "check", "pack"] == re.findall(r"^    python -m alexold data (\w+) ", PAGE, re.M)[:3]
    assert all(extension in PAGE for extension in pictures.EXTENSIONS)
    assert f"shorter than {pictures.SHORTEST} pixels" in PAGE and f"more than {pictures.LONGEST} times" in PAGE
