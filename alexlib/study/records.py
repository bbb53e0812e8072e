"""The rows that runs leave: files of JSON lines, which rows are evidence, and a DataFrame of them.

A row is a dict: what was trained (study, variant, seed, scale, spec = the config's name, config),
what came out (metrics, training, history, hits, or why it diverged), on which images (data) and
with what (device, versions, commit, started). Rows of studies "rates" and "measures" are about such
runs.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from alexlib.config import reports_root, runs_root
from alexlib.files import atomic_write, lock, try_writing
from alexlib.study import measures
from alexlib.study.variants import block_of, chosen_rate, on_gpu

MARKS = ("superseded", "withdrawn")  # fields that are added to a wrong row, with the reason


def path(study: str, scale: str, is_evidence: bool) -> Path:
    """The file of a study's rows: those of sample runs, evidence and other runs are kept apart."""
    if scale == "sample":
        return reports_root() / "sample" / "results" / f"{study}.jsonl"
    return (reports_root() if is_evidence else runs_root()) / "results" / f"{study}.jsonl"


def read(study: str | None = None, scale: str | None = None, **wanted) -> list[dict]:
    """All rows with these values, whether evidence or not; superseded rows are left out.

    Raises ValueError if a line is not a row.
    """
    wanted |= {key: value for key, value in (("study", study), ("scale", scale)) if value}
    return [
        row
        for row in read_all(study or "*")
        if "superseded" not in row and all(row.get(key) == wanted[key] for key in wanted)
    ]


def read_all(study: str = "*") -> list[dict]:
    """All rows of a study, or of all studies, including superseded ones."""
    roots = reports_root(), runs_root(), reports_root() / "sample"
    return _parsed(file for root in roots for file in root.glob(f"results/{study}.jsonl"))


def everything() -> list[dict]:
    """All rows on record that are evidence (see `evidence`)."""
    return evidence(_parsed(reports_root().glob("results/*.jsonl")))


def are_evidence(found: list[dict]) -> bool:
    """Whether all these rows are evidence."""
    known = everything()
    return all(row in known for row in found)


def evidence(found: list[dict]) -> list[dict]:
    """The rows that are evidence (docs/protocol.md, section 1).

    These are the runs and rate checks that a block of the protocol lists (the first row of each,
    and runs only at the learning rate that was chosen), and rows about such runs, which name them
    in "run" or "runs".
    """
    current = [row for row in found if "superseded" not in row]
    rates = [row for row in current if row["study"] == "rates"]
    first = {}
    for row in current:
        block = block_of(row) if "config" in row else None
        if block is None:
            continue
        lr, variant, is_run = row["config"]["train"]["lr"], row["variant"], row["study"] != "rates"
        if is_run and block.check and lr != chosen_rate(block, variant, rates):
            continue
        net = str(row["config"]["net"]) if block.free else ""
        run = block.id, row["study"], variant, row["seed"], lr, net, on_gpu(row)
        first.setdefault(run, row)

    runs, ids = list(first.values()), {id(row) for row in first.values()}

    def is_about_evidence(row):
        of = [row["run"]] if "run" in row else row.get("runs", [])
        return bool(of) and all(any(key.items() <= run.items() for run in runs) for key in of)

    return [row for row in current if id(row) in ids or is_about_evidence(row)]


def append(row: dict) -> None:
    """Add a row to its study's file, unless it is there; it is on the disk when this returns.

    A row that is there, but marked as superseded or with a number withdrawn, is not added again.

    Several processes may append to the same file, which is always replaced as a whole.
    """
    new = json.dumps(row, allow_nan=False).encode()
    if _is_known(json.loads(new)):  # without a lock: finished runs are opened on read-only disks
        return
    with lock(runs_root() / "rows.lock"):
        if _is_known(json.loads(new)):
            return
        file = path(row["study"], row["scale"], _is_new_evidence(row))
        lines = file.read_bytes().splitlines() if file.exists() else []
        atomic_write(file, lambda out: out.write(b"\n".join([*lines, new, b""])))


def _is_known(new: dict) -> bool:
    known = ({k: row[k] for k in row if k not in MARKS} for row in read_all(new["study"]))
    return new in known


