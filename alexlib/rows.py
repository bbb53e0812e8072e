"""Rows: one line of JSON for each finished run, from which all figures and tables are drawn."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
import torchvision

from alexlib.paths import ROOT, reports_root


def path(study: str, scale: str) -> Path:
    """File of a study's rows: `reports/results/<study>.jsonl`, for sample runs below `reports/sample/` instead."""
    folder = reports_root() / ("sample" if scale == "sample" else "") / "results"
    return folder / f"{study}.jsonl"


def read(study: str, scale: str, **wanted) -> list[dict]:
    """The rows of a study at a scale, those alone whose fields equal `wanted`."""
    file = path(study, scale)
    if not file.exists():
        return []
    rows = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
    return [r for r in rows if r["scale"] == scale and all(r[key] == value for key, value in wanted.items())]


def append(row: dict) -> None:
    """Add a row to its study's file in a single write that has reached the disk on return."""
    file = path(row["study"], row["scale"])
    file.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(row, allow_nan=False) + "\n"
    with open(file, "ab") as out:
        out.write(line.encode())
        out.flush()
        os.fsync(out.fileno())


def provenance(device: str) -> dict:
    """What a run was made with: device, versions, commit of the code (`+`: since changed), time of start."""
    return {
        "device": device_name(device),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "numpy": np.__version__,
        },
        "commit": _commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def device_name(device: str) -> str:
    """`NVIDIA H100` for a GPU; for a CPU its model and the number of threads in use; of two devices both."""
    if "," in device:
        return " + ".join(map(device_name, device.split(",")))
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {torch.get_num_threads()} threads"


def _commit() -> str:
    def git(*words):
        return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "--", "alexlib") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
