# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # [Re] ImageNet Classification with Deep Convolutional Neural Networks, from its text and from its code
#
# *A reproduction of the paper by A. Krizhevsky, I. Sutskever and G. E. Hinton (NIPS 2012), in the form of the
# ML Reproducibility Challenge. All results are generated from the rows of the runs on record (`make paper`).*

# %% tags=["parameters"]
core_watts: float = 10.0  # power of one busy CPU core with its share of the machine: an assumption
gpu_watts: float = 700.0  # power of one busy GPU, its rated maximum: an assumption

# %%
from alexlib.notebook import as_text, parameters

parameters(globals())  # checks them

import dataclasses
import json
import math
from itertools import chain, pairwise

import numpy as np
import pandas as pd
from IPython.display import Markdown
from matplotlib import pyplot
from scipy.stats import t as student

from alexlib import config, figures, paper
from alexlib.config import config_at
from alexlib.models.alexnet import shapes_and_cost
from alexlib.study import measures, race, records, rules, scorecard, variants, verdicts

# %%
pyplot.rcParams |= {"figure.dpi": 150, "font.size": 12}  # the report shows figures at half of their size
found, blocks, NONE = records.everything(), variants.BLOCKS, "*No row is on record for this yet.*"
card = {entry["claim"].id: entry for entry in scorecard.card(found)}
facts = [entry for entry in card.values() if entry["claim"].kind == "fact"]
empirical = [entry for entry in card.values() if entry["claim"].kind != "fact"]
tested = [entry for entry in empirical if entry["lines"]]
done = {b.id: [r for r in measures.trained(found) if variants.block_of(r) == b] for b in blocks}

# %% [markdown]
# ## Reproducibility summary
#
# **Scope.** The paper explains the low error of one net on ImageNet by its parts: ReLUs, two GPUs, response
# normalisation, overlapping pools, augmentation, dropout and depth. Its sentences that can be checked are
# claims here, each with a quantity and a sign. They are tested on image sets smaller than ImageNet.
#
# **Methodology.** The net was rewritten in PyTorch, in two configs: one follows the text, the other the
# authors' code of 2012, published in 2025. A protocol fixes what is run, what counts as evidence and how an
# interval becomes a verdict.


# %%
def table(head, rows):
    """A table in Markdown."""
    frame = pd.DataFrame([list(map(str, row)) for row in rows], columns=head.split(" | "))
    return Markdown(as_text(frame.style.hide()) if len(frame) else NONE)


def short(entry):
    """A verdict without its second half."""
    return entry["verdict"].partition(";")[0]


def listed(entries):
    """The names of their claims."""
    return ", ".join(f"`{entry['claim'].id}`" for entry in entries)


# %%
def blocks_of(line):
    """The blocks whose rows a line of evidence rests on, in the order of the protocol."""
    used = {variants.block_of(row).id for row in line["rows"]}
    return [block.id for block in blocks if block.id in used]


def where(line):
    """The scale and the block of a line of evidence; of two blocks that of the variant."""
    ids = blocks_of(line)
    return f"{line['scale']}: {ids[-1] if len(ids) < 3 else f'{len(ids)} blocks'}"


def result(entry, line):
    """A claim with a line of evidence."""
    told, unit = scorecard.cells(entry["claim"], line), entry["claim"].unit
    told["ours"] += f" {unit} ({told['95 % interval']})".replace(" (-)", "")
    told |= {"claim": f"`{entry['claim'].id}`", "where": where(line)}
    return [told[key] for key in KEYS]


# %%
KEYS = "claim", "paper", "2012 log", "ours", "detectable", "runs", "where", "verdict"
SHOWN, LINE = [], "claim | paper | log | here (95 %) | detectable | runs | scale: block | verdict"


def results(*names):
    """A table of some claims; those that were not tested are in section 5."""
    SHOWN.extend(names)
    return table(LINE, [result(card[name], card[name]["lines"][0]) for name in names if card[name]["lines"]])


def counted(entries):
    """How many entries have which verdict."""
    groups = sorted(measures.grouped(entries, short), key=len, reverse=True)
    return ", ".join(f"{len(group)} *{short(group[0])}*" for group in groups)


# %% [markdown]
# **Results.** The claims that the protocol names as primary (pp: percentage points; x: a ratio):


# %%
def arms_at(scale, measure=measures.test_error, gpu=False):
    """A measure of the runs of each arm of a scale that is not closed: the scatter over seeds is pooled."""
    there = [b.id for b in blocks if b.scale == scale and b.gpu == gpu and not b.closed]
    ended = measures.ended(row for name in there for row in done[name])
    return [[*map(measure, arm)] for arm in measures.grouped(ended, lambda r: (r["study"], r["variant"]))]


def contrast(arms, weights, measure=measures.test_error, views="ten"):
    """A contrast of the errors or gaps of some arms, in points (section 5 of the protocol)."""
    values, pool = [[*map(measure, arm)] for arm in arms], arms_at(arms[0][0]["scale"], measure)
    images = measures.image_part([(arm, views) for arm in arms], "top1", weights=weights)
    return verdicts.difference(values, pool, *images, weights=weights).shown()


# %%
small = [block for block in blocks if block.scale == "miniimagenet"]
n, n_all = sum(len(done[block.id]) for block in small), sum(sum(block.variants.values()) for block in small)
state = "**The study is not complete:**" * (n < n_all)
n_gpu = sum(len(done[block.id]) for block in small if block.gpu)

# %%
primary = [entry for entry in empirical if entry["claim"].primary]
n_log = sum(entry["claim"].section == "log" for entry in card.values())
lines = [result(entry, entry["lines"][0]) for entry in primary if entry["lines"]]
said = {f"`{entry['claim'].id}`": entry["claim"].statement.removesuffix(".") for entry in primary}
whole = {ord(" "): "\N{NO-BREAK SPACE}"}
rows = [(f"{said[x[0]]} ({x[0]})", x[1], x[3].translate(whole), x[-1].translate(whole)) for x in lines]
summary = table("primary claim | paper | here (95 %) | verdict", rows)
Markdown(f"""{summary.data}

In all there are {len(card)} claims, {n_log} of them from the authors' logs alone. {len(facts)} are facts,
counted from the net: {counted(facts)}. Of the {len(empirical)} that need runs: {counted(empirical)}. {state}
{n} of the {n_all} runs on 100 classes that the protocol lists are on record, {n_gpu} of them made on a GPU
before its time ran out. A claim that needs other runs is *not tested* or judged at a smaller scale.""")

