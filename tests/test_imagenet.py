"""The commands of docs/imagenet.md, with a small set in archives like ImageNet's."""

import hashlib
import io
import os
import re
import shlex
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import scipy.io
from PIL import Image
from torchvision.datasets import imagenet
from typer.testing import CliRunner

from alexlib.__main__ import app
from alexlib.config import ROOT
from alexlib.paper import IMAGENET_CLASSES
from alexlib.study import rows

COMMANDS = re.findall("^    (.+)$", (ROOT / "docs" / "imagenet.md").read_text(), re.MULTILINE)
SMALLER = "--epochs 1 --set width 0.0625 --set dropout 0"  # the last of two options counts


def archive(file, contents):
    """A tar file of {name: bytes}."""
    with tarfile.open(file, "w:gz" if file.suffix == ".gz" else "w") as tar:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def saved(write):
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def jpeg(rng):
    colours = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
    image = Image.fromarray(colours).resize((80, 60))
    return saved(lambda out: image.save(out, "JPEG"))


def make_archives(folder, monkeypatch):
    """1,000 classes, two training images and one for testing each; the checksums of torchvision."""
    rng, wnids = np.random.default_rng(0), sorted(IMAGENET_CLASSES)
    train = folder / "ILSVRC2012_img_train.tar"
    classes = {}
    for wnid in wnids:
        archive(folder / "class.tar", {f"{wnid}_{i}.JPEG": jpeg(rng) for i in range(2)})
        classes[f"{wnid}.tar"] = (folder / "class.tar").read_bytes()
    archive(train, classes)
    val = {f"ILSVRC2012_val_{i:08}.JPEG": jpeg(rng) for i in range(len(wnids))}
    archive(folder / "ILSVRC2012_img_val.tar", val)
    kinds = [("id", int), ("wnid", "O"), ("words", "O"), ("gloss", "O"), ("num_children", int)]
    synsets = np.array([(i + 1, wnid, wnid, "", 0) for i, wnid in enumerate(wnids)], kinds)
    data = "ILSVRC2012_devkit_t12/data"
    truth = "".join(f"{i + 1}\n" for i in range(len(wnids)))
    devkit = {
        f"{data}/meta.mat": saved(lambda out: scipy.io.savemat(out, {"synsets": synsets})),
        f"{data}/ILSVRC2012_validation_ground_truth.txt": truth.encode(),
    }
    archive(folder / "ILSVRC2012_devkit_t12.tar.gz", devkit)
    (folder / "class.tar").unlink()
    for kind, (name, _) in list(imagenet.ARCHIVE_META.items()):
        digest = hashlib.md5((folder / name).read_bytes()).hexdigest()
        monkeypatch.setitem(imagenet.ARCHIVE_META, kind, (name, digest))


@pytest.mark.slow
def test_the_commands_of_the_page(tmp_path, monkeypatch):
    for name in ("data", "runs", "reports"):
        monkeypatch.setenv(f"ALEXLIB_{name.upper()}", str(tmp_path / name))
    (tmp_path / "data" / "imagenet").mkdir(parents=True)
    make_archives(tmp_path / "data" / "imagenet", monkeypatch)
    pack, one, two, eight = COMMANDS
    packed = CliRunner().invoke(app, shlex.split(pack)[3:])
    assert packed.exit_code == 0, packed.output

    for command in (one, two, eight):
        words = command.replace("cuda:0,cuda:1", "cpu,cpu").replace("cuda", "cpu")
        words = shlex.split(words.replace("=8", "=2") + " " + SMALLER)
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        start = torchrun if words[0] == "torchrun" else [sys.executable]
        done = subprocess.run([*start, *words[1:]], env=os.environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "top-5 error, ten views" in done.stdout
    table = rows()
    assert list(table.seed) == [0, 1, 2] and set(table.scale) == {"imagenet"}
    assert (table.top5 > 95).all() and table.row[0]["data"]["pictures"] == [2000, 1000]
