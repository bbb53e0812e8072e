"""Writes the generated parts of README.md and docs/ anew, from code and rows, between markers; and the reports' index.

    python docs/refresh.py

<!-- generated: NAME -->
...
<!-- end -->
"""

import base64
import csv
import json
import re
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from PIL import Image

from alexlib import contrasts, costs, effects, plots, race, rows, scorecard, site
from alexlib.claims import AMBIGUITIES, CLAIMS
from alexlib.config import FIGURE1, PAPER, SCALES, SOURCE2012, spec_at
from alexlib.findings import proportion
from alexlib.nets import ledger, trace, trace_text
from alexlib.paths import ROOT, reports_root
from alexlib.progress import clock

PAGES = ("README.md", "docs/fidelity.md", "docs/performance.md", "docs/scaling.md")
FIGURES = ROOT / "reports" / "figures"
IMAGENET = 1_281_167  # training pictures of ILSVRC-2012
CHANCE = 0.9  # error of a guess among the ten classes of CIFAR-10
RATES, KERNELS, FOREST = "02_figure1.png", "05_kernels.png", "03_ablations.png"


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
        what = f"{c.quantity} ({c.unit})"
        lines.append((f"`{c.id}`", c.section, c.statement, what, c.paper, c.log, c.log_note, c.studies))
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
    return markdown_table(("scale", "images; who runs it", "net and schedule"), lines)


def results() -> str:
    """The runs of notebook 04 that are on record, one line each."""
    lines = []
    for row in _recorded():
        errors = []
        for views in ("centre", "ten"):
            m = row["metrics"][views]
            low, high = proportion(m["top1"], m["n"])
            errors.append(f"{100 * m['top1']:.1f} % ({100 * low:.1f} to {100 * high:.1f})")
        speed = f"{row['pictures_per_second']:.0f}/s, {clock(row['seconds'])}"
        own = "" if row["data"]["name"] == SCALES[row["scale"]].source else f", {row['data']['name']}"
        what = (row["scale"] + own, row["spec"], len(row["history"]), row["seed"])
        lines.append(
            (*what, *errors, row["metrics"]["ten"]["n"], row["config"]["train"]["precision"], speed, row["device"])
        )
    head = ("scale", "config", "epochs", "seed", "top-1 error, centre view", "top-1 error, ten views", "test images")
    return markdown_table((*head, "precision", "training speed, time", "device"), lines)


def augmentation() -> str:
    """What leaving augmentation out does, from the runs of notebook 01 that are on record."""
    return _effects("01_augmentation")


def ablations() -> str:
    """What each part of the net is worth, from the runs of notebook 03 that are on record."""
    return _effects("03_ablations")


def _effects(study: str) -> str:
    lines = []
    for group in effects.comparable(_kept(study)):
        where = costs.setting(group[0])
        for row in effects.variant_effects(group):
            single = min(row["n"]) < 2
            span = "-" if single else f"{row['low']:+.1f} to {row['high']:+.1f}"
            seen = (f"{row['value']:+.1f}", span, "-" if single else f"{row['detectable']:.1f}")
            paper = (row["paper"], row["log"], "; ".join(f"{value:g}" for _, value in row["later"]))
            n = " + ".join(map(str, row["n"]))
            lines.append((where, row["name"], *paper, *seen, n, row["verdict"]))
    head = ("scale", "left out: effect", "paper", "2012 log", "later", "here", "95 % interval", "detectable", "runs")
    return markdown_table((*head, "verdict"), lines) if lines else "*No effect is on record yet.*"


def _kept(study: str) -> list[dict]:
    """The rows of a study on record, scale by scale."""
    return [row for scale in SCALES if scale != "sample" for row in rows.on_record(study, scale)]


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
    on_record, lines = rows.on_record("02_relu_vs_tanh", "cifar10"), []
    tried = race.rates_tried(on_record, spec_at(FIGURE1, "cifar10"))
    for stack, pair in scorecard.races(on_record).items():
        found = scorecard.relu_speed(pair["tanh"], pair["relu"], CHANCE)
        tanh, relu = (
            f"{pair[name][0]['config']['train']['lr']:g} (of {len(tried[stack, name])}),"
            f" {len(pair[name])}, {found[key]:.1f}"
            for key, name in (("slow", "tanh"), ("fast", "relu"))
        )
        span = "-" if min(found["n"]) < 2 else f"{found['low']:.1f} to {found['high']:.1f}"
        value = f"{found['bound']} {found['value']:.1f}".strip()
        lines.append((f"`{stack}`", relu, tanh, value, span, found["paper"], found["verdict"]))
    return markdown_table(head, lines)