# %% [markdown]
# **Beyond the paper.** The ratio of Figure 1 by net (section 4.3), and the two readings on ten classes (4.4):


# %%
def falls(history, unit):
    """The epochs or updates (`unit`: epoch or step) after which the rate is lower."""
    return [one[unit] for one, after in pairwise(history) if after["lr"] < one["lr"]]


history = done["baseline"][0]["history"] if done["baseline"] else []
lowered = f"after {' and after '.join(map(str, falls(history, 'epoch'))) or '-'} of {len(history)} epochs"

# %%
raced, target = [r for r in found if r["study"] == "02_relu_vs_tanh"], config.FIGURE1.train.target
speeds = rules.relu_race(rules.UNCLAIMED, rules.Rows(raced))  # a line of evidence for each net
speeds = {line["rows"][0]["config"]["net"]["stack"]: line for line in speeds}
nets = {s: (x["rows"][: x["n"][0]], x["rows"][x["n"][0] :]) for s, x in speeds.items()}  # tanh, ReLU

# %%
readings = [measures.ended(done[block.id]) for block in blocks if block.study == "04_readings"]
apart = contrast(readings, (0.5, 0.5, -0.5, -0.5)) if all(readings) else None
ends = apart and f"{apart['value']:.2f} points ({apart['low']:.2f} to {apart['high']:.2f})"
said = ", ".join(f"{stack} {line['value']:.2f}" for stack, line in speeds.items())
Markdown(f"""tanh / ReLU: {said or "no row yet"}. Test error of `paper` minus that of
`source2012`, mean of both schedules: {ends or "no row yet"}.""")

# %% [markdown]
# **What was easy.** The paper gives nearly all sizes of its net, and the published parameter files answer
# most of what it leaves open. A run fits on one core; on one CPU, equal seeds give equal numbers, bit for
# bit.
#
# **What was difficult.** Text and code disagree, so "AlexNet" is two nets. The pairs of runs behind the
# paper's gains change more than one thing. Regularisation can be judged only where the net overfits. Small
# effects need several runs in each arm and many test images.
#
# **Contact with the authors.** None. Their published files were read instead.
#
# ## 1 Scope of reproducibility
#
# The main claims in the paper's words (with the section), and the quantity that is measured here. An effect
# is the error *without* a part minus the error *with* it: the paper is right if it is positive, or, for a
# ratio, above 1. pp: percentage points; x: a ratio; star: a primary claim. docs/results.md lists all claims.

# %%
QUOTES = """relu-speed: reaches a 25% training error rate on CIFAR-10 six times faster
two-gpus: reduces our top-1 and top-5 error rates by 1.7% and 1.2%, respectively, as compared with [...]
lrn: Response normalization reduces our top-1 and top-5 error rates by 1.4% and 1.2%, respectively
overlap: reduces the top-1 and top-5 error rates by 0.4% and 0.3%, respectively
crops-overfit: Without this scheme, our network suffers from substantial overfitting
dropout-overfit: Without dropout, our network exhibits substantial overfitting
remove-middle: removing any of the middle layers results in a loss of about 2%
colour-pca: This scheme reduces the top-1 error rate by over 1%
dropout-iterations: Dropout roughly doubles the number of iterations required to converge
halving: multiply their outputs by 0.5, which is a reasonable approximation to taking the geometric mean
five-nets-top5: Averaging the predictions of five similar CNNs gives an error rate of 16.4%
colour-towers: This kind of specialization occurs during every run"""

# %%
quoted = [(paper.CLAIMS[name], said) for name, said in (line.split(": ", 1) for line in QUOTES.splitlines())]
rows = [(f"`{c.id}`{'*' * c.primary} ({c.section})", f'"{said}"', c.quantity, c.unit) for c, said in quoted]
table("claim | the paper | quantity | unit", rows)

# %%
own, net = config.SOURCE2012.train, scorecard.facts()
both = [a for a in paper.AMBIGUITIES if a.reading_paper != a.reading_source]
rows = [(a.question, a.paper_says, a.source_did) for a in both]
rows = table("question | the paper says | the code of 2012 did", rows)
Markdown(f"""## 2 Methodology

### 2.1 The net, and two readings of the paper

The built net has {net["parameters"]:,} parameters and {net["neurons"]:,} neurons. The config `paper`
follows the text, `source2012` the code of 2012. Their answers to {len(both)} of {len(paper.AMBIGUITIES)}
questions differ (see table). `source2012` is the net of run 145, the paper's single net, with the schedule of
run 170, batches of {own.batch}, rate {own.lr:g}, momentum {own.momentum:g}, decay {own.decay:g}. The
ablations start from it; on 100 classes the rate (for biases too) is divided by 10 {lowered}, and conv1 is
never frozen. A variant leaves out or changes one part: `no-lrn` drops all three norms, as run 148 did;
`non-overlapping` also changes the padding, as run 147 did. Before a variant is trained, both nets are built
and compared.\n\n{rows.data}""")

# %% [markdown]
# ### 2.2 Data and runs
#
# The blocks of the protocol in their order, with the images of an epoch (without those held out), the runs
# listed and those on record. Closed blocks are older than the protocol: they are judged by it and get no more
# runs. Blocks on a GPU are run only when one is lent. A row names its images by fingerprints; other images do
# not count.

# %%
HEAD = "block | scale | classes | images | width | epochs | on | runs listed | on record | state"


def about(block):
    """A block as a line of this table."""
    config, rows = block.config_of(next(iter(block.variants), "")), done[block.id]
    images = f"{scorecard.size(rows[0])[1]:,}" if rows else "-"
    runs = "GPU" if block.gpu else "CPU", sum(block.variants.values()) or "a search", len(rows)
    return block.scale, config.net.classes, images, config.net.width, config.train.epochs, *runs


rows = table(HEAD, [(f"`{block.id}`", *about(block), "closed" * block.closed) for block in blocks])

# %%
origins = (row["data"].get("origin", "").partition(";")[0] for row in measures.trained(found))
copies = sorted({origin for origin in origins if "copy" in origin})
Markdown(f"{rows.data}\n\nSets that are copies in a lower quality: {', '.join(copies) or 'none'}.")

