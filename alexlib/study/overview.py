"""The list of all runs, on this machine and on record, and two of them side by side."""

import json
import math
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from alexlib.config import config_from, runs_root
from alexlib.study import measures, records
from alexlib.study.jobs import Job, run_name
from alexlib.training import checkpoint

ERRORS = [(key, views) for views in ("ten", "centre") for key in ("top1", "top5")]


def listing(**wanted) -> pd.DataFrame:
    """All runs, finished or not: the columns of `records.rows`, and three more.

    Columns:
        of: the epochs of the config; folder: below runs/, "" if the run is not on this machine
        name: of the run's folder, or the name that the folder would have
        note: "diverged", "superseded" or ""

    Args:
        wanted: values of columns, e.g. study="03_ablations", scale="sample"; None: any.
    """
    recorded, folders = measures.trained(records.read_all()), {}
    found = {(Job.of(row), row["started"]): row for row in recorded}
    for file in sorted(runs_root().glob("*/config.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):  # not a complete run folder
            row = _row_in(file.parent)
            key = Job.of(row), row["started"]
            folders[key] = file.parent.name
            found.setdefault(key, row)

    table = records.rows(list(found.values()))
    table["of"] = [job.config.train.epochs for job, _ in found]
    table["folder"] = [folders.get(key, "") for key in found]
    table["name"] = [
        folders.get(key) or run_name(key[0], row["data"]["train"]) for key, row in found.items()
    ]
    table["note"] = np.where(table.diverged, "diverged", "")
    table.loc[["superseded" in row for row in table.row], "note"] = "superseded"
    for column, value in wanted.items():
        table = table[table[column] == value] if value else table
    return table.sort_values(["study", "scale", "variant", "seed"], ignore_index=True)


def _row_in(folder: Path) -> dict:
    """The row of the run in a folder; for an unfinished run, with the epochs of its checkpoint."""
    if (folder / "row.json").exists():
        return json.loads((folder / "row.json").read_text())
    history = []
    with suppress(ValueError):  # damaged
        history = checkpoint.history(folder)
    about = [json.loads((folder / name).read_text()) for name in ("config.json", "provenance.json")]
    return about[0] | about[1] | records.of_epochs(history)


def as_text(table: pd.DataFrame) -> str:
    """A `listing` for a terminal; errors are of the centre view where there are no ten views."""
    shown = pd.DataFrame({"run": table.name})
    shown["epochs"] = [f"{a}/{b}" for a, b in zip(table.epochs, table.of, strict=True)]
    for error in ("top1", "top5"):
        shown[error.replace("p", "p-")] = table[error].fillna(table[f"centre_{error}"])
    shown["images/s"] = table.images_per_second
    shown["here"], shown["note"] = np.where(table.folder == "", "no", "yes"), table.note
    text = shown.to_string(index=False, na_rep="-", float_format="{:.2f}".format)
    return text if len(shown) else "no runs"


# ---- two runs ------------------------------------------------------------------------------------


def compare(a: str, b: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two runs side by side: the settings that differ, and their errors.

    Args:
        a, b: names of runs, or parts of names that only one run has.

    Returns:
        Settings: columns a and b. Errors, %: a, b, b - a with its 95 % interval (low, high), and
        the number of test images of a. The interval covers the choice of test images, not the
        seeds; NaN if they differ or a row has no hits. No lines if a run is not finished.
    """
    table = listing()
    rows = [_find(table, name) for name in (a, b)]
    settings = pd.DataFrame(dict(zip("ab", map(_settings, rows), strict=True)))
    settings = settings[settings.a.astype(str) != settings.b.astype(str)]
    known = [(e, v) for e, v in ERRORS if all(v in row["metrics"] for row in rows)]
    names = [f"{error.replace('p', 'p-')}, {views}" for error, views in known]
    errors = [_difference(*rows, error, views) for error, views in known]
    columns = ["a", "b", "difference", "low", "high", "images"]
    return settings, pd.DataFrame(errors, names, columns)


def _find(table: pd.DataFrame, name: str) -> dict:
    name, named = Path(name).name, dict(zip(table.name, table.row, strict=True))
    found = [name] if name in named else [other for other in named if name in other]
    if len(found) != 1:
        listed = ", ".join(found[:9]) or "see `python -m alexlib runs`"
        raise ValueError(f"{len(found)} runs are called {name!r}, expected one: {listed}")
    return named[found[0]]


def _settings(row: dict) -> pd.Series:
    """The settings of a run by name."""
    about = {key: row[key] for key in ("study", "scale", "variant", "spec", "seed", "device")}
    images = {f"{split} images": row.get("data", {}).get(split) for split in ("train", "test")}
    fields = {line["field"]: line["value"] for line in config_from(row["config"]).table()}
    return pd.Series(about | images | fields, dtype=object)


def _difference(a: dict, b: dict, error: str, views: str) -> tuple:
    """An error of two runs and their difference b - a, with the 95 % interval of Bonett and Price.

    Their interval (2012) is for the same images. Two are added, each of them wrong in only one run,
    so few images give a wide interval.
    """
    p, q = (measures.test_error(row, error, views) for row in (a, b))
    low = high = math.nan
    if all("hits" in row for row in (a, b)) and a["data"]["test"] == b["data"]["test"]:
        of_a, of_b = (measures.wrong(row, error, views) * 1 for row in (a, b))
        gaps = np.append(of_b - of_a, [1, -1])
        half = 1.96 * (gaps.var() / len(gaps)) ** 0.5
        low, high = (100 * (gaps.mean() + side) for side in (-half, half))
    return p, q, q - p, low, high, a["metrics"][views]["n"]
