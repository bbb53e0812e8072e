"""Rows: a line of JSON for each finished run, or for what was measured of one; figures and tables come from them."""

import contextlib
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
import torchvision

from alexold import parallel, protocol
from alexold.paths import ROOT, reports_root, runs_root


def path(study: str, scale: str, evidence: bool = True) -> Path:
    """File of a study's rows.

    `reports/results/<study>.jsonl` holds evidence, the rows that the protocol lists; `runs/results/` all others;
    `reports/sample/results/` those of sample runs.
    """
    if scale == "sample":
        return reports_root() / "sample" / "results" / f"{study}.jsonl"
    return (reports_root() if evidence else runs_root()) / "results" / f"{study}.jsonl"


def read(study: str, scale: str, **wanted) -> list[dict]:
    """The rows of a study at a scale, evidence and others, those alone whose fields equal `wanted`.

    Superseded rows are left out, and so is a last row that was cut off. ValueError: another line is no row; the message
    names it.
    """
    files = dict.fromkeys(path(study, scale, evidence) for evidence in (True, False))
    found = [row for file in files if file.exists() for row in _rows(file) if "superseded" not in row]
    return [r for r in found if r["scale"] == scale and all(r[key] == value for key, value in wanted.items())]


def everything(sample: bool = False) -> list[dict]:
    """All rows that are evidence, or those of sample runs. docs/protocol.md, section 1, says which ones are."""
    found = [row for file in sorted(path("", "sample" if sample else "").parent.glob("*.jsonl")) for row in _rows(file)]
    return found if sample else evidence(found)


def on_record(study: str, scale: str, **wanted) -> list[dict]:
    """The rows of a study at a scale that are evidence; at the sample scale, all."""
    found = [row for row in everything(sample=scale == "sample") if row["study"] == study and row["scale"] == scale]
    return [row for row in found if all(row[key] == value for key, value in wanted.items())]


def are_evidence(found: list[dict]) -> bool:
    """Whether all rows are evidence."""
    known = everything()
    return all(row in known for row in found)


def evidence(found: list[dict]) -> list[dict]:
    """The rows that are evidence: runs that the protocol lists, and what was measured of such runs alone."""
    runs = protocol.record([row for row in found if "config" in row and row["scale"] != "sample"])
    known = {id(row) for row in runs}
    for row in found:
        of = [row["run"]] if "run" in row else row.get("runs", [])
        if of and all(any(run.items() <= r.items() for r in runs) for run in of):
            known.add(id(row))
    return [row for row in found if id(row) in known]


def _rows(file: Path) -> list[dict]:
    *lines, last = file.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines + [last] * _is_row(last), 1):
        if line.strip():
            if not _is_row(line):
                raise ValueError(f"{file}, line {number} is no row: {line[:40]!r}; mend it or delete the line")
            rows.append(json.loads(line))
    return rows


def append(row: dict) -> None:
    """Add a row to its study's file in a single write that has reached the disk on return.

    A last row that was cut off, by a crash or a full disk, is removed before. Evidence goes to `reports/results`, all
    else below `runs/`.
    """
    file = path(row["study"], row["scale"], _counts(row))
    file.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(row, allow_nan=False).encode() + b"\n"
    with open(file, "a+b", buffering=0) as out:
        _lock(out)
        out.seek(0)
        there = out.read()
        last = there[there.rfind(b"\n") + 1 :]
        if _is_row(last):
            line = b"\n" + line
        elif last:
            out.truncate(len(there) - len(last))
        while line:  # once, unless the disk is full: then the second write says so
            line = line[out.write(line) :]
        os.fsync(out.fileno())


def _counts(row: dict) -> bool:
    """Whether a new row is evidence: one more run of a block that has ended, or the same run again, is none."""
    if row["scale"] == "sample":
        return False
    block = protocol.block_of(row) if "config" in row else None
    there = [other for file in path("", "").parent.glob("*.jsonl") for other in _rows(file)]
    return not (block and block.closed) and any(other is row for other in evidence([*there, row]))


def _is_row(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _lock(file) -> None:
    """Wait until no other process appends, so that a row being written is not taken for one that was cut off."""
    with contextlib.suppress(ImportError, OSError):  # a system or a folder without locks
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)


def provenance(device: str) -> dict:
    """What a run was made with: device, versions, commit of the code (`+`: since changed), time of start."""
    return {
        "device": device_name(device) + (f" x {parallel.world()}" if parallel.world() > 1 else ""),
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
    """`NVIDIA H100` for a GPU; for a CPU its model and the number of threads in use; of two different ones both."""
    if "," in device:
        return " + ".join(map(device_name, dict.fromkeys(device.split(","))))
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
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "--", "alexold") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