# %% [markdown]
# ### 2.3 Protocol
#
# **Measures.** Test errors are those of probabilities averaged over ten views. Training errors are
# measured in eval mode, centre view; Figure 1 has the running error of each epoch. **Rates.** Where the
# protocol asks for it, three learning rates are compared on held-out images with seed 0. Another rate
# replaces the scale's own if its error is lower by more than two points. The baseline's own rate is its
# best, so this rule may enlarge small effects. **Uncertainty.** The squared standard error of an effect has
# two parts: the seeds, with a variance pooled over the arms of a group, and the choice of test images.
# Intervals are 95 %. Ratios of times are judged on logarithms. *Detectable* is the effect that a two-sided
# test at 5 % finds in four of five cases. Holm's method corrects the primary claims. No effect compares a run
# on a CPU with one on a GPU. The first rules are older than the runs on 100 classes; later changes are dated
# (docs/protocol-changes.md). The first runs of Figure 1 and the closed blocks are older than the rules.
#
# **Verdicts.** *Agrees*: the interval lies above zero and holds the paper's size, if there is one. The size
# counts with its rounding: "six times" is 5.5 to 6.5, "doubles" 1.5 to 2.5. *Same direction, smaller* or
# *larger*: above zero, and below or above that size. *Opposite*: below zero. *Paper's size excluded*: it
# holds zero and lies below the size. *Cannot tell*: it holds zero and the size (or zero, where no size is
# named), or an arm has fewer than two runs. *Slip of the paper*: its own numbers contradict a count. *Regime
# not reached*: the claim is about regularisation or optimisation, and the baseline overfits too little for
# it, or this was not measured; or, for the colours of the towers, no run has a tenth of the paper's updates.
#
# ### 2.4 Compute and energy

# %%
place = config.reports_root() / "results"
rows = [row for file in sorted(place.glob("*.jsonl")) for row in map(json.loads, file.open())]
spent = [row for row in rows if "seconds" in row]
own = ["scale", "variant", "seed", "started", "device"]
lr = [row["config"]["train"]["lr"] for row in spent]
spent = pd.DataFrame(spent, columns=[*own, "study", "seconds", "superseded"]).assign(lr=lr)
spent = spent.sort_values("seconds").drop_duplicates(
    [*own, "lr"], keep="last"
)  # a run resumes from its check
spent["start"] = spent.started.map(lambda text: pd.Timestamp(text).timestamp())
spent["what"] = np.where(spent.study == "rates", "rate checks", "runs")
spent["what"] += np.where(spent.superseded.isna(), "", ", superseded")


# %%
def hours(some):
    """The hours of rows; those that shared a GPU count once, as long as it was busy."""
    some = some.assign(end=some.start + some.seconds).sort_values("start")
    shared = not some.device.iloc[0].endswith("threads")
    free = some.start.clip(lower=some.end.cummax().shift(fill_value=0)) if shared else some.start
    return (some.end - free).clip(lower=0).sum() / 3600


sums = [(*key, len(some), hours(some)) for key, some in spent.groupby(["what", "device"])]
sums = pd.DataFrame(sums, columns=["what", "device", "number", "hours"])
sums = pd.concat([sums, *(pd.read_csv(file)[[*sums]] for file in place.glob("abandoned.csv"))])
sums["what"] = sums.what.str.split(":").str[0]  # the file says why
sums = sums.groupby(["what", "device"], as_index=False, sort=False).sum()
sums["kWh"] = sums.hours * np.where(sums.device.str.endswith("threads"), core_watts, gpu_watts) / 1000

# %%
days = [
    paper.CONSTANTS[name].value * paper.CONSTANTS["gpus"].value * 24 for name in ("days_least", "days_most")
]
rows = table(" | ".join(sums), sums.round({"hours": 1, "kWh": 2}).values)
Markdown(f"""In all **{sums.hours.sum():.1f} hours** and about **{sums.kWh.sum():.1f} kWh**, if a busy
core takes {core_watts:g} W and a GPU {gpu_watts:g} W (assumptions). A run on a CPU has one thread; runs and
checks that shared a GPU count once. Abandoned runs left no row; reports/results/abandoned.csv has the known
ones with the reasons, some estimated.
Testing and measurements on trained nets are not counted. The paper's net took {days[0]:,} to {days[1]:,} GPU
hours.\n\n{rows.data}""")

# %% [markdown]
# ## 3 Results
#
# Each line has the paper's number, the authors' log of 2012, the result here with its interval, the
# detectable effect, the runs (of the variant and of the baseline), the block of the variant (2.2 has its
# width, epochs and images) and the verdict. Claims that are not here were not tested (section 5).
#
# ### 3.1 Speed of ReLUs
#
# The nets are example configs of the 2012 code, without regularisation: `relu-speed` is about the four-layer
# one, `relu-architectures` about the one with the lowest interval ("several" read as over 2). Each
# activation's rate was chosen with seed 0; the other seeds used the best rate. Intervals cover the scatter
# over seeds, not the choice of rates.

# %%
results("relu-speed", "relu-architectures")

# %% [markdown]
# *Figure 1: the paper's Figure 1, measured again: runs at the best rate of each net and activation
# (black: ReLU, blue: tanh; dashed: the target).*

# %%
figure, axes = figures.new_figure(9, 1.9, 1, max(1, len(nets)), sharex=True, sharey=True, squeeze=False)
for axis, stack in zip(axes[0], nets, strict=False):
    for row in chain(*nets[stack]):
        curve = [0.9, *(epoch["train_top1"] for epoch in row["history"])]
        axis.plot(100 * np.array(curve), color=figures.COLOURS[row["config"]["net"]["activation"]])

# %%
for axis, (stack, (tanh, relu)) in zip(axes[0], nets.items(), strict=False):
    axis.axhline(100 * target, color=figures.GREY, lw=0.8, ls="--")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set(title=f"{stack} net: ReLU {len(relu)}, tanh {len(tanh)} runs", xlabel="epochs", xlim=0, ylim=0)
axes[0, 0].set_ylabel("training error, %")
figure if nets else Markdown(NONE)

# %% [markdown]
# The paper says only that the net in its figure has four layers. This ratio was known when the four-layer net
# for `relu-speed` and the rounding of its "six" were written down. An epoch's running error is that of the
# net half an epoch earlier, which matters more for few epochs. So there are two ratios:


# %%
def spacing(rows):
    """By how much the rates next to the best one of a net and activation differ from it."""
    tried = [(row["config"]["net"], row["config"]["train"]["lr"]) for row in [*rows, *raced]]
    (own, best), kind = tried[0], ("stack", "activation")
    rates = {lr for net, lr in tried if lr != best and all(net[key] == own[key] for key in kind)}
    return [max(best / lr, lr / best) for lr in rates]


steps = [step for both in nets.values() for rows in both for step in sorted(spacing(rows))[:2]]
steps = f"{min(steps):.1f} to {max(steps):.1f}" if steps else "unknown"


