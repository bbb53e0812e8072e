"""The paper's data agree with arithmetic, the 2012 logs and the configuration."""

import ast
import dataclasses
import math
import re
import shutil
import subprocess
import sys
from itertools import pairwise

import pytest

from alexold import claims, config, paper
from alexold.paths import ROOT

LAYERS = {layer.name: layer for layer in paper.LAYERS}
CLAIMS = {claim.id: claim for claim in claims.CLAIMS}
FIELDS = {
    field.name: (part, field.name)
    for part, cls in (("net", config.Net), ("augment", config.Augment), ("train", config.Train))
    for field in dataclasses.fields(cls)
}
# (claim, run without, run with): the pairs behind the gains that the paper prints.
PRINTED_GAINS = [
    ("two-gpus", "145-half", "145-2010"),
    ("lrn", "148", "145"),
    ("overlap", "147", "145"),
    ("pre-training", "145", "146-2012-2011"),
]


def cost(widths, towers):
    """Parameters and macs of an eight-layer net, written apart from the layer table."""
    inputs = (3, *widths[:5], widths[5], widths[6])
    kernels, positions = (11, 5, 3, 3, 3), (55, 27, 13, 13, 13)
    parameters = macs = 0
    for i, width in enumerate(widths):
        fan_in = inputs[i] * (kernels[i] ** 2 if i < 5 else 36 if i == 5 else 1)
        weights = width * fan_in // (towers if i in (1, 3, 4) else 1)
        parameters += weights + width
        macs += weights * (positions[i] ** 2 if i < 5 else 1)
    return parameters, macs


@pytest.mark.parametrize("layer", paper.LAYERS, ids=lambda layer: layer.name)
def test_layer_row_follows_from_its_shapes(layer):
    channels, height, width = layer.output
    weights = math.prod(layer.weight_shape)
    assert layer.weight_shape[0] == channels
    assert layer.neurons == channels * height * width
    assert layer.parameters == weights + channels
    assert layer.macs == weights * height * width


def test_totals():
    assert sum(layer.parameters for layer in paper.LAYERS) == paper.PARAMETERS
    assert sum(layer.macs for layer in paper.LAYERS) == paper.MACS
    assert sum(layer.neurons for layer in paper.LAYERS) == paper.NEURONS
    widths = [layer.weight_shape[0] for layer in paper.LAYERS]
    assert cost(widths, towers=2) == (paper.PARAMETERS, paper.MACS)
    assert cost(widths, towers=1) == (paper.ONE_TOWER_PARAMETERS, paper.ONE_TOWER_MACS)
    assert cost(paper.HALF_WIDTHS, towers=1) == (paper.HALF_PARAMETERS, paper.HALF_MACS)
    assert round(100 * paper.HALF_MACS / paper.MACS) == 54
    assert 3 * paper.CONSTANTS["crop"].value ** 2 == paper.INPUT_VALUES


def test_sizes_need_rounding_up():
    """224 gives the outputs of the table with sizes rounded up (layer.py); rounded down, 5x5 maps remain."""

    def sizes(rounding):
        size, out = paper.CONSTANTS["crop"].value, []
        for layer in paper.LAYERS[:5]:
            size = 1 + rounding((size + 2 * layer.pad - layer.kernel) / layer.stride)
            out.append(size)
            if layer.name in ("conv1", "conv2", "conv5"):
                size = 1 + rounding((size - 3) / 2)
        return [*out, size]

    assert sizes(math.ceil) == [layer.output[1] for layer in paper.LAYERS[:5]] + [6]
    assert sizes(math.floor) == [54, 26, 12, 12, 12, 5]
    assert LAYERS["fc6"].weight_shape[1] == 6 * 6 * LAYERS["conv5"].output[0]


def test_layers_that_read_their_own_tower():
    for below, layer in pairwise(paper.LAYERS[:5]):
        share = 2 if layer.reads == "own" else 1
        assert layer.weight_shape[1] * share == below.output[0]
    assert [layer.name for layer in paper.LAYERS if layer.reads == "own"] == ["conv2", "conv4", "conv5"]