def try_place(row: dict) -> None:
    """Raise OSError if the row of a coming run cannot be written; the message says what to set."""
    folder = path(row["study"], row["scale"], _is_new_evidence(row)).parent
    is_run = folder == runs_root() / "results"
    try_writing(runs_root(), "ALEXLIB_RUNS")
    try_writing(folder, "ALEXLIB_RUNS" if is_run else "ALEXLIB_REPORTS")


def _is_new_evidence(row: dict) -> bool:
    """Whether a new row is evidence: not in a closed block, and not a second row of a run."""
    block = block_of(row) if "config" in row else None
    if row["scale"] == "sample" or (block and block.closed):
        return False
    return any(other is row for other in evidence([*everything(), row]))


def _parsed(files: Iterable[Path]) -> list[dict]:
    """The rows in some files, file by file in the order of their names."""
    rows = []
    for file in sorted(files):
        for number, line in enumerate(file.read_bytes().splitlines(), 1):
            try:
                rows.append(json.loads(line))
            except ValueError:
                text = f"{file}, line {number} is not a row: {line[:40]!r}; fix or delete it"
                raise ValueError(text) from None
    return rows


COLUMNS = ["study", "scale", "variant", "seed", "spec", "lr", "epochs", "top1", "top5"]
COLUMNS += ["centre_top1", "centre_top5", "training", "overfitting", "seconds"]
COLUMNS += ["images_per_second", "diverged", "commit", "device", "row"]
PLACES = {f"metrics.ten.top{k}": f"top{k}" for k in (1, 5)}  # in a row, and the column
PLACES |= {f"metrics.centre.top{k}": f"centre_top{k}" for k in (1, 5)}
PLACES |= {"training.top1": "training", "config.train.lr": "lr"}
PLACES |= {"pictures_per_second": "images_per_second"}


def rows(found: list[dict] | None = None) -> pd.DataFrame:
    """A DataFrame with one line for each row of a run, in their order; NaN where a row lacks it.

    Without arguments: all runs on record, evidence or not, except superseded rows.

    Columns:
        study, scale, variant, seed: as in the row; spec: name of the config; lr: learning rate
        epochs: finished epochs; seconds: of training; images_per_second: median of the epochs
        top1, top5: test error, %, average of ten views; centre_top1, centre_top5: centre view
        training: error on training images, %, eval mode, centre view, no augmentation
        overfitting: centre_top1 - training, percentage points
        diverged: whether the run diverged; it then has no errors
        commit, device: what it was trained with; row: the whole row, a dict
    """
    found = measures.trained(read() if found is None else found)
    table = pd.json_normalize(found).rename(columns=PLACES).reindex(columns=COLUMNS)
    errors = ["top1", "top5", "centre_top1", "centre_top5", "training"]
    table[errors] = 100 * table[errors].astype(float)
    table["overfitting"] = table.centre_top1 - table.training
    table["images_per_second"] = table.images_per_second.astype(float)
    table["epochs"] = [len(row["history"]) for row in found]
    table["diverged"] = ["diverged" in row for row in found]
    return table.assign(row=found)


def row_of(run: dict, train, test, folder: Path, history: list[dict], about: dict) -> dict:
    """The row of a run in a folder; `about` has the fields that not every row has.

    Args:
        run: what was trained, `Job.as_dict`; train, test: its images.
    """
    return {
        **run,
        **of_epochs(history),
        "data": {
            "name": test.name,
            "origin": test.origin,
            "train": train.fingerprint,
            "test": test.fingerprint,
            "pictures": [len(train), len(test)],
            "left_out": len(train.skipped) + len(test.skipped),
        },
        **json.loads((folder / "provenance.json").read_text()),
        **about,
    }


def of_epochs(history: list[dict]) -> dict:
    """The fields of a run's row that follow from its epochs; the run may be unfinished."""
    speeds = [epoch["pictures_per_second"] for epoch in history]
    return {
        "metrics": {},
        "history": history,
        "pictures_per_second": float(np.median(speeds)) if speeds else None,
        "seconds": sum(epoch["seconds"] for epoch in history),
    }
