"""Writes the generated parts of README.md and docs/ anew: tables and figures from code and rows, between markers.

    python docs/refresh.py

<!-- generated: NAME -->
...
<!-- end -->
"""

import hashlib
import json
import math
import re
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from PIL import Image

from alexlib import findings, plots, race, rows
from alexlib.claims import AMBIGUITIES, CLAIMS
from alexlib.config import FIGURE1, PAPER, SCALES, SOURCE2012, spec_at
from alexlib.nets import STACKS, trace_text
from alexlib.paths import ROOT
from alexlib.progress import clock
from alexlib.stats import verdict, wilson

PAGES = ("README.md", "docs/fidelity.md", "docs/performance.md")
FIGURES = ROOT / "reports" / "figures"
CHANCE = 0.9  # error of a guess among the ten classes of CIFAR-10


def markdown_table(head: tuple, lines: list[tuple]) -> str:
    """A table with one header line; values as `_show` writes them."""
    rows = (head, ["---"] * len(head), *lines)
    return "\n".join("| " + " | ".join(map(_show, row)) + " |" for row in rows)


def _show(value: object) -> str:
    """A value as table text: `1, 2`, `none`, `0.736`, `60,000,000`."""
    if isinstance(value, tuple):
        return ", ".join(f"{item:g}" for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value or "-")


def ambiguities() -> str:
    """The ledger: a question, both answers, both readings, and the line of the field that chooses, or of the code."""
    head = ("question", "the paper", "the 2012 source", "paper reading", "source reading", "field or code")
    answers = [(a.question, a.paper_says, a.source_did, a.reading_paper, a.reading_source) for a in AMBIGUITIES]
    places = [_line("config", a.field) if a.field else _line(*a.where.split(".")) for a in AMBIGUITIES]
    return markdown_table(head, [(*answer, place) for answer, place in zip(answers, places, strict=True)])


def _line(module: str, name: str) -> str:
    """A link to the line of a module that defines a name; ValueError if none does."""
    text = (ROOT / "alexlib" / f"{module}.py").read_text()
    found = re.search(rf"^(?:(?:def|class) {name}\b|(?:    )?{name}(?:: \w+)? =)", text, re.M)
    if not found:
        raise ValueError(f"{module}.py defines no {name!r}")
    return f"[`{name}`](../alexlib/{module}.py#L{text[: found.start()].count(chr(10)) + 1})"


def claims() -> str:
    """The register: the paper's number, the authors' log and later studies."""
    head = ("id", "section", "claim", "quantity", "paper", "2012 log", "about the log", "later studies")
    lines = []
    for c in CLAIMS:
        later = "; ".join(f"{s}: " + ", ".join(_show(x) for x in rest if x not in (None, "")) for s, *rest in c.later)
        what = f"{c.quantity} ({c.unit})"
        lines.append((f"`{c.id}`", c.section, c.statement, what, c.paper, c.log, c.log_note, later))
    return markdown_table(head, lines)


def scales() -> str:
    """The scales, and what each one changes in a reading."""
    lines = []
    for scale in SCALES.values():
        size = None
        if scale.changes is not None:
            spec = spec_at(SOURCE2012, scale)
            size = f"{spec.train.epochs} epochs, batch {spec.train.batch}, width {spec.net.width:g}"
        lines.append((f"`{scale.name}`", scale.about, size))
    return markdown_table(("scale", "pictures; who runs it", "net and schedule"), lines)


def results() -> str:
    """The runs of notebook 04 that are on record, one line each."""
    lines = []
    for row in _recorded():
        errors = []
        for views in ("centre", "ten"):
            m = row["metrics"][views]
            low, high = wilson(m["top1"], m["n"])
            errors.append(f"{100 * m['top1']:.1f} % ({100 * low:.1f} to {100 * high:.1f})")
        speed = f"{row['pictures_per_second']:.0f}/s, {clock(row['seconds'])}"
        own = "" if row["data"]["name"] == SCALES[row["scale"]].source else f", {row['data']['name']}"
        what = (row["scale"] + own, row["spec"], len(row["history"]), row["seed"])
        lines.append(
            (*what, *errors, row["metrics"]["ten"]["n"], row["config"]["train"]["precision"], speed, row["device"])
        )
    head = ("scale", "reading", "epochs", "seed", "top-1 error, centre view", "top-1 error, ten views", "test pictures")
    return markdown_table((*head, "precision", "training speed, time", "device"), lines)


