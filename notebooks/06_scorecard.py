# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 06 Scorecard
#
# **You need:** the paper, and notebooks 02 to 05 for what was measured. No images and no GPU.
#
# **You will have:** one line for each claim that can be checked: the paper's number, the authors' own log of
# 2012, later studies, the result of the runs on record, and a verdict. Facts that are counted from the net
# are listed apart from claims that need runs. Then: what was not tested and why, what would change each
# verdict, the cost of all runs, and how the runs differ from those of the paper.
#
# **Time:** 10 s, measured on two cores.
#
# **Question.** Which of the paper's claims hold, as far as the runs of this study can tell?
#
# **How.** The notebook reads the rows that the protocol lists (`reports/results`). Nothing is trained and no
# image is read. The verdicts follow from the rows by [the protocol](../docs/protocol.md). Its first
# rules were written before the runs on 100 classes, and after those of closed blocks and the first runs of
# Figure 1; later changes are dated.

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
sample: bool = False  # True: also read the rows of generated images, which are not evidence

# %%
from alexlib.notebook import parameters

parameters(globals())  # checks them

import ipywidgets as widgets
import numpy as np
import pandas as pd
from IPython.display import Markdown
from scipy.stats import t as student

from alexlib import figures
from alexlib.config import CONFIGS, config_from
from alexlib.paper import AMBIGUITIES, CLAIMS
from alexlib.study import records, scorecard, variants, verdicts
from alexlib.study.verdicts import Estimate

# %% [markdown]
# ## The rule, by hand
#
# The effect of leaving something out is the difference between two means, here of three runs without it and
# six with it. Its squared standard error has two parts. The results vary over seeds, with a variance $s^2$
# that is pooled over all variants of the scale. The test images are a sample too, which adds a variance $v$:
#
# $$\mathrm{se}^2 = s^2 \Big(\frac{1}{3} + \frac{1}{6}\Big) + v$$
#
# With $s = 0.5$ points, $v = 0.04$ and 20 degrees of freedom for $s$, by hand and by the library. The degrees
# of freedom of the sum are those of Welch and Satterthwaite:

# %% tags=["by-hand"]
seeds, images, df = 0.5**2 * (1 / 3 + 1 / 6), 0.04, 20
one = Estimate(1.3, seeds, images, df, n=(3, 6), n_images=10_000)
freedom = (seeds + images) ** 2 / (seeds**2 / df + images**2 / 9_999)
half = student.ppf(0.975, freedom) * np.sqrt(seeds + images)
np.testing.assert_allclose(one.interval(), (1.3 - half, 1.3 + half))

# %%
Markdown(
    f"1.30 points, with a 95 % interval from {1.3 - half:.2f} to {1.3 + half:.2f}. With this number of runs,"
    f" an effect of **{one.detectable:.2f}** points would be found in four of five cases."
)

# %% [markdown]
# The verdicts for some intervals, for a claim of 1.4 points and for a claim without a size:


# %%
def like(low, high):
    """An estimate with this interval."""
    half = (high - low) / 2 / student.ppf(0.975, 20)
    return Estimate((low + high) / 2, half**2, 0.0, 20, n=(3, 6))


# %%
def shown(lines):  # text on the left, numbers on the right
    table, style = pd.DataFrame(lines), "vertical-align: top; padding: 2px 8px; text-align: "
    text = [not column.astype(str).str.match(r"[-+.\d]|nan").all() for _, column in table.items()]
    sides = [{"selector": f".col{i}", "props": style + ("right", "left")[x]} for i, x in enumerate(text)]
    return table.style.hide().format(precision=2, na_rep="-").set_table_styles(sides)


# %%
ends = [(0.7, 2.0), (0.2, 0.9), (1.6, 2.4), (-0.9, -0.2), (-0.3, 0.9), (-0.4, 0.4), (-0.5, 1.9)]
said = pd.DataFrame(ends, columns=["from", "to"])
for column, size in (("1.4 points", (1.4, 1.4)), ("no size", None)):
    said[column] = [verdicts.verdict(like(*pair), size) for pair in ends]
shown(said).format(precision=1)

# %% [markdown]
# A claim about regularisation or optimisation is judged only if the baseline overfits by 5 points or more;
# otherwise the verdict is *regime not reached*. The p-values of the seven primary claims are corrected by
# Holm's method.

# %% [markdown]
# ## What is on record