# %%
def as_relu_speed(ratio):
    """A ratio with its interval, and the verdict that it would give on `relu-speed`."""
    told, size = ratio.shown(), verdicts.size(paper.CLAIMS["relu-speed"])
    ours = f"{told['value']:.2f} ({told['low']:.2f} to {told['high']:.2f})"
    return f"{ours}: *{verdicts.verdict(ratio, size)}*"


def earlier(both):
    """The ratio of a net, with every run half an epoch sooner."""
    epochs = [[race.reached(r["history"], target, race.chance(r)) - 0.5 for r in runs] for runs in both]
    return verdicts.ratio(*epochs)


# %%
ratios = {stack: (speeds[stack]["estimate"], earlier(both)) for stack, both in nets.items()}
rows = [(f"`{stack}`", *map(as_relu_speed, two)) for stack, two in ratios.items()]
rows = table("net | tanh / ReLU, `relu-speed` would be | each run half an epoch sooner", rows)
Markdown(f"{rows.data}\n\nThe rates next to the best ones differ by factors of {steps}.")

# %% [markdown]
# ### 3.2 Parts of the net
#
# Each line is about one part that is left out or changed; of several layers, the one least favourable to the
# paper counts. Response normalisation is discussed in 4.2. What else could explain an effect?
# *Size:* a variant may have more or fewer parameters (next table). Without conv5, fc6 reads the more numerous
# maps of conv4; towers without cross-talk are not widened here; those of run 150 were (4.1); one tower has
# about half of the multiply-adds, which may cost more at half the width (not tested). *Learning:* a variant
# whose training error is higher learns less; one whose error is lower learns faster in these epochs, or is
# less regularised. For a layer that is left out, 24 epochs say little about 90 epochs on 1,000 classes, and
# the maps of conv3 to conv5 are small here (7 x 7). *Views:* without crops and flips, the training error is
# that of the very views that were trained on; the baseline's is that of one view among many.

# %%
rest = "crops-overfit", "colour-pca", "remove-middle", "remove-conv", "weight-decay"
results("two-gpus", "two-gpus-top5", "lrn", "lrn-top5", "overlap", "overlap-top5", "overlap-overfit", *rest)

# %% [markdown]
# All arms on 100 classes: parameters in millions (M), means over the runs in % and points, and the standard
# deviation (sd) of the top-1 error. The training error is in eval mode; the gap is test minus training error,
# both in centre view.


# %%
def millions(row):
    """The parameters of a run's net, in millions."""
    return sum(layer["parameters"] for layer in shapes_and_cost(config.config_from(row["config"]))) / 1e6


# %%
arms = records.rows([row for block in small for row in done[block.id]])
arms["M"] = [millions(row) for row in arms.row]
arms["variant"] += [", fp32" * (row["config"]["train"]["precision"] == "fp32") for row in arms.row]

# %%
columns = {"runs": ("top1", "count"), "top-1": ("top1", "mean"), "sd": ("top1", "std")}
columns |= {"training": ("training", "mean"), "gap": ("overfitting", "mean")}
arms = {on: arms[arms.row.map(variants.on_gpu) == (on == "GPU")] for on in ("CPU", "GPU")}
arms = [
    a.groupby(["variant", "M", "lr"], sort=False).agg(**columns).add_prefix(on + " ")
    for on, a in arms.items()
]
form = {"lr": "{:g}", "CPU runs": "{:.0f}", "GPU runs": "{:.0f}"}
arms = pd.concat(arms, axis=1).reset_index()
Markdown(as_text(arms.style.hide().format(form, precision=2, na_rep="-")))

# %% [markdown]
# Training errors beside those of the arm that a variant is compared with (`shorter` for `half-images`):

# %%
groups = [group for group in rules.Rows(found).groups if group[0]["scale"] == "miniimagenet"]


def effects_on(measure, names=variants.VARIANTS):
    """The effects of variants on a measure, in each group on 100 classes: lines of evidence."""
    lines = [e for g in groups for name in names for e in rules.effect(rules.UNCLAIMED, g, name, measure)]
    return [line for line in lines if min(line["n"]) > 1]


# %%
def arms_with(lines, sign, end):
    """The arms of lines whose interval lies below (sign -1) or above zero."""
    return ", ".join(dict.fromkeys(f"`{e['variant']}`" for e in lines if sign * e[end] > 0)) or "none"


# %%
learned = effects_on(measures.TRAINING)
below, above = arms_with(learned, -1, "high"), arms_with(learned, 1, "low")
Markdown(f"Lower (the whole interval, on CPUs or on a GPU): {below}; higher: {above}. All others: open.")

# %% [markdown]
# Some variants kept the usual rate though their check found a lower error at another one, by at most the
# rule's two points. This, too, may enlarge their effects. The variants, and by how much in points:

# %%
checks = [row for row in found if row["study"] == "rates"]
pairs = {name: block for block in small if block.check for name in block.variants}
usual = config_at("source2012", "miniimagenet").train.lr
errors = {name: variants.checked_rates(block, name, checks) for name, block in pairs.items()}

# %%
gains = {name: rates[usual] - min(rates.values()) for name, rates in errors.items() if usual in rates}
near = [f"`{name}` {100 * gain:.1f}" for name, gain in gains.items() if 0 < gain <= variants.MARGIN]
Markdown(", ".join(near) or "None.")

# %% [markdown]
# Some effects were measured twice, on CPUs and on a GPU, with baselines of their own. Runs of one seed
# share everything drawn on the CPU: initial weights, held-out images, order, crops and colours; dropout masks
# and rounding differ. So this repeats the arithmetic and the code, but only some of the random numbers are
# new. All effects on one kind of device share its baselines. The last column treats all runs as independent,
# and counts the test images, the same for both, once. Effects on the top-1 error in points:

# %%
effects = [e for e in effects_on(measures.TEST) if e["study"] == "03_ablations"]
kinds = [[e for e in effects if variants.on_gpu(e["rows"][0]) == on] for on in (False, True)]
first, second = [{e["variant"]: e for e in kind} for kind in kinds]


def interval(effect):
    """An effect in points with its interval."""
    ours = [scorecard.number(effect[key], "pp") for key in ("value", "low", "high")]
    return f"{ours[0]} ({ours[1]} to {ours[2]})"


def measured(effect):
    """The same, and its runs."""
    return interval(effect), " + ".join(map(str, effect["n"]))


def split(effect):
    """The runs of the variant behind an effect, and those that it is compared with."""
    ran = [(row["variant"] == effect["variant"], row) for row in measures.ended(effect["rows"])]
    return [([row for own, row in ran if own == which], "ten") for which in (True, False)]