def lead() -> str:
    """Figure 1 in one sentence, and how its ratio depends on the target."""
    runs = _raced()
    found = race.sooner(runs["tanh"], runs["relu"], FIGURE1.train.target, CHANCE)
    others = race.by_target(runs["tanh"], runs["relu"], [0.5, 0.4, 0.3], CHANCE)
    ratios = ", ".join(f"{row['value']:.1f} at {100 * row['target']:.0f} %" for row in others)
    data = runs["relu"][0]["data"]["origin"].split(";")[0]
    target, n = f"{100 * FIGURE1.train.target:.0f} %", f"{found['n'][1]} and {found['n'][0]} runs"
    times = f"in {found['fast']:.1f} epochs, tanh units in {found['slow']:.1f} ({n})"
    span = f"95 % interval {found['low']:.1f} to {found['high']:.1f}; the paper: 6"
    return (
        f"The paper's Figure 1, measured anew on {data}: ReLUs take a four-layer net to {target} training error"
        f" {times}. The ratio is {found['value']:.1f} ({span}). It depends on the target: {ratios} training error."
    )


def verdicts() -> str:
    """The scorecard: how many claims have which verdict, and the empirical ones with evidence, a line each."""
    table, places, lines = scorecard.card(scorecard.record()), site.places(), []
    empirical = [entry for entry in table if entry["claim"].kind != "fact"]
    for entry in (entry for entry in empirical if entry["lines"]):
        cells = scorecard.cells(entry["claim"], entry["lines"][0])
        there = places.get((entry["lines"][0]["scale"], entry["lines"][0]["study"]))
        where = f"[{cells['where']}](reports/{there}.ipynb)" if there else cells["where"]
        keys = ("claim", "quantity", "paper", "2012 log", "ours", "95 % interval", "detectable", "runs")
        lines.append((*(cells[key] for key in keys), where, entry["verdict"]))
    head = ("claim", "quantity", "paper", "2012 log", "here", "95 % interval", "detectable", "runs", "where", "verdict")
    told = _counted(empirical)
    return f"{len(empirical)} empirical claims: {told}.\n\n{markdown_table(head, lines)}"


def facts() -> str:
    """The claims that are counted from the net, a line each."""
    counted = [entry for entry in scorecard.card([]) if entry["claim"].kind == "fact"]
    cells = [scorecard.cells(entry["claim"], *entry["lines"][:1]) | {"verdict": entry["verdict"]} for entry in counted]
    lines = [(c["claim"], c["quantity"], c["paper"], c["ours"], c["verdict"], e["claim"].slip)
             for c, e in zip(cells, counted, strict=True)]  # fmt: skip
    head = ("claim", "quantity", "paper", "counted", "verdict", "what contradicts it")
    return f"{len(counted)} facts: {_counted(counted)}.\n\n{markdown_table(head, lines)}"


def _counted(table: list[dict]) -> str:
    counts = Counter(entry["verdict"].partition(";")[0] for entry in table)
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())


def forest() -> str:
    """The figure of the ablations, once there is an effect to draw."""
    about = "What each part of the net is worth, with intervals, beside the paper and the 2012 logs"
    return _figure(FOREST, about, _figures()[FOREST][0])


def kernels() -> str:
    """The figure of the first layer's kernels, once there is a report that holds it."""
    about = "Kernels of the first layer, one tower in the upper half and one in the lower"
    return _figure(KERNELS, about, reported_kernels())


def _figure(name: str, about: str, there) -> str:
    return f"![{about}]({(FIGURES / name).relative_to(ROOT)})" if there else "*Not drawn yet.*"


def reported_kernels() -> bytes | None:
    """The figure of the first layer's kernels in the report of notebook 05 at the scale nearest to the paper."""
    places = site.places()
    found = [places[scale, "05_features"] for scale in scorecard.NEAREST[:-1] if (scale, "05_features") in places]
    if not found:
        return None
    cells = json.loads((reports_root() / f"{found[0]}.ipynb").read_text())["cells"]
    cell = next(cell for cell in cells if "plots.kernels(" in "".join(cell["source"]))
    return base64.b64decode(next(out["data"]["image/png"] for out in cell["outputs"] if "data" in out))


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


def lrn() -> str:
    """The newest benchmark of the response norm alone on each machine."""
    return _benchmark("LRN", ("case", "speed", "ratio to torch's"), lambda _: ())


def with_data() -> str:
    """The newest benchmark of training with its data."""
    return _benchmark("training with data", ("case", "speed", "ratio to steps alone"), lambda _: ())