# %%
found = records.everything() + (records.read(scale="sample") if sample else [])
runs, table = records.rows(found), scorecard.card(found)
tested = [entry for entry in table if entry["lines"]]
Markdown(
    f"**{len(runs)} runs** on record (rows `{scorecard.fingerprint(found)}`). They and the net itself test"
    f" **{len(tested)} of {len(table)} claims**."
    + ("" if found else " There are no rows: run the other notebooks, or fetch `reports/results`.")
)

# %%
empirical = [entry for entry in table if entry["claim"].kind != "fact"]
facts = [entry for entry in table if entry["claim"].kind == "fact"]

# %%
kinds = [("facts" if e["claim"].kind == "fact" else "empirical claims") for e in table]
verdict = [entry["verdict"].partition(";")[0] for entry in table]
shown(pd.crosstab(pd.Series(verdict, name="verdict"), pd.Series(kinds, name="")).reset_index())

# %% [markdown]
# ## Choose claims
#
# Choose one claim or several (hold Ctrl or Shift). For each: its lines of evidence with interval and verdict,
# and the runs that the first line is based on. Errors are in %: on the test images with ten views, and on
# training images in eval mode. A static copy of this notebook shows no list; the tables below have the same
# lines of evidence.

# %%
keys = ("compared", "where", "paper", "ours", "95 % interval", "runs", "verdict")
names = {"lr": "rate", "top1": "test error, %", "training": "training error, %"}


def lines_of(entry):
    cells = [scorecard.cells(entry["claim"], x) | {"compared": x["name"]} for x in entry["lines"]]
    return shown([{key: cell[key] for key in keys} for cell in cells])


def runs_of(entry):
    used = records.rows(entry["lines"][0]["rows"]).sort_values(["variant", "seed"])
    columns = ["variant", "seed", "scale", *names, "epochs", "device"]
    return shown(used[columns].rename(columns=names)).format("{:g}", subset="rate")


# %%
def page(ids):
    """The claims with these ids, their evidence and their runs, as HTML."""
    chosen = [entry for entry in empirical if entry["claim"].id in ids]
    parts = [(f"<h4>{e['claim'].statement}</h4>", lines_of(e), runs_of(e)) for e in chosen]
    return "".join(heading + lines.to_html() + used.to_html() for heading, lines, used in parts)


# %% [markdown]
# Runs without a training error were not measured on training images.

# %%
ids = [entry["claim"].id for entry in empirical if entry["lines"]]
choice = widgets.SelectMultiple(options=ids, value=ids[:1], rows=max(1, len(ids)), description="claims")
answer = widgets.HTML(page(choice.value))
choice.observe(lambda change: setattr(answer, "value", page(change.new)), "value")
widgets.HBox([choice, answer])

# %% [markdown]
# ## Empirical claims
#
# One line for each claim that was tested. Units: pp, percentage points (positive: the paper is right about
# the sign); x, a ratio. *Runs* are those of the variant and of its baseline. *Detectable* is the effect that
# would be found in four of five cases with this number of runs and test images. If a claim has rows at
# several scales, those with an interval come first, then the scale nearest to the paper's; the other rows are
# in a table below.

# %%
shown(scorecard.cells(entry["claim"], entry["lines"][0]) for entry in empirical if entry["lines"])

# %% [markdown]
# ### Primary claims
#
# These were named in the protocol. Their p-values (against no effect) are corrected by Holm's method over the
# claims that were tested. Claims that were not tested, or not in their regime, are left out.

# %%
shown(
    {"claim": entry["claim"].statement, "p": f"{entry['lines'][0]['p']:.2g}"}
    | {"p after Holm": f"{entry['holm']:.2g}", "verdict": entry["verdict"]}
    for entry in table
    if "holm" in entry
) if any("holm" in entry for entry in table) else Markdown("*None was tested yet.*")

# %% [markdown]
# ## Facts
#
# Facts are counted from the net itself, without any run. A *slip of the paper* is a count that contradicts
# other numbers in the paper. A count agrees if it differs by less than one unit of the last non-zero digit.

# %%
shown(
    {
        key: scorecard.cells(entry["claim"], entry["lines"][0])[key]
        for key in ("claim", "paper", "ours", "verdict")
    }
    | {"what contradicts it": entry["claim"].slip or "-"}
    for entry in facts
)

# %% [markdown]
# ### All evidence for each claim
#
# The first line of each claim is the line in the table above.

