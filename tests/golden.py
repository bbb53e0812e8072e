"""What a rebuild must not change: `python tests/golden.py` writes tests/golden.json anew.

Shapes, counts and packed pixels must be equal; float64 numbers to 1e-9; the changes of the weights
in five steps to 1e-3 in fp32 and 5e-2 in bf16 (processors differ). Make a change on purpose in a
commit of its own that says so.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from alexlib.config import CIFAR13, FIGURE1, PAPER, ROOT, SOURCE2012, config_at
from alexlib.data.images import Images
from alexlib.data.prepare import load
from alexlib.models import build
from alexlib.models.alexnet import shapes_and_cost
from alexlib.study import records, scorecard, variants
from alexlib.training.loop import fit

FILE = Path(__file__).with_name("golden.json")
ONE_GPU = {"towers": 1, "kernels": (48, 128, 192, 192, 256)}  # the footnote in section 3.2
SMALL = {"input": 128, "width": 0.125, "classes": 10}
ROWS_BEFORE = "2026-11-26T03:00"  # the golden scorecard is that of the rows until then
CONFIGS = {"paper": PAPER.replace(**SMALL), "source2012": SOURCE2012.replace(**SMALL)}


def shapes() -> dict:
    """Of every config: the output of each stage, parameters and multiply-adds."""
    configs = {"paper": PAPER, "source2012": SOURCE2012, "one-gpu": PAPER.replace(**ONE_GPU)}
    configs |= {"cifar13": CIFAR13}
    configs |= {stack: FIGURE1.replace(stack=stack) for stack in ("four-layer", "80-seconds")}
    made = variants.variants(config_at("source2012", "miniimagenet")).items()
    configs |= {f"miniimagenet {name}": config for name, config in made if name != "baseline"}
    keys, costs = ("stage", "output", "parameters", "macs"), map(shapes_and_cost, configs.values())
    found = [[[stage[key] for key in keys] for stage in stages] for stages in costs]
    return dict(zip(configs, found, strict=True))


def gradients() -> dict:
    """Scores of two images and norm and projection of each gradient: float64, eval mode."""
    found = {}
    for name, config in CONFIGS.items():
        torch.manual_seed(0)
        model = build(config).double().eval()
        x = 60 * torch.randn(2, 3, 128, 128, dtype=torch.float64)
        scores = model(x)
        torch.nn.functional.cross_entropy(scores, torch.tensor([1, 7])).backward()
        found[name] = {"scores": scores.flatten().tolist()}
        found[name] |= {key: _seen(p.grad) for key, p in model.named_parameters()}
    return found


def _seen(tensor) -> list[float]:
    """Norm, and sum with weights that differ from place to place."""
    flat = tensor.detach().double().flatten()
    return [flat.norm().item(), (flat * torch.arange(1, len(flat) + 1).double().sin()).sum().item()]


def images(side: int) -> Images:
    """Forty images of noise with a class-wide tint, and statistics that are theirs."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 10
    noise = rng.integers(0, 200, (40, side, side, 3))
    pixels = (noise + 5 * labels[:, None, None, None]).astype(np.uint8)
    colour = np.cov(pixels.reshape(-1, 3).T.astype(np.float64))
    values, vectors = np.linalg.eigh(colour)
    mean = pixels.mean(0).astype(np.float32)
    about = {"name": "golden", "split": "train", "fingerprint": "golden"}
    return Images(pixels, labels, tuple("abcdefghij"), mean, values, vectors, **about)


def steps() -> dict:
    """What five steps change in the weights: three nets, two precisions, one device and two."""
    configs = CONFIGS | {"cifar": FIGURE1.replace(stack="local", input=24, width=0.25)}
    found = {}
    for name, config in configs.items():
        train = images(32 if name == "cifar" else 146)
        for precision in ("fp32", "bf16"):
            for devices in (None,) if name == "cifar" else (None, ("cpu", "cpu")):
                changes = {"epochs": 1, "batch": 8, "lr": 0.002, "validation": 0.0}
                changes |= {"schedule": "constant", "precision": precision}
                once = config.replace(**changes, colour="none")  # the sign of an axis is free
                torch.manual_seed(1)
                model = build(once, devices)
                before = {n: p.clone() for n, p in model.state_dict().items()}
                fit(model, train, train.subset([]), once, seed=1, progress=False)
                key = f"{name} {precision} {'two devices' if devices else 'one device'}"
                found[key] = {n: _seen(p - before[n]) for n, p in model.state_dict().items()}
    return found


def pack(folder: Path) -> dict:
    """A small folder of drawn images, packed: fingerprints, mean, axes."""
    y, x = np.mgrid[:48, :60]
    for split, count in (("train", 12), ("val", 4)):
        for i in range(count):
            channels = [x * (i + 1), y * 5 + i * 20, x * y + i]
            pixels = (np.stack(channels, 2) % 256).astype(np.uint8)
            file = folder / split / "ab"[i % 2] / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    train, test = load(folder, 32)
    return {
        "pixels": [train.fingerprint, test.fingerprint],
        "mean": [float(train.mean.mean()), float(np.square(train.mean).mean())],
        "eigenvalues": train.eigenvalues.tolist(),
        "eigenvectors": train.eigenvectors.flatten().tolist(),
    }


def card() -> dict:
    """Each claim with evidence: value, interval, verdict, study, scale, runs."""
    files = sorted((ROOT / "reports" / "results").glob("*.jsonl"))
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    rows = [row for row in records.evidence(rows) if row.get("started", "") < ROWS_BEFORE]
    found = {}
    for entry in scorecard.card(rows):
        if entry["lines"]:
            line = entry["lines"][0]
            n = [] if line["n"] == "-" else list(line["n"])
            numbers = [line["value"], line["low"], line["high"]]
            found[entry["claim"].id] = [
                *numbers,
                entry["verdict"],
                line["study"],
                line["scale"],
                n,
            ]
    return found


def make() -> dict:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        packed = pack(Path(folder))
    found = {"shapes": shapes(), "gradients": gradients(), "steps": steps(), "pack": packed}
    return found | {"scorecard": card()}


if __name__ == "__main__":
    FILE.write_text(json.dumps(make(), separators=(",", ":")) + "\n")
    print(f"{FILE}: {FILE.stat().st_size:,} bytes")