# %%
def in_errors(one, other, seeds):
    """The difference of two effects on the same test images, in standard errors; seeds: their part."""
    images, _ = measures.image_part([*split(one), *split(other)], "top1", weights=(1, -1, -1, 1))
    return abs(one["value"] - other["value"]) / np.sqrt(seeds + images)


def twice(one, other):
    """A line of the table: the same effect, measured twice."""
    seeds, apart = one["estimate"].seeds + other["estimate"].seeds, one["value"] - other["value"]
    errors = f"{in_errors(one, other, seeds):.1f}"
    return f"`{one['variant']}`", *measured(one), *measured(other), f"{apart:.2f}", errors


rows = [twice(first[name], second[name]) for name in first if name in second]
table("variant | on CPUs (95 %) | runs | on a GPU (95 %) | runs | difference | in standard errors", rows)


# %%
def by_device(entry):
    """The verdicts of a claim on 100 classes: on CPUs and on a GPU; None where it has none."""
    lines = [x for x in entry["lines"] if x["scale"] == "miniimagenet" and min(x["n"]) > 1]
    first = {variants.on_gpu(line["rows"][0]): short(line) for line in reversed(lines)}
    return first.get(False), first.get(True)


both = {name: by_device(entry) for name, entry in card.items()}
apart = [f"`{name}` (*{cpu}*)" for name, (cpu, gpu) in both.items() if cpu and gpu and cpu != gpu]
Markdown(f"Claims judged by runs on a GPU, with another verdict on CPUs: {', '.join(apart) or 'none'}.")

# %% [markdown]
# ### 3.3 The regime, dropout and initial biases
#
# A baseline's gap is its test error minus its training error, both in eval mode and centre view. It was not
# measured in closed blocks.

# %%
plain = [row for row in measures.ended(found) if row["variant"] == "baseline"]
bases = measures.grouped(plain, lambda row: (*measures.place(row), "training" in row))
kind = {True: "GPU", False: "CPUs"}
gaps = [(g[0]["scale"], kind[variants.on_gpu(g[0])], len(g), measures.regime(g)) for g in bases]
words = {True: "reached", False: "not reached"}
rows = [(*r, f"{x:.1f}: {words[x >= verdicts.GATE]}") for *r, x in gaps if x is not None]
table(f"scale | on | runs | gap in points (the regime needs {verdicts.GATE:g})", rows)

# %%
results("dropout-overfit", "dropout-iterations", "halving", "bias-one")

# %%
slower = [row for line in card["dropout-iterations"]["lines"][:1] for row in measures.ended(line["rows"])]
pair = [[row for row in slower if row["variant"] == name] for name in ("baseline", "no-dropout")]
ratios = {x: race.sooner_to_loss(*pair, early=False, loss=x) for x in (3, 2.75, 2.5, 2.25) if all(pair)}
said = [f"{ratio.shown()['value']:.2f} at {x:g}" for x, ratio in ratios.items()]
Markdown(f"""`dropout-iterations` depends on the loss to be reached, in nats: {", ".join(said) or "unknown"}.
`bias-one` is about a loss that is reached within the first epoch, so its times are interpolated.""")

# %% [markdown]
# At half width, fc6 and fc7 have 2,048 units. `dropout-overfit` on CPUs with 4,096, as in the paper, and with
# 2,048:

# %%
gaps = [x for x in card["dropout-overfit"]["lines"] if x["scale"] == "miniimagenet"]
gaps = {x["variant"]: x for x in gaps if not variants.on_gpu(x["rows"][0])}
if len(gaps) == 2:
    wide, half = gaps["wide-fc-no-dropout"], gaps["no-dropout"]
    arms = [arm for arm, _ in split(wide) + split(half)]
    apart = contrast(arms, (1, -1, -1, 1), measures.overfitting, "centre")
    said = " and ".join("{} from {} runs".format(*measured(effect)) for effect in (wide, half))
    said += f"; the difference is {interval(apart)}, detectable {apart['detectable']:.2f}."
Markdown(said if len(gaps) == 2 else NONE)

# %% [markdown]
# `halving` is a weak test: almost any average of dropout nets is nearer to their geometric mean than a single
# one. So the table adds the distance from that mean (total variation, 0 to 1) of the halved net, the
# arithmetic mean and one dropout net; the error of sampling; the difference in top-1 error.

# %%
halved = [(r, r["values"]["distance"]) for r in found if r.get("kind") == "halving"]
halved = [d | {"scale": r["scale"], "points": r["values"]["top1_difference"][0]} for r, d in halved]
names = ["scale", "halved", "arithmetic", "single", "sampling", "points"]
means = pd.DataFrame(halved, columns=names).groupby("scale").mean().reset_index()
names[-1] = "halved minus geometric, points"
table(" | ".join(names), [(row[0], *(f"{value:.3f}" for value in row[1:])) for row in means.values])

# %% [markdown]
# *Figure 2: the baselines on 100 classes; dotted: the rate is lowered.*

# %%
hundred = [row for row in plain if row["scale"] == "miniimagenet"]
curves = {"baseline": [row["history"] for row in hundred]}
figure = figures.learning_curves(curves, race.chance(hundred[0])) if hundred else Markdown(NONE)
if hundred:
    figure.set_size_inches(9, 1.9)
figure

# %% [markdown]
# ### 3.4 Size, length, images
#
# The paper says larger nets, longer training and more images help (sections 1 and 7). Here each is halved:
# the width of all layers, the epochs, and the images at about the same number of updates.

# %%
results("larger-nets", "longer-training", "longer-training-top5", "more-data")

# %% [markdown]
# *Figure 3: effects in points, without top-5 errors. Arrows: off the axis. A verdict also needs the regime.*

# %%
points = scorecard.in_points(e for e in card.values() if not e["claim"].id.endswith("-top5"))
title = f"The whole interval is above zero for {sum(p['low'] > 0 for p in points)} of {len(points)} effects"
figure = figures.forest(points, title) if points else Markdown(NONE)
if points:
    figure.set_size_inches(9, 0.8 + 0.22 * len(points))
figure

# %% [markdown]
# ### 3.5 Ten views, averages of nets, learned features, facts

# %%
views = "ten-views", "ten-views-top5", "five-nets", "five-nets-top5", "error-2012", "error-2012-top5"
results(*views, "conv1-kernels", "neighbours", "neighbours-pixels", "binary-codes")

# %% [markdown]
# Kernels: the share of gratings and colour blobs, trained minus initial. Neighbours and codes: the share of
# the nearest images that have the class of the query, features minus pixels. `neighbours-pixels`: the median
# rank of the neighbours by pixels (claimed: above 1 % of the set).
#
# The paper says that one tower learns colours and the other one grey kernels, in every run. A run counts if
# the mean colours of its towers differ (permutation test of the kernels, p < 0.05); all variants are pooled:

# %%
results("colour-towers")

# %% [markdown]
# *Figure 4: mean colour of the kernels of both towers (share of their energy off the grey axis) over one run
# at full width; dotted: the rate is lowered.*

# %%
epochs = [e for row in found if row["study"] == "05_towers" for e in row["history"]]
figure, axis = figures.new_figure(9, 1.6)
for i, tower in enumerate(("tower 1", "tower 2")):
    means = [epoch["colour"]["means"][i] for epoch in epochs]
    axis.plot([e["step"] for e in epochs], means, color=figures.COLOURS[tower], label=tower)

# %%
axis.vlines(falls(epochs, "step"), 0, 1, figures.GREY, ":", lw=0.8, transform=axis.get_xaxis_transform())
axis.set(xlabel="updates", ylabel="mean colour", xlim=0, ylim=0)
axis.legend()
figure if epochs else Markdown(NONE)

# %%
agree = [entry for entry in facts if short(entry) == verdicts.AGREES]
told = [(e, scorecard.cells(e["claim"], e["lines"][0])) for e in facts if e not in agree]
rows = [
    (f"`{e['claim'].id}`", c["paper"], c["ours"], short(e), e["claim"].slip or c["quantity"]) for e, c in told
]
rows = table("fact | paper | counted | verdict | what contradicts it, or what is counted", rows).data
Markdown(f"{len(agree)} of {len(facts)} facts agree: {listed(agree)}. The others:\n\n{rows}")

# %% [markdown]
# ## 4 Results beyond the paper
#
# ### 4.1 What the logs of 2012 say that the paper does not
#
# The parameter files end in handwritten notes: when a rate was lowered, and the final errors. The pairs
# of runs behind the paper's gains are among them; each number is one run, with rates lowered by hand at
# other epochs.

# %%
pairs, pp = "two-gpus lrn overlap pre-training no-cross-talk conv2-norms norm-after-relu", scorecard.number
rows = [(paper.CLAIMS[name], paper.CLAIMS[f"{name}-top5"].log) for name in pairs.split()]

# %%
rows = [
    (f"`{c.id}`", c.statement, pp(c.paper, ""), pp(c.log, ""), pp(top5, ""), c.log_note) for c, top5 in rows
]
table("claim | what it says | paper, top-1 | log, top-1 | log, top-5 | what else differs", rows)

# %% [markdown]
# How much near-equal runs differ, and what else the logs say:

# %%
logs = paper.LOGS[(paper.LOGS.data == "2012 val") & (paper.LOGS.views == "ten")].sort_values(
    "top1", ignore_index=True
)
near, top1 = logs.run.isin(paper.CLAIMS["run-scatter"].log_note.split(", ")), 100 * logs.set_index("run").top1
half = 196 * np.sqrt(logs.top1 * (1 - logs.top1) / paper.CONSTANTS["images_val"].value)

# %%
scatter, overlap, lrn = 100 * logs.top1[near], paper.CLAIMS["overlap"].log, paper.CLAIMS["lrn"].log
needed = student.ppf(0.975, len(scatter) - 1) * np.sqrt(2) * scatter.std()
says = {a.id: a.source_did for a in paper.AMBIGUITIES}
Markdown(f"""**Scatter.** {len(scatter)} near-equal runs span {np.ptp(scatter):.2f} points (standard
deviation {scatter.std():.2f}). So two single runs must differ by {needed:.2f} points to be told apart at 5
%. The logged gain of overlapping pools, {overlap:.2f}, is {"less" if overlap < needed else "more"}.
**Cross-talk.** Towers that meet in fc8 alone cost {paper.CLAIMS["no-cross-talk"].log:.2f} points, dropping
all norms {lrn:.2f}; the paper reports only the second. **Data** behind the gains:
{says["ablation-data"]}.""")

# %% [markdown]
# *Figure 5: some runs of the logs on ILSVRC-2012, ten views.*

# %%
figure, axis = figures.new_figure(9, 2.8)
for some, colour, name in ((~near, figures.BLUE, "other runs"), (near, figures.RED, "near-equal runs")):
    axis.errorbar(100 * logs.top1[some], logs.index[some], xerr=half[some], fmt="o", color=colour, label=name)
axis.set_yticks(logs.index, logs.run + ": " + logs.differs, fontsize=8.5)
axis.set(xlabel="top-1 error, %, ILSVRC-2012 validation, ten views; bars: 95 % over images")
axis.legend()
figure

# %% [markdown]
# ### 4.2 Where the effect of response normalisation comes from

# %%
conv2 = paper.CLAIMS["conv2-norms"].log
later = ", ".join(f"{study} {value:+g}" for study, value, _ in paper.CLAIMS["lrn"].later if value is not None)
Markdown(f"""Run 148, without norms, ended at {top1["148"]:.2f} %, run 145 at {top1["145"]:.2f} %. Run 167 has
only the norm of conv1: {top1["167"]:.2f} %; its nearest partner, run 169, {top1["169"]:.2f} %. If effects
add up, the norms of conv2 are worth {conv2:+.2f} points, and that of conv1 {lrn - conv2:+.2f}. These
are single runs, to be read with the scatter above. Later studies found: {later}. The runs of this study,
and claims that have no section above (`lrn` itself is in 3.2):""")

# %%
norms = "lrn-cifar", "conv2-norms", "conv2-norms-top5", "norm-after-relu", "no-cross-talk"
results(*norms, *(name for name in card if card[name] in tested and name not in [*norms, *SHOWN]))

# %% [markdown]
# The runs without norms lack all three, the unpublished spatial one too. Their rate is the one chosen by
# their check; the baseline has another. So the block `same-rate` repeats these runs at the baseline's rate as
# a control. Norms also make activations smaller (times 0.59 or less), so without them scales change too; a
# net with this factor alone was not run. The paper says norms aid generalisation; if so, the gap between test
# and training error should be larger without them.

# %%
names = {measures.TRAINING: "training error", measures.OVERFITTING: "gap"}
pairs = [(kind, e) for kind in names for e in effects_on(kind, ["no-lrn"]) if e["study"] == "03_ablations"]
on = {True: "on a GPU", False: "on CPUs"}
said = [f"{names[kind]} {measured(e)[0]} {on[variants.on_gpu(e['rows'][0])]}" for kind, e in pairs]