def test_statements_that_are_false():
    shares = {name: 100 * layer.parameters / paper.PARAMETERS for name, layer in LAYERS.items()}
    too_large = {name: round(share, 2) for name, share in shares.items() if share > 1 and "conv" in name}
    assert too_large == {"conv3": 1.45, "conv4": 1.09}
    assert CLAIMS["parameters"].log == paper.PARAMETERS and CLAIMS["neurons"].log == paper.NEURONS
    assert CLAIMS["one-percent"].log == max(too_large.values()) > CLAIMS["one-percent"].paper

    wrong = [layer.name for layer in paper.LAYERS if layer.caption != layer.neurons]
    assert wrong == ["conv1"]
    assert LAYERS["conv1"].caption == CLAIMS["conv1-neurons"].paper == 55 * 48 * 96
    assert LAYERS["conv1"].neurons == CLAIMS["conv1-neurons"].log == 55 * 55 * 96
    stated, with_caption = paper.CONSTANTS["neurons"].value, sum(layer.caption for layer in paper.LAYERS)
    assert abs(paper.NEURONS - stated) < 10_000 < abs(with_caption - stated)


@pytest.mark.parametrize(("claim", "without", "with_it"), PRINTED_GAINS)
@pytest.mark.parametrize(("suffix", "error"), [("", "top1"), ("-top5", "top5")])
def test_printed_gains_are_differences_of_logs(claim, without, with_it, suffix, error):
    row = CLAIMS[claim + suffix]
    gain = 100 * (getattr(paper.BY_RUN[without, "ten"], error) - getattr(paper.BY_RUN[with_it, "ten"], error))
    assert row.log == pytest.approx(gain, abs=1e-3)
    assert row.paper == pytest.approx(gain, abs=0.05)


@pytest.mark.parametrize(
    ("model", "run", "views"),
    [
        ("CNN", "145-2010", "ten"),
        ("CNN, centre view", "145-2010", "centre"),
        ("1 CNN", "145", "ten"),
        ("1 CNN*", "146-2012-2011", "ten"),
    ],
)
def test_tables_are_the_logs_rounded(model, run, views):
    (row,) = (row for row in paper.RESULTS if row.model == model)
    log = paper.BY_RUN[run, views]
    printed = (row.val_top1 or row.test_top1, row.val_top5 or row.test_top5)
    assert printed == (round(100 * log.top1, 1), round(100 * log.top5, 1))


def test_claims_about_results_match_the_tables():
    rows = {row.model: row for row in paper.RESULTS}
    one, five, pre = rows["1 CNN"], rows["5 CNNs"], rows["1 CNN*"]
    centre, ten = rows["CNN, centre view"], rows["CNN"]
    others = {(row.data[-4:], row.model): row for row in paper.RESULTS}
    sparse, vectors = others["2010", "Sparse coding"], others["2010", "SIFT + FVs"]
    expected = {
        "five-nets": one.val_top1 - five.val_top1,
        "five-nets-top5": one.val_top5 - five.val_top5,
        "pre-training": one.val_top1 - pre.val_top1,
        "pre-training-top5": one.val_top5 - pre.val_top5,
        "ten-views": centre.test_top1 - ten.test_top1,
        "ten-views-top5": centre.test_top5 - ten.test_top5,
        "seven-nets-top5": rows["7 CNNs*"].test_top5,
        "margin-2010-sparse-coding": sparse.test_top1 - ten.test_top1,
        "margin-2010-sparse-coding-top5": sparse.test_top5 - ten.test_top5,
        "margin-2010-fisher-vectors": vectors.test_top1 - ten.test_top1,
        "margin-2010-fisher-vectors-top5": vectors.test_top5 - ten.test_top5,
        "margin-2012-top5": others["2012", "SIFT + FVs"].test_top5 - rows["7 CNNs*"].test_top5,
        "error-2009": rows["CNN, sixth conv layer"].test_top1,
        "error-2009-top5": rows["CNN, sixth conv layer"].test_top5,
    }
    assert {id: CLAIMS[id].paper for id in expected} == pytest.approx(expected)
    assert [CLAIMS[id].log for id in ("ten-views", "ten-views-top5")] == pytest.approx([1.552, 1.297])


