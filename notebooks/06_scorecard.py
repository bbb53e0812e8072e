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
# **Question.** Which of the paper's claims hold, as far as the runs of this study can tell?
#
# **What you will see.** One line for each claim that can be checked: the paper's number, the authors' own
# log of 2012, later studies, the result of the runs on record, and a verdict. Facts that are counted from
# the net are listed apart from claims that need runs. Then: what was not tested and why, what would change
# each verdict, the cost of all runs, and how the runs differ from those of the paper.
#
# **How.** The notebook reads the rows that the protocol lists (`reports/results`). Nothing is trained and no
# image is read. The verdicts follow from the rows by [the protocol](../docs/protocol.md), which was written
# before the runs.
#
# **Run time.** Seconds.

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
sample: bool = False  # True: also read the rows of generated images, which are not evidence

# %%
from alexlib.notebook import parameters

parameters(globals())  # checks them

import numpy as np
import pandas as pd
from IPython.display import Markdown
from scipy.stats import t as student

from alexlib import figures
from alexlib.config import CONFIGS, config_from
from alexlib.paper import AMBIGUITIES, CLAIMS
from alexlib.study import records, scorecard, verdicts
from alexlib.study.verdicts import Estimate

# %% [markdown]
# ## The rule, by hand
#
# The effect of leaving something out is the difference of two means, here of three runs without it and six
# runs with it. Its squared standard error has two parts. The results vary over seeds, with a variance $s^2$
# that is pooled over all variants of the scale. The test images are a sample too, which adds a variance $v$:
#
# $$\mathrm{se}^2 = s^2 \Big(\frac{1}{3} + \frac{1}{6}\Big) + v$$
#
# With $s = 0.5$ points, $v = 0.04$ and 20 degrees of freedom for $s$, by hand and by the library:

# %%
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
ends = [(0.7, 2.0), (0.2, 0.9), (1.6, 2.4), (-0.9, -0.2), (-0.3, 0.9), (-0.4, 0.4), (-0.5, 1.9)]
said = pd.DataFrame(ends, columns=["from", "to"])
for column, size in (("1.4 points", (1.4, 1.4)), ("no size", None)):
    said[column] = [verdicts.verdict(like(*pair), size) for pair in ends]
said.style.hide().format(precision=1)

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
pd.crosstab(pd.Series(verdict, name="verdict"), pd.Series(kinds, name=""))

# %% [markdown]
# ## Empirical claims
#
# One line for each claim. Units: pp, percentage points (positive: the paper is right about the sign); x, a
# ratio. *Runs* are those of the variant and of its baseline. *Detectable* is the effect that this number of
# runs and test images finds in four of five cases. If a claim has rows at several scales, those with an
# interval come first, then the scale nearest to the paper's; the other rows are in a table below.


# %%
def shown(lines):
    table = pd.DataFrame(lines).style.hide().format(precision=2, na_rep="-")
    left = {"selector": "th, td", "props": "text-align: left; vertical-align: top; min-width: 4em"}
    return table.set_table_styles([left])


def firsts(entries):
    """Each entry with its first line of evidence, or None."""
    return [(entry, *(entry["lines"][:1] or [None])) for entry in entries]


# %%
shown(scorecard.cells(entry["claim"], line) for entry, line in firsts(empirical))

# %% [markdown]
# ### Primary claims
#
# These were named in advance. Their p-values (against no effect) are corrected by Holm's method over the
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
# The claims about differences of errors, each at the scale of its first line.

# %%
points = scorecard.in_points(table)
above = sum(row["low"] > 0 for row in points)
title = f"The whole interval is above zero for {above} of {len(points)} effects"
figures.forest(points, title) if points else Markdown("*No effect is on record yet.*")

# %% [markdown]
# ### Learning rates
#
# If the protocol asks for it, three rates were compared after a few epochs of seed 0. The best one replaces
# the scale's own rate if its validation error is lower by more than two points.

# %%
checks = [row for row in found if row["study"] == "rates"]
shown(
    {"scale": row["scale"], "variant": row["variant"], "rate": f"{row['config']['train']['lr']:g}"}
    | {"validation error, %": 100 * row["history"][-1]["val_top1"] if row["history"] else None}
    for row in checks
)

# %% [markdown]
# ## What was not tested, and why
#
# A claim without rows has no verdict. The last column says what a test needs.

# %%
untested = [entry for entry in table if not entry["lines"]]
shown(
    {"claim": entry["claim"].statement, "section": entry["claim"].section}
    | {"quantity": entry["claim"].quantity, "needs": entry["reason"]}
    for entry in untested
)

# %% [markdown]
# ## Cost
#
# Hours of training of all runs on record, including those that diverged. A run that was stopped and never
# resumed leaves no row and is not counted.

# %%
cost = runs.groupby(["study", "scale", "device"]).agg(runs=("seed", "size"), hours=("seconds", "sum"))
cost.hours /= 3600
cost.reset_index().style.hide().format({"hours": "{:.1f}"})

# %% [markdown]
# ## How the runs differ from the paper's
#
# The settings in which all runs of a notebook at a scale differ from the config that they name. Settings that
# a notebook varies on purpose are not listed.


# %%
def differences(group):
    """The changes that all runs share: config's value -> ours."""
    changes = [config_from(row["config"]).changes(CONFIGS[row["spec"]]) for row in group]
    same = [{k: v for k, v in changes[0].items() if all(c.get(k) == v for c in changes)}]
    return ", ".join(f"{key} {theirs} -> {ours}" for key, (ours, theirs) in same[0].items())


# %%
runs.groupby(["study", "scale", "spec"]).row.agg(differences).reset_index().style.hide()

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
names = {"size": "effect claimed", "detectable": "detectable now", "n": "runs so far"}
shown(effort.rename(columns=names | {"needed": "runs needed"}))

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
