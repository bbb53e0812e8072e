"""Writes the generated parts of README.md and docs/, their figures and reports/README.md.

--check only says what is out of date (status 1); --reports first runs the committed reports again.
A part stands between <!-- generated: NAME --> and <!-- end -->; NAME is in PARTS or a benchmark.
"""

import json
import re
import sys
import tomllib
from collections import Counter
from datetime import timedelta
from functools import partial
from pathlib import Path

from PIL import Image

from alexlib import figures, report
from alexlib.config import FIGURE1, PAPER, ROOT, SCALES, SOURCE2012, config_at
from alexlib.models.alexnet import shapes_and_cost
from alexlib.paper import AMBIGUITIES, CLAIMS
from alexlib.study import race, records, scorecard

REPORTS = ROOT / "reports"
CHOSEN = tomllib.loads((ROOT / "docs" / "findings.toml").read_text())


def table(head: str, rows) -> str:
    """A Markdown table of dicts; `head` names the keys that are shown, separated by " | "."""
    keys = head.split(" | ")
    lines = [keys, ["---"] * len(keys), *([cell(row.get(key)) for key in keys] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(cell, value)) or "none"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = (
        f"{value:.5g}" if isinstance(value, float) else str("-" if value in (None, "") else value)
    )
    return text.replace("|", r"\|")


def committed() -> dict[Path, dict]:
    """The reports that are not of sample runs, with their metadata; not the one of `make paper`."""
    files = sorted([*REPORTS.glob("*.ipynb"), *REPORTS.glob("[!.]*/*.ipynb")])
    files = [file for file in files if file.parent.name != "sample" and file.stem != "07_report"]
    return {file: json.loads(file.read_text())["metadata"] for file in files}


def index() -> str:
    """The text of reports/README.md: what the reports say of themselves."""
    rows = []
    for file, about in committed().items():
        ran, made = about["papermill"], about.get("alexlib", {})
        title = re.search(r'"# ([^"\\]+)', file.read_text())
        link = f"[{title[1] if title else file.stem}]({file.relative_to(REPORTS).as_posix()})"
        given = ran["parameters"] | ran["parameters"].get("fields", {})
        given |= given.pop("options", {})
        row = {"report": link, "scale": given.pop("scale", None), "date": ran["start_time"][:10]}
        row["parameters"] = ", ".join(f"{key} = {given[key]}" for key in given if key != "fields")
        row["state"] = "failed" if ran["exception"] else "complete"
        row["took"] = timedelta(seconds=round(ran["duration"]))
        rows.append(row | {"device": made.get("device"), "commit": made.get("commit")})
    head = "report | scale | parameters | state | date | took | device | commit"
    return f"# Reports\n\nThe written one: [report.md](report.md). Others:\n\n{table(head, rows)}\n"


def stale(file: Path, about: dict) -> str:
    """Why a report does not fit its notebook's parameters or the rows on record, or ""."""
    ran = about["papermill"]
    if not (source := ROOT / ran["input_path"]).is_file():
        return "its notebook is gone"
    try:
        values = report.checked(source, ran["parameters"])
    except ValueError as error:
        return str(error).splitlines()[0]
    rows = scorecard.fingerprint(records.everything())
    if "scale" not in values and rows not in file.read_text():
        return "the rows on record have changed"
    return "its notebook failed" if ran["exception"] else ""


def scales() -> str:
    rows = []
    for scale in SCALES.values():
        row = {"scale": f"`{scale.name}`", "images; who runs it": scale.about}
        config = scale.changes is not None and config_at(SOURCE2012, scale)
        rows.append(row | (vars(config.train) | {"width": config.net.width} if config else {}))
    return table("scale | images; who runs it | epochs | batch | width", rows)


def findings() -> str:
    """The primary claims, and some others, for readers who have not read the protocol."""
    units, rows = {"pp": " points", "x": " times", "count": ""}, []
    for entry in scorecard.card(records.everything()):
        claim, line = entry["claim"], next(iter(entry["lines"]), None)
        if claim.primary or claim.id in CHOSEN["also"]:
            unit, found = units[claim.unit], scorecard.cells(claim, line)
            interval = found["95 % interval"]
            here = f"{found['ours']}{unit} ({interval})" if interval != "-" else found["ours"]
            paper = f"{found['paper']}{unit}" if claim.paper else "no size named"
            verdict = CHOSEN["words"][entry["verdict"].partition(";")[0]]
            row = {"the paper says": claim.statement, "paper": paper, "here (95 % interval)": here}
            rows.append(row | {"images": line and line["scale"], "verdict": verdict})
    return table("the paper says | paper | here (95 % interval) | images | verdict", rows)


def verdicts(are_facts: bool) -> str:
    """How many claims have which verdict, and a line for each one that runs speak of."""
    entries = scorecard.card(records.everything())
    entries = [entry for entry in entries if (entry["claim"].kind == "fact") == are_facts]
    counts = Counter(entry["verdict"].partition(";")[0] for entry in entries).most_common()
    known = [entry for entry in entries if entry["lines"]]
    rows = [scorecard.cells(e["claim"], e["lines"][0]) | {"verdict": e["verdict"]} for e in known]
    head = "claim | quantity | paper | 2012 log | ours | 95 % interval | detectable | runs | where"
    text = f"{len(entries)} claims: {', '.join(f'{n} {verdict}' for verdict, n in counts)}."
    return f"{text}\n\n{table(f'{head} | verdict', rows)}"


def halving() -> str:
    """What the protocol wants beside the claim about halved outputs."""
    rows = [row for row in records.everything() if row.get("kind") == "halving"]
    for row in rows:
        row |= {name: round(value, 4) for name, value in row["values"]["distance"].items()}
        row["top1"] = row["values"]["top1_difference"][0]
    return table("scale | halved | arithmetic | single | sampling | top1", rows)


def benchmark(name: str) -> str:
    """The newest results of a benchmark on each machine."""
    files = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    found = [r for file in files for r in json.loads(file.read_text()) if r["benchmark"] == name]
    if not found:
        raise ValueError(f"unknown part or benchmark {name!r}")
    hidden = ("benchmark", "runs", "versions")
    return table(" | ".join(key for key in found[0] if key not in hidden), found)


PARTS = {f.__name__: f for f in (scales, findings, halving)}
PARTS |= {"scorecard": partial(verdicts, False), "facts": partial(verdicts, True)}
QUESTIONS = "question | paper_says | source_did | reading_paper | reading_source | field | where"
PARTS["ambiguities"] = partial(table, QUESTIONS, [each._asdict() for each in AMBIGUITIES])
COLUMNS = "id | section | statement | quantity | unit | paper | log | log_note | studies"
TOLD = [vars(claim) | {"studies": claim.studies} for claim in CLAIMS.values()]
PARTS["claims"] = partial(table, COLUMNS, TOLD)
STAGES = "stage | output | neurons | parameters | macs"
PARTS["layers"] = partial(table, STAGES, shapes_and_cost(PAPER))


def render(text: str) -> str:
    """A page with its generated parts made anew."""

    def part(match):
        made = PARTS.get(match[1], partial(benchmark, match[1].replace("-", " ")))()
        return f"<!-- generated: {match[1]} -->\n\n{made}\n\n<!-- end -->"

    return re.sub(r"<!-- generated: (\S+) -->.*?<!-- end -->", part, text, flags=re.DOTALL)


def drawn() -> dict[str, tuple]:
    """The figures: the rows that each one is drawn from, and how."""
    rows = records.everything()
    raced = [row for row in rows if row["study"] == "02_relu_vs_tanh"]
    counted = race.at_best_rates(raced, config_at(FIGURE1, "cifar10"))
    runs = {name: counted["four-layer", name] for name in ("relu", "tanh")}
    histories = {name: [row["history"] for row in some] for name, some in runs.items()}
    panel = {"train_top1": "Training error, CIFAR-10"}
    curves = partial(figures.learning_curves, histories, 0.9, panel, 0.25)
    forest = partial(figures.forest, scorecard.in_points(scorecard.card(rows)))
    return {"02_figure1.png": (raced, curves), "03_ablations.png": (rows, forest)}


def refresh(check: bool = False) -> list[str]:
    """Write what is out of date, unless `check`; returns its names, and the stale reports."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    texts = {page: render(page.read_text()) for page in pages} | {REPORTS / "README.md": index()}
    old = {f: text for f, text in texts.items() if not f.exists() or f.read_text() != text}
    for file, text in old.items() if not check else ():
        file.write_text(text)
    for name, (rows, draw) in drawn().items():
        file, stamp = REPORTS / "figures" / name, scorecard.fingerprint(rows)
        if not file.exists() or Image.open(file).info.get("Description") != stamp:
            old[file] = stamp
            if not check:
                draw().savefig(file, metadata={"Software": None, "Description": stamp})
    reasons = {file.relative_to(ROOT): stale(file, about) for file, about in committed().items()}
    names = [str(file.relative_to(ROOT)) for file in old]
    return names + [f"{file}: {why}" for file, why in reasons.items() if why]


if __name__ == "__main__":
    for file, about in committed().items() if "--reports" in sys.argv else ():
        ran = about["papermill"]
        print(*report.run(ROOT / ran["input_path"], ran["parameters"], file))
    found = refresh(check="--check" in sys.argv)
    print(*found, sep="\n")
    sys.exit(bool(found) and "--check" in sys.argv)