# %%
gaps = [e["low"] for kind, e in pairs if kind == measures.OVERFITTING]
seen = "seen in some of the runs" if any(low > 0 for low in gaps) else "not seen"
text = f"Without norms minus with them, in points: {'; '.join(said)}. A larger gap is {seen}."
Markdown(text if said else NONE)


# %% [markdown]
# The control's test error (ten views) minus those of the other two arms; no verdict.


# %%
def contrast_row(name, arms, weights=(1, -1)):
    """The same as a line of a table."""
    found, n = contrast(arms, weights), " + ".join(str(len(arm)) for arm in arms)
    return name, *(f"{found[key]:.2f}" for key in ("value", "low", "high", "detectable")), n


HEAD = "contrast, points | value | low (95 %) | high | detectable | runs"

# %%
control, others = measures.ended(done["same-rate"]), {"with norms, same rate": done["baseline"]}
without = [row for row in done["parts"] if row["variant"] == "no-lrn"]
others |= {"without norms, rate of the check": without}
rows = [
    contrast_row(f"control minus {name}", [control, measures.ended(a)])
    for name, a in others.items()
    if control and measures.ended(a)
]
table(HEAD, rows)

# %% [markdown]
# ### 4.3 The ratio of Figure 1 against its target
#
# The ratios tanh / ReLU of the same runs, at the rates that are best for the paper's target, with 95 %
# intervals. The ratio depends on the target and on the net.

# %%
errors = (0.5, 0.45, 0.4, 0.35, 0.3, target)


# %%
def by_target(both):
    """The ratio of a net at each training error, and the runs behind it."""
    found = [(ratio.bound, ratio.shown()) for ratio in (race.sooner(*both, error) for error in errors)]
    many = min(map(len, both)) > 1
    said = [f"{b} {r['value']:.2f}" + f" ({r['low']:.2f} to {r['high']:.2f})" * many for b, r in found]
    return *said, " + ".join(str(len(rows)) for rows in both)


# %%
head = " | ".join(["net, epochs to an error of", *(f"{error:.0%}" for error in errors), "runs"])
table(head, [(f"`{stack}`", *by_target(both)) for stack, both in nets.items()])

# %% [markdown]
# ### 4.4 Config against schedule
#
# `paper` and `source2012` differ in the net and in the schedule of the rate; four arms separate these. Test
# errors, ten views; no claim of the paper is about them, so there are no verdicts. The configs differ in many
# ways (table in 2.1), which these arms do not separate. All arms have one rate, which was not checked: an arm
# with a higher training error may just learn more slowly. With the plateau rule a run ends when its rate
# would fall a fourth time.

# %%
CONTRASTS = """paper minus source2012, mean of both schedules: .5 .5 -.5 -.5
plateau minus four steps, mean of both configs: .5 -.5 .5 -.5
interaction (the second line in paper minus that in source2012): 1 -1 -1 1"""


# %%
arms = readings
pairs = [line.split(": ") for line in CONTRASTS.splitlines() if all(arms)]
table(HEAD, [contrast_row(name, arms, [float(x) for x in weights.split()]) for name, weights in pairs])

# %%
frame, names = records.rows([row for arm in arms for row in arm]), ["epochs", "top1", "training"]
means = [(arm, len(some), *some[names].mean()) for arm, some in frame.groupby("variant", sort=False)]
rows = [(f"`{arm}`", n, *(f"{x:.1f}" for x in values)) for arm, n, *values in means]
table("arm | runs | epochs | test error, % | training error, %", rows)

# %% [markdown]
# ### 4.5 bf16 against fp32
#
# All other runs have matrix products in bf16. As a control, some were repeated in fp32 with the same seeds.

# %%
arms = [measures.ended(done[name]) for name in ("fp32", "length")]
table(HEAD, [contrast_row("test error in fp32 minus that in bf16", arms)] if all(arms) else [])

# %% [markdown]
# ## 5 Discussion
#
# **Limits.** A verdict holds at its scale: fewer classes, fewer and smaller images (on 100 classes copies
# of 72 pixels, enlarged twofold) and fewer epochs than in the paper, often at half of the width. All
# variants of a scale share their baseline and their test images, so verdicts are not independent. Only the
# primary claims are corrected for multiple tests. The runs of closed blocks lack training errors in eval
# mode, and the intervals of their errors are upper bounds. Energy is based on assumed power.

# %%
of = measures.overfitting, measures.test_error
deviations = [verdicts.difference([[0]], arms_at("miniimagenet", one)).seeds ** 0.5 for one in of]
known = [row["training"] for name in ("baseline", "parts") for row in done[name] if "training" in row]
part = 100 * np.mean([x["top1"] * (1 - x["top1"]) / x["n"] for x in known] or 0) ** 0.5
n = max((x["n"] for x in known), default=0)
Markdown(f"""The gap between test and training error scatters over seeds by {deviations[0]:.1f} points on 100
classes (pooled standard deviation), the test error by {deviations[1]:.1f}. Each training error is from {n:,}
images, whose choice alone contributes {part:.1f} points. So claims about overfitting are less certain.""")

# %%
pools = [arms_at("miniimagenet", gpu=False), arms_at("miniimagenet", gpu=True)]
pools = [verdicts.difference([[0]], pool) for pool in (*pools, [*chain(*pools)])]


def jointly(line):
    """A verdict on test errors with the scatter of both kinds of device."""
    joint = {"seeds": pools[2].seeds * sum(1 / n for n in line["n"]), "df": pools[2].df}
    size = verdicts.size(paper.CLAIMS[line["claim"]])
    return verdicts.verdict(dataclasses.replace(line["estimate"], **joint), size).partition(";")[0]


# %%
judged = [e["lines"][0] for e in tested if e["claim"].options.get("measure") == measures.TEST]
judged = [x for x in judged if x["scale"] == "miniimagenet" and min(x["n"]) > 1]
others = {f"`{x['claim']}` (*{y}*)": 0 for x in judged if (y := jointly(x)) != short(x)}
scatter = [f"{pool.seeds**0.5:.2f}" for pool in pools]
said = ", ".join(others) or "none"
Markdown(f"""The test error scatters by {scatter[0]} points on CPUs and by {scatter[1]} on a GPU. With the
scatter of both together, {scatter[2]}, the verdicts on top-1 errors would differ for: {said}.""")

# %% [markdown]
# With this scatter, the effects that were measured twice (3.2) differ as follows:

# %%
both = {name: (first[name], second[name]) for name in first if name in second}
part = {name: pools[2].seeds * sum(1 / n for e in pair for n in e["n"]) for name, pair in both.items()}
wide = {name: in_errors(*pair, part[name]) for name, pair in both.items()}
name = max(wide, key=wide.get, default="")
chance = 1 - (1 - 2 * student.sf(wide.get(name, 0), pools[2].df)) ** len(wide)
text = f"""`{name}` most, by {wide.get(name, 0):.1f} standard errors. By chance, one of {len(wide)}
independent effects would differ as much in {chance:.0%} of studies."""
Markdown(text if wide else NONE)

# %% [markdown]
# The verdicts that would change if the paper's sizes were taken as exact, not as rounded:


# %%
def exactly(entry):
    """The verdict if the paper's size were not rounded."""
    claim, estimate = entry["claim"], entry["lines"][0]["estimate"]
    size = math.log(claim.paper) if claim.unit == "x" else claim.paper
    return verdicts.verdict(estimate, (size, size)).partition(";")[0]


# %%
sized = [e for e in tested if e["lines"][0]["estimate"] and e["claim"].paper and not e["claim"].over]
sized = [e for e in sized if short(e) in (verdicts.AGREES, verdicts.SMALLER, verdicts.LARGER)]
others = ", ".join(f"`{e['claim'].id}` (*{x}*)" for e in sized if (x := exactly(e)) != short(e))
Markdown(others or "None.")

# %% [markdown]
# **What would change each verdict.** In brackets: the runs in each arm that would find the paper's effect (or
# else the log's) in four of five cases, if a size is known and some number of runs is enough.

# %%
nearer = "runs nearer to the paper's scale: more classes, more images, full width"
change = {verdicts.CANNOT_TELL: "more runs, two or more in each arm, on more test images"}
change[verdicts.REGIME] = "longer runs or more classes, with the training error in eval mode"
needs = {row["claim"]: f" ({row['needed']})" for row in scorecard.difficulty(card.values()) if row["needed"]}
rows = [(short(entry), f"`{n}`{needs.get(n, '')}") for n, entry in card.items() if entry in tested]
rows = sorted(measures.grouped(rows, lambda row: change.get(row[0], nearer)), key=len)
rows = [(change.get(group[0][0], nearer), ", ".join(name for _, name in group)) for group in rows]
table("what would change the verdict | claims", rows)


# %%
def margin(entry):
    """From the ends of an interval to zero and to the paper's size, in widths of the interval."""
    low, high = entry["lines"][0]["estimate"].interval()
    marks = [0, *(verdicts.size(entry["claim"]) or ())]
    return min(abs(end - mark) for end in (low, high) for mark in marks) / (high - low)


# %%
gated = [entry for entry in tested if not entry["verdict"].startswith(verdicts.REGIME)]
judged = [e for e in gated if (x := e["lines"][0]["estimate"]) and min(x.n) > 1]
close = listed(e for e in judged if margin(e) < 0.1) or "none"
Markdown(f"""**Close calls.** One more run could change the verdicts on {close}: an interval ends within a
tenth of its width from zero or from the paper's size.""")

# %% [markdown]
# Claims that were not tested:

# %%
lacking = measures.grouped((e for e in empirical if not e["lines"]), lambda entry: entry["reason"])
table("what a test of the other claims needs | claims", [(g[0]["reason"], listed(g)) for g in lacking])

# %% [markdown]
# ## 6 How to reproduce each number
#
# Each command starts or resumes the runs behind some verdicts; `make paper` writes this report. Figure 1: run
# its command again with the rates 0.003,0.0052,0.01; then, with the first rates, with `-p stack local` and
# with `-p stack 80-seconds`. Learned features: notebook 05 measures them on each baseline; RUN is its folder.

# %%
elsewhere = """figure-1 report 02 --scale cifar10 -p seeds 3 -p learning_rates 0.001,0.003,0.01
augmentation-2026 report 01 --scale imagenette -p seeds 3 -p epochs 48 -p share 0.25 -p batch 64 -p lr 0.005 \
-p validation 0.2 -p width 0.5
cifar-lrn study 03_ablations --scale cifar10 --seeds 3 --epochs 24 --set validation 0.1 \
--variants baseline,no-lrn
imagenette128-full-width study 03_ablations --scale imagenette128 --seeds 3 --set validation 0.1 --variants \
baseline,no-lrn,lrn-conv1-only,no-colour-noise,no-crops-flips,one-tower,non-overlapping
readings-source2012 report 05 --scale imagenette -p spec source2012 -p epochs 12"""

# %%
commands = dict(x.split(" ", 1) for x in elsewhere.splitlines())
sources = [(entry, " ".join(blocks_of(entry["lines"][0]))) for entry in tested]
groups = measures.grouped(sources, lambda pair: pair[1])
on_gpu = {block.id for block in blocks if block.gpu}


def making(ids):
    """The commands that make the runs of some blocks; those on a GPU have one of their own."""
    kinds = [(ids - on_gpu, ""), (ids & on_gpu, " --device cuda")]
    said = ["protocol " + " ".join(b.id for b in blocks if b.id in kind) + end for kind, end in kinds if kind]
    return "`, `".join(f"python -m alexlib {command}" for command in said)


# %%
said = [(listed(e for e, _ in group), group[0][1]) for group in groups]
named = {ids: f"python -m alexlib {command}" for ids, command in commands.items()}
rows = [(claims, f"`{named.get(ids) or making(set(ids.split()))}`") for claims, ids in said]
looks = [entry for entry in tested if entry["claim"].rule == "features"]
at = ", ".join(dict.fromkeys(entry["lines"][0]["scale"] for entry in looks))
rows += [(listed(looks), f"then `python -m alexlib report 05 --scale {at} -p folder RUN`")] * bool(looks)
rows += [("Figure 4", "`python -m alexlib protocol towers`")]
rows += [("all claims and facts, all lines of evidence", "`python -m alexlib report 06`")]
table("results | command", rows)

# %% [markdown]
# **References.** A. Krizhevsky, I. Sutskever, G. E. Hinton: ImageNet Classification with Deep Convolutional
# Neural Networks, NIPS 2012. A. Krizhevsky: AlexNet Source Code (2012), Computer History Museum, 2025,
# github.com/computerhistory/AlexNet-Source-Code. Later studies: Mishkin 2017 is arXiv 1606.02228, VGG 2014 is
# arXiv 1409.1556, Zeiler 2014 is arXiv 1311.2901, Hinton 2012 is arXiv 1207.0580. Rules: docs/protocol.md,
# their changes: docs/protocol-changes.md; where `paper` leaves the text: docs/fidelity.md.

# %%
Markdown(f"Made from {len(found)} rows on record, fingerprint `{scorecard.fingerprint(found)}`.")