# %%
columns = ("verdict", "ours", "95 % interval", "detectable", "runs", "where", "device")
evidence = [(entry["claim"], line) for entry in empirical for line in entry["lines"]]
shown(
    {"claim": claim.id, "compared": line["name"]}
    | {key: scorecard.cells(claim, line)[key] for key in columns}
    | {"notebook": line["study"][:2]}
    for claim, line in evidence
)

# %% [markdown]
# ### Effects in points
#
# The claims about differences of errors on test images, each at the scale of its first line. An effect is
# positive if the paper is right about the sign. *n* is the number of runs in each arm; a hollow point means
# that an arm has a single run.

# %%
points = scorecard.in_points(table)
errors = [row for row in points if CLAIMS[row["claim"]].quantity.startswith(("top-", "test error"))]
above = sum(row["low"] > 0 for row in errors)
title = f"Errors, percentage points: {above} of {len(errors)} intervals are above zero"
figures.forest(errors, title) if errors else Markdown("*No effect is on record yet.*")

# %% [markdown]
# The other differences: gaps between test and training error, training errors, and distances of probabilities
# (total variation). An arrow marks a value beyond the axis.

# %%
gaps = [row for row in points if row not in errors]
above = sum(row["low"] > 0 for row in gaps)
title = f"Gaps and distances, percentage points: {above} of {len(gaps)} intervals are above zero"
figures.forest(gaps, title) if gaps else Markdown("*No effect is on record yet.*")

# %% [markdown]
# ### Learning rates
#
# Where the protocol asks for it, three rates were compared after a few epochs of seed 0: half the scale's
# rate, the rate itself and twice the rate. The columns give the validation error, in %. Another rate replaces
# the scale's own if its error is lower by more than two points. Of two checks at one rate, the first counts.

# %%
checks = [row for row in found if row["study"] == "rates"]
blocks = {(b.scale, name): b for b in variants.BLOCKS if b.check for name in b.variants}
pairs = dict.fromkeys((row["scale"], row["variant"]) for row in checks)
errors_of = {pair: variants.checked_rates(blocks[pair], pair[1], checks) for pair in pairs}

# %%
rates = []
for (scale, variant), errors in errors_of.items():
    block = blocks[scale, variant]
    line = {"scale": scale, "variant": variant, "scale's rate": f"{block.base.train.lr:g}"}
    percent = [100 * errors.get(rate, np.nan) for rate in block.rates()]
    columns = zip(("half of it", "the same", "twice"), percent, strict=True)
    used = variants.chosen_rate(block, variant, checks)
    rates.append(line | dict(columns) | {"rate used": f"{used:g}"})
shown(rates)

# %%
others = [f"`{line['variant']}`" for line in rates if line["rate used"] != line["scale's rate"]]
repeated = len(checks) - sum(map(len, errors_of.values()))
Markdown(
    f"**{len(checks)} checks**, {sum(map(variants.on_gpu, checks))} of them on a GPU; {repeated} repeat a"
    f" check at the same rate and do not count. Another rate is used for: {', '.join(others) or 'none'}."
)

# %% [markdown]
# ## What was not tested, and why
#
# A claim without rows has no verdict. The last column says what a test needs.

# %%
untested = [entry for entry in table if not entry["lines"]]
shown(
    {"claim": entry["claim"].statement, "section": entry["claim"].section}
    | {key: scorecard.cells(entry["claim"], None)[key] for key in ("paper", "2012 log", "later studies")}
    | {"quantity": scorecard.cells(entry["claim"], None)["quantity"], "needs": entry["reason"]}
    for entry in untested
)

# %% [markdown]
# ## Cost
#
# Hours of training of all runs on record, including those that diverged. Runs that shared a GPU each count in
# full; the report counts such a GPU's time once. A run that was stopped and never resumed has no row and is
# not counted.

# %%
cost = runs.groupby(["study", "scale", "device"]).agg(runs=("seed", "size"), hours=("seconds", "sum"))
cost.hours /= 3600
shown(cost.reset_index()).format("{:.1f}", subset=["hours"])

# %% [markdown]
# ## How the runs differ from the paper's
#
# For each notebook, scale and config: the settings in which all runs differ from the config that they name.
# Settings that a notebook varies on purpose are not listed.