def test_validation_and_test_errors_are_compared_in_top5():
    """Table 2 has both for the top-5 error alone; run 137 was logged on both sets of 2010."""
    both = [row for row in paper.RESULTS if row.val_top5 is not None and row.test_top5 is not None]
    assert [row.model for row in both] == ["5 CNNs", "7 CNNs*"] and all(row.test_top1 is None for row in both)
    claim = CLAIMS["val-test-gap"]
    assert max(abs(row.val_top5 - row.test_top5) for row in both) == pytest.approx(claim.paper)
    val, test = (100 * paper.BY_RUN[run, "ten"].top5 for run in ("137-2010-val", "137-2010"))
    assert claim.log == pytest.approx(abs(val - test), abs=1e-3) and 0 < claim.log < claim.paper


def test_slips_are_facts_that_the_paper_s_own_numbers_contradict():
    slips = {id: claim for id, claim in CLAIMS.items() if claim.slip}
    assert slips.keys() == {"conv1-neurons", "one-percent", "crops-factor"}
    for id, claim in slips.items():
        assert claim.kind == "fact" and claim.log > claim.paper, id
    with_caption = sum(layer.caption for layer in paper.LAYERS)
    assert f"{LAYERS['conv1'].neurons:,}" in slips["conv1-neurons"].slip
    assert f"{with_caption:,}" in slips["conv1-neurons"].slip
    places = paper.CONSTANTS["side"].value - paper.CONSTANTS["crop"].value + 1
    assert f"{places} x {places} x 2 = {2 * places**2:,}" in slips["crops-factor"].slip
    for name, share in (("conv3", "1.5 %"), ("conv4", "1.1 %")):
        weights = math.prod(LAYERS[name].weight_shape)
        assert f"{100 * weights / paper.CONSTANTS['parameters'].value:.1f} %" == share in slips["one-percent"].slip


def test_logs_are_plausible():
    assert len(paper.BY_RUN) == len(paper.LOGS)
    for log in paper.LOGS:
        assert 0 < log.top5 < log.top1 < 1 < log.log_loss < 2, log.id
    for run, views in paper.BY_RUN:
        if views == "centre" and (run, "ten") in paper.BY_RUN:
            assert paper.BY_RUN[run, "ten"].top1 < paper.BY_RUN[run, "centre"].top1, run


def test_scatter_of_near_equal_runs():
    errors = [100 * paper.BY_RUN[run, "ten"].top1 for run in ("169", "170", "170-fade", "171", "174")]
    scatter = CLAIMS["run-scatter"].log
    assert scatter == pytest.approx(max(errors) - min(errors), abs=1e-3)
    assert scatter > CLAIMS["overlap-top5"].paper  # the smallest gain of the paper is within it


def test_schedules():
    epochs = [epoch for epoch, _, _ in paper.RUN_145]
    assert epochs == sorted(epochs) and paper.RUN_145[-1] == (91, "stop", 0.0)
    rates = [rate for _, setting, rate in paper.RUN_145 if setting == "lr"]
    assert [0.01, *rates] == pytest.approx([10.0**-i for i in (2, 3, 4, 5)])
    steps = paper.FOUR_STEP["weights"]
    rates = [steps["start"] * steps["factor"] ** (-i / (steps["steps"] - 1)) for i in range(steps["steps"])]
    assert rates == pytest.approx([0.01, 0.001587, 0.000252, 0.00004], rel=1e-3)


def test_colour_statistics():
    for i, a in enumerate(paper.COLOUR_VECTORS):
        for j, b in enumerate(paper.COLOUR_VECTORS):
            dot = sum(x * y for x, y in zip(a, b, strict=True))
            assert dot == pytest.approx(float(i == j), abs=0.002)
    components = list(zip(paper.COLOUR_VECTORS, paper.COLOUR_STDS, strict=True))
    stds = [math.sqrt(sum((v[c] * s) ** 2 for v, s in components)) for c in range(3)]
    assert stds == pytest.approx([74, 72, 77], abs=0.5)
    largest, spread = max(paper.COLOUR_STDS), paper.CONSTANTS["colour_std"].value
    assert spread * largest**2 > 1000 > 255 > 100 * spread > spread * largest**2 / 255
    assert 10 < spread * largest < 15  # what the 2012 code adds, in grey levels