def testing() -> str:
    """The newest benchmark of testing."""
    return _benchmark("testing", ("case", "speed", "ratio to newcomer"), lambda _: ())


def bounded_memory() -> str:
    """The newest benchmark of a set that is larger than the memory it is given."""
    head = ("case", "speed", "ratio to the first", "the set", "limit on growth", "grown by")
    return _benchmark("memory", head, lambda r: tuple(f"{r[key]:,} MB" for key in ("set_mb", "limit_mb", "grown_mb")))


def floors() -> str:
    """The newest comparison of a step with what the machine can do: rates, then layer by layer."""
    head = ("layers", "arithmetic, GFLOP", "bytes, MB", "measured, ms", "floor, ms", "floor / measured")
    text = []
    for results in _results():
        found = {r["case"]: r for r in results if r["benchmark"] in ("matrix product", "copy", "floor of a step")}
        if not found:
            continue
        rates = ", ".join(f"{case} {r['value']:,g} {r['unit']}" for case, r in found.items() if "floor_ms" not in r)
        lines = [
            (case, *(f"{r[key]:,.4g}" for key in ("gflop", "mb", "ms", "floor_ms")), f"{r['of_floor']:.0%}")
            for case, r in found.items()
            if "floor_ms" in r and r["ms"] >= 1
        ]
        text += [f"{next(iter(found.values()))['device']}: {rates}; batch 128, bf16.", markdown_table(head, lines)]
    return "\n\n".join(text)


def tried() -> str:
    """What was tried to make a step faster, what was expected, what came out, and whether it stayed."""
    with open(ROOT / "benchmarks" / "tried.csv", newline="") as lines:
        head, *entries = csv.reader(lines)
    return markdown_table(head, entries)


def speed() -> str:
    """The main line of the benchmarks: our training step beside what people would otherwise use."""
    words = {
        "newcomer:": "the same net from torch's modules in fp32",
        "newcomer under": "that under `torch.compile`",
        "torchvision": "torchvision's `alexnet` in fp32, which has as much arithmetic and no LRN",
    }
    text = []
    for results in _results():
        steps = {r["case"]: r for r in results if r["benchmark"] == "training step"}
        if ours := steps.get("paper, bf16"):
            others = [
                f"{ours['value'] / r['value']:.1f} times {said}"
                for start, said in words.items()
                for case, r in steps.items()
                if case.startswith(start)
            ]
            where = f"{ours['device']}, batch {ours['batch']}, bf16"
            rate = f"**{ours['value']:.0f} pictures/s**"
            text.append(f"A training step of the paper's net ({where}): {rate}, {', '.join(others)}.")
    return "\n\n".join(text)


def data_path() -> str:
    """The newest benchmark of the data path on each machine."""
    return _benchmark("data path", ("case", "speed", "ratio to the first"), lambda _: ())


def imagenet_days() -> str:
    """What 90 epochs take at the speed of each measured training step."""
    pictures = 90 * IMAGENET
    return _benchmark(
        "training step", ("case", "speed", "ratio to newcomer", "90 epochs"),
        lambda r: (f"{pictures / r['value'] / 86400:,.0f} days",),
    )  # fmt: skip


def gradient_bytes() -> str:
    """Gradients of a step that each rank sends, and the share of the fully-connected layers."""
    stages = [row for row in trace(PAPER) if row["parameters"]]
    counts = {kind: [sum(row[kind] for row in stages if row["stage"].startswith(name)) for name in ("conv", "fc")]
              for kind in ("parameters", "macs")}  # fmt: skip
    lines = []
    for name, place in (("convolutions", 0), ("fully-connected layers", 1)):
        parameters, macs = counts["parameters"][place], counts["macs"][place]
        share = f"{parameters / sum(counts['parameters']):.1%}", f"{macs / sum(counts['macs']):.1%}"
        sent = (f"{2 * (n - 1) / n * 4 * parameters / 1e6:,.0f} MB" for n in (2, 8, 64))
        lines.append((name, parameters, *share, *sent))
    total = (f"{2 * (n - 1) / n * 4 * sum(counts['parameters']) / 1e6:,.0f} MB" for n in (2, 8, 64))
    lines.append(("all", sum(counts["parameters"]), "100%", "100%", *total))
    head = ("layers", "parameters", "of all", "of the arithmetic", "2 ranks, a step", "8 ranks", "64 ranks")
    return markdown_table(head, lines)


def tower_bytes() -> str:
    """What crosses between two towers in a step of 128 pictures, bf16."""
    lines = [
        (r["layer"], r["values"], *(f"{128 * r[way] / 1e6:.1f} MB" for way in ("forward", "backward")))
        for r in ledger(PAPER)
    ]
    return markdown_table(("before", "numbers a picture", "forward, 128 pictures", "backward"), lines)