# %%
def differences(group):
    """The changes that all runs share: config's value -> ours."""
    changes = [config_from(row["config"]).changes(CONFIGS[row["spec"]]) for row in group]
    same = [{k: v for k, v in changes[0].items() if all(c.get(k) == v for c in changes)}]
    text = {k: [f"{x:.3g}" if isinstance(x, float) else str(x) for x in v] for k, v in same[0].items()}
    return ", ".join(f"{key} {theirs} -> {ours}" for key, (ours, theirs) in text.items())


# %%
same = runs.groupby(["study", "scale", "spec"]).row.agg(differences).reset_index()
shown(same.rename(columns={"spec": "config", "row": "config's value -> ours"}))

# %% [markdown]
# In addition, the two configs differ from each other: where the text leaves a question open, both answers are
# settings of this study ([the list of ambiguities](../docs/fidelity.md)).

# %%
both = sum(a.reading_paper != a.reading_source for a in AMBIGUITIES)
Markdown(
    f"The list has **{len(AMBIGUITIES)} questions**. The two configs differ in **{both}** of them and have"
    f" the same answer to the other {len(AMBIGUITIES) - both}."
)

# %% [markdown]
# ## What would change a verdict
#
# *Regime not reached* needs longer runs or more classes. *Cannot tell* needs more runs or more test images.
# *Runs needed* is the number of runs in each arm with which the paper's effect (or else that of the 2012
# log) would be found in four of five cases, if the variance stays as it is. A dash means that no size is
# known, or that no number of runs is enough with these test images.

# %%
columns = ["claim", "size", "detectable", "n", "needed"]
effort = pd.DataFrame(scorecard.difficulty(table), columns=columns)
effort["n"] = [" + ".join(map(str, n)) for n in effort["n"]]
effort["unit"] = ["log of ratio" if CLAIMS[id].unit == "x" else "pp" for id in effort.claim]
titles = {
    "size": "effect claimed",
    "detectable": "detectable now",
    "n": "runs so far",
    "needed": "runs needed",
}
shown(effort.rename(columns=titles)).format("{:.0f}", subset=["runs needed"], na_rep="-")

# %% [markdown]
# Ratios are given as logarithms. A claim whose size is excluded here may still hold at the paper's scale:
# 1,000 classes, 1.2 million images, 90 epochs and full width.

# %% [markdown]
# ## Checks

# %%
assert [entry["claim"] for entry in table] == list(CLAIMS.values())
assert all((e["verdict"] == verdicts.NOT_TESTED) == (not e["lines"]) for e in table)
assert all(bool(entry["reason"]) != bool(entry["lines"]) for entry in table)
assert all(line["low"] <= line["value"] <= line["high"] for e in table for line in e["lines"])
assert cost.runs.sum() == len(runs)

# %% [markdown]
# ## Limits
#
# A verdict holds at its scale. The runs here have 10 or 100 classes, few epochs and few seeds; the paper's
# numbers are for 1,000 classes and 90 epochs. Only the primary claims are corrected for multiple tests, so
# some of the other 95 % intervals do not contain the true value. All variants of a scale share their baseline
# and their test images, so their verdicts are not independent. The first notebook is 00.

# %% [markdown]
# ## Try it
#
# Write down what you expect before you run anything. Answers: `notebooks/solutions/06_scorecard.ipynb`.
#
# 1. **A number.** What happens to the interval in "The rule, by hand" if there are ten times as many test
#    images ($v = 0.004$)? And if there are 30 + 60 runs instead? Write down which shrinks it more, then run.
# 2. **False alarms.** There is no effect at all, and 1,000 teachers each measure it with 3 + 6 runs. How many
#    of their 95 % intervals do not contain zero? And with a factor of 1.96 in place of Student's? Write down
#    both, then simulate.
# 3. **Seven claims.** Seven effects are all zero. How probable is it that at least one has p < 0.05? And
#    after Holm's correction? Write down both, then simulate with `verdicts.holm`.
# 4. **The gate.** What would the verdicts *regime not reached* be if there were no gate? Write down one for
#    each, then compute `verdicts.verdict(line["estimate"], verdicts.size(claim))` for those with an estimate:
#    `claim` is `entry["claim"]`, `line` is `entry["lines"][0]`.
# 5. **A cost.** How many runs in each arm are needed to detect the 1.7 points of the two towers, with the
#    variance of this study? How many hours is that? Write down both, then use `estimate.runs_needed` and the
#    table of costs.
# 6. **Your own experiment.** Leave out the last seed of every variant (the rows in `found`). How many
#    verdicts change? Write down a number, then make the scorecard again.