@pytest.mark.parametrize("rows", [claims.CLAIMS, claims.AMBIGUITIES], ids=["claims", "ambiguities"])
def test_ids(rows):
    ids = [row.id for row in rows]
    assert len(set(ids)) == len(ids)
    assert [id for id in ids if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", id)] == []


def test_claims_are_complete():
    notebooks = {"01_augmentation", "02_relu_vs_tanh", "03_ablations", "04_train", "05_features", ""}
    for claim in claims.CLAIMS:
        assert claim.unit in {"pp", "x", "%", "points", "count", "days", "GB"}, claim.id
        assert claim.kind in {"effect", "level", "fact"}, claim.id
        assert claim.kind == "effect" or claim.unit not in {"pp", "x"}, claim.id
        assert claim.notebook in notebooks, claim.id
        assert re.fullmatch(r"\d(\.\d)?(, \d(\.\d)?)*|abstract|figure \d|log", claim.section), claim.id
        assert claim.log is not None or claim.log_note, f"{claim.id}: why is there no log?"
        assert claim.section != "log" or (claim.paper is None and claim.log is not None), claim.id
        if claim.paper is not None and claim.unit == "pp":
            assert claim.paper > 0, f"{claim.id}: effects are phrased so that the paper is right above 0"
        for study, value, note in claim.later:
            assert study and (value is not None or note), claim.id


def test_readings_are_those_of_the_configuration():
    chosen = {row.field: row for row in claims.AMBIGUITIES if row.field}
    wanted = "input lrn_alpha lrn_before_relu spatial_norm init_std init_bias dropout overlapping"  # Net
    wanted += " colour colour_end divide chunk"  # Augment
    wanted += " bias_lr_factor bias_decay schedule conv1_freeze"  # Train
    assert set(chosen) == set(wanted.split())
    for name, row in chosen.items():
        part, field = FIELDS[name]
        for spec, reading in ((config.PAPER, row.reading_paper), (config.SOURCE2012, row.reading_source)):
            assert getattr(getattr(spec, part), field) == pytest.approx(reading), (spec.name, name)


def test_initial_readings_are_those_of_the_layer_table():
    weights, biases = (
        next(row for row in claims.AMBIGUITIES if row.id == id) for id in ("initial-weights", "initial-biases")
    )
    assert weights.reading_source == tuple(layer.init_std_source for layer in paper.LAYERS)
    assert biases.reading_source == tuple(layer.bias_init for layer in paper.LAYERS)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("statement =", "statment =", "claims.toml, entry 1, relu-speed: .*statment"),
        ("value = -0.1", "valeu = -0.1", "claims.toml, entry 7, lrn: .*valeu"),
        ("top5 = { paper", "top5 = { papr", "claims.toml, entry 4, two-gpus: .*papr"),
        ('unit = "x"\n', "", "claims.toml, entry 1, relu-speed: .*missing .*unit"),
        ('runs = ["148"', 'runs = ["1480"', "claims.toml, entry 7, lrn: .*1480"),
        ('runs = ["148"', 'log = 1\nruns = ["148"', "claims.toml, entry 7, lrn: .*log"),
        ("question =", "qestion =", "ambiguities.toml, entry 1, input-size: .*qestion"),
        ("meaning =", "meaning = 1, mening =", "constants.toml, entry 1, pictures_train: .*mening"),
        ("name,kind", "nmae,kind", "layers.csv, entry 1, conv1: .*nmae"),
        (",0.182100,145\n", ",0.182100\n", "logs.csv, entry 1, 145: "),
        ("47.1,28.2", "47.1,28.2,1", "results.csv, entry 1, Table 1: "),
        ("47.1,28.2", "47.1", "results.csv, entry 1, Table 1: "),
        ("47.1,28.2", "4Z.1,28.2", "results.csv, entry 1, Table 1: .*4Z.1"),
    ],
)
def test_a_slip_in_a_table_is_named(old, new, complaint, tmp_path):
    shutil.copytree(paper.TABLES.parent, tmp_path / "alexold", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "alexold" / "tables" / complaint.split(",")[0]
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    command = [sys.executable, "-B", "-c", "import alexold.claims"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 1
    assert re.search(f"^ValueError: {complaint}", run.stderr, re.M), run.stderr


@pytest.mark.parametrize(
    ("module", "allowed"), [("paper", {"csv", "tomllib", "pathlib"}), ("claims", {"alexold.paper"})]
)
def test_data_modules_stand_alone(module, allowed):
    tree = ast.parse((ROOT / "alexold" / f"{module}.py").read_text())
    plain = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert plain | modules == {"dataclasses"} | allowed