def augmentation() -> str:
    """What leaving augmentation out does, from the runs of notebook 01 that are on record."""
    return _effects("01_augmentation")


def ablations() -> str:
    """What each part of the net is worth, from the runs of notebook 03 that are on record."""
    return _effects("03_ablations")


def _effects(study: str) -> str:
    lines, groups = [], {}
    for row in (row for scale in SCALES if scale != "sample" for row in rows.read(study, scale)):
        train = row["config"]["train"]
        groups.setdefault((row["scale"], row["data"]["train"], train["epochs"], row["spec"]), []).append(row)
    for (scale, _, epochs, _), found in groups.items():
        width = found[0]["config"]["net"]["width"]
        where = f"{scale}, {epochs} epochs" + ("" if width == 1 else f", width {width:g}")
        for row in findings.effects(found):
            span = "-" if row["n"] == 1 else f"{row['low']:+.1f} to {row['high']:+.1f}"
            paper = (row["paper"], row["log"], "; ".join(f"{value:g}" for _, value in row["later"]))
            lines.append((where, row["name"], *paper, f"{row['value']:+.1f}", span, row["n"], row["verdict"]))
    head = ("scale", "left out: effect", "paper", "2012 log", "later", "here", "95 % interval", "seeds", "verdict")
    return markdown_table(head, lines) if lines else "*No effect is on record yet.*"


def figure1() -> str:
    """How many times sooner ReLUs reach the target than tanh units, a line a stack, from the rows of notebook 02."""
    head = (
        "stack",
        "ReLU: rate (of those tried), runs, epochs",
        "tanh, likewise",
        "ratio",
        "95 % interval",
        "paper",
        "verdict",
    )
    known, lines = _raced(), []
    tried = race.rates_tried(rows.read("02_relu_vs_tanh", "cifar10"), spec_at(FIGURE1, "cifar10"))
    paper = next(claim.paper for claim in CLAIMS if claim.id == "relu-speed")
    for stack in STACKS:
        pair = [known.get((stack, name)) for name in ("tanh", "relu")]
        if not all(pair):
            continue
        found = race.sooner(*pair, FIGURE1.train.target, CHANCE)
        tanh, relu = (
            f"{rows_[0]['config']['train']['lr']:g} (of {len(tried[stack, name])}), {len(rows_)}, {found[key]:.1f}"
            for rows_, key, name in zip(pair, ("slow", "fast"), ("tanh", "relu"), strict=True)
        )
        single = min(found["n"]) < 2
        span = "-" if single else f"{found['low']:.1f} to {found['high']:.1f}"
        said = "one run, no verdict"
        if not single:
            said = verdict(*(math.log(found[end]) for end in ("low", "high")), math.log(paper), "cifar10")
        value = f"{found['bound']} {found['value']:.1f}".strip()
        lines.append((f"`{stack}`", relu, tanh, value, span, paper, said))
    return markdown_table(head, lines)


def tanh() -> str:
    """The newest benchmark of tanh on each machine."""
    return _benchmark("tanh", ("case", "speed", "ratio to the first"), lambda _: ())


def cifar_epoch() -> str:
    """The newest benchmark of a CIFAR epoch on each machine."""
    head = ("case", "speed", "ratio to newcomer", "50,000 pictures")
    return _benchmark("CIFAR epoch", head, lambda r: (f"{r['epoch_s']:g} s",))


def layers() -> str:
    """The layer table of the paper's net, from the built net."""
    return f"```\n{trace_text(PAPER)}\n```"