def _benchmark(name: str, head: tuple, more) -> str:
    lines = []
    for r in (r for results in _results() for r in results if r["benchmark"] == name):
        batch = f"batch {r['batch']}, " if r["batch"] else ""
        what = f"{r['case']}; {batch}{r['device']}"
        lines.append((what, f"{r['value']:,g} {r['unit']}", f"{r['ratio']:g}", *more(r)))
    return markdown_table(head, lines)


def _results() -> list[list[dict]]:
    """What the benchmarks measured, a list a machine."""
    return [json.loads(file.read_text()) for file in sorted((ROOT / "benchmarks" / "results").glob("*.json"))]


PARTS = {
    "scales": scales,
    "results": results,
    "augmentation": augmentation,
    "ablations": ablations,
    "figure-1": figure1,
    "scorecard": verdicts,
    "facts": facts,
    "lead": lead,
    "forest": forest,
    "kernels": kernels,
    "cifar-epoch": cifar_epoch,
    "tanh": tanh,
    "imagenet-days": imagenet_days,
    "gradient-bytes": gradient_bytes,
    "tower-bytes": tower_bytes,
    "layers": layers,
    "steps": steps,
    "speed": speed,
    "lrn": lrn,
    "floors": floors,
    "tried": tried,
    "with-data": with_data,
    "testing": testing,
    "bounded-memory": bounded_memory,
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
    """Write the pages whose generated parts have changed, their figures, and the index; returns what was written."""
    written = []
    for page in (ROOT / name for name in PAGES):
        text = page.read_text()
        if (new := render(text)) != text:
            page.write_text(new)
            written.append(page)
    for name, (drawn_from, draw) in _figures().items():
        figure = FIGURES / name
        if drawn_from and stamp(figure) != scorecard.fingerprint(drawn_from):
            FIGURES.mkdir(parents=True, exist_ok=True)
            draw().savefig(figure, metadata={"Software": None, "Description": scorecard.fingerprint(drawn_from)})
            written.append(figure)
    if (drawn := reported_kernels()) and (not (file := FIGURES / KERNELS).exists() or file.read_bytes() != drawn):
        FIGURES.mkdir(parents=True, exist_ok=True)
        file.write_bytes(drawn)
        written.append(file)
    index = FIGURES.parent / "index.html"
    if not index.exists() or site.index_text() != index.read_text():
        written.append(site.index())
    return written


def _figures() -> dict[str, tuple[list[dict], Callable]]:
    """The figures of the pages: name, the rows that each is drawn from, and how."""
    runs, compared = _raced(), _compared()
    shown = [row for row in effects.variant_effects(compared) if row["unit"] == "points"] if compared else []
    return {
        RATES: ([*chain(*runs.values())], lambda: plots.figure1(runs, FIGURE1.train.target, CHANCE)),
        FOREST: (
            compared if shown else [],
            lambda: contrasts.forest(shown, _forest_title(shown, compared[0]["scale"])),
        ),
    }


def _compared() -> list[dict]:
    """The largest group of runs of notebook 03 at the scale nearest to the paper that has a variant with two seeds."""
    for scale in scorecard.NEAREST[:-1]:
        groups = effects.comparable(rows.on_record("03_ablations", scale))
        groups = [group for group in groups if any(min(row["n"]) > 1 for row in effects.variant_effects(group))]
        if groups:
            return max(groups, key=len)
    return []


def _forest_title(shown: list[dict], scale: str) -> str:
    clear = sum(row["low"] > 0 or row["high"] < 0 for row in shown)
    return f"{clear} of {len(shown)} effects differ from zero ({scale})"


def stamp(figure: Path) -> str | None:
    """The digest of the rows that a figure was drawn from, None where there is no figure."""
    if not figure.exists():
        return None
    with Image.open(figure) as picture:
        return picture.info.get("Description")


def _raced() -> dict[str, list[dict]]:
    """The runs of notebook 02 on CIFAR-10 that count, with the four-layer net, by activation."""
    pair = scorecard.races(rows.on_record("02_relu_vs_tanh", "cifar10")).get("four-layer", {})
    return {name: pair[name] for name in ("relu", "tanh") if name in pair}


def _recorded() -> list[dict]:
    """Rows of notebook 04 of all scales but the sample, the largest scale first."""
    return [row for scale in reversed(SCALES) if scale != "sample" for row in rows.on_record("04_train", scale)]


if __name__ == "__main__":
    for path in refresh():
        print(f"updated {path.relative_to(ROOT)}")