def steps() -> str:
    """The newest training-step benchmark of each machine."""
    head = ("case", "speed", "ratio to newcomer", "peak memory")
    return _benchmark("training step", head, lambda r: (f"{r['peak_memory_gb']:g} GB",))


def data_path() -> str:
    """The newest benchmark of the data path on each machine."""
    return _benchmark("data path", ("case", "speed", "ratio to the first"), lambda _: ())


def _benchmark(name: str, head: tuple, more) -> str:
    lines = []
    for file in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        for r in json.loads(file.read_text()):
            if r["benchmark"] == name:
                batch = f"batch {r['batch']}, " if r["batch"] else ""
                what = f"{r['case']}; {batch}{r['device']}"
                lines.append((what, f"{r['value']:,g} {r['unit']}", f"{r['ratio']:g}", *more(r)))
    return markdown_table(head, lines)


PARTS = {
    "scales": scales,
    "results": results,
    "augmentation": augmentation,
    "ablations": ablations,
    "figure-1": figure1,
    "cifar-epoch": cifar_epoch,
    "tanh": tanh,
    "layers": layers,
    "steps": steps,
    "data-path": data_path,
    "ambiguities": ambiguities,
    "claims": claims,
}


def render(text: str) -> str:
    """A page with its generated parts made anew; ValueError for a part that nobody knows how to make."""

    def part(match):
        if match[1] not in PARTS:
            raise ValueError(f"unknown generated part {match[1]!r}; known ones: {', '.join(PARTS)}")
        return f"<!-- generated: {match[1]} -->\n\n{PARTS[match[1]]()}\n\n<!-- end -->"

    return re.sub(r"<!-- generated: (\S+) -->.*?<!-- end -->", part, text, flags=re.DOTALL)


def refresh() -> list[Path]:
    """Write the pages whose generated parts have changed and the figures they show; returns what was written."""
    written = []
    for page in (ROOT / name for name in PAGES):
        text = page.read_text()
        if (new := render(text)) != text:
            page.write_text(new)
            written.append(page)
    for name, (drawn_from, draw) in _figures().items():
        figure = FIGURES / name
        if drawn_from and stamp(figure) != digest(drawn_from):
            FIGURES.mkdir(parents=True, exist_ok=True)
            draw().savefig(figure, metadata={"Software": None, "Description": digest(drawn_from)})
            written.append(figure)
    return written


def _figures() -> dict[str, tuple[list[dict], Callable]]:
    """The figures of the pages: name, the rows that each is drawn from, and how."""
    recorded, known = _recorded(), _raced()
    shown = [row for row in recorded if row["scale"] == recorded[0]["scale"]]
    runs = {name: found for name in ("relu", "tanh") if (found := known.get(("four-layer", name)))}
    return {
        "02_figure1.png": ([*chain(*runs.values())], lambda: plots.figure1(runs, FIGURE1.train.target, CHANCE)),
        "04_readings.png": (recorded, lambda: plots.reading_curves(shown)),
    }


def digest(recorded: list[dict]) -> str:
    """What ties a figure to the rows it was drawn from."""
    return hashlib.sha256(json.dumps(recorded, sort_keys=True).encode()).hexdigest()[:16]


def stamp(figure: Path) -> str | None:
    """The digest of the rows that a figure was drawn from, None where there is no figure."""
    if not figure.exists():
        return None
    with Image.open(figure) as picture:
        return picture.info.get("Description")


def _raced() -> dict[tuple[str, str], list[dict]]:
    """The runs of notebook 02 on CIFAR-10 that count, by stack and activation."""
    return race.at_best_rates(rows.read("02_relu_vs_tanh", "cifar10"), spec_at(FIGURE1, "cifar10"), CHANCE)


def _recorded() -> list[dict]:
    """Rows of notebook 04 of all scales but the sample, the largest scale first."""
    return [row for scale in reversed(SCALES) if scale != "sample" for row in rows.read("04_train", scale)]


if __name__ == "__main__":
    for path in refresh():
        print(f"updated {path.relative_to(ROOT)}")
