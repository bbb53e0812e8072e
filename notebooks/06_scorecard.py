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
# **What we will see.** Every claim that can be checked, one line each: the paper's number, the authors'
# own log of 2012, later studies, what the runs on record say, and a verdict. Facts that are counted from
# the net stand apart from claims that need runs. Then what was not tested and why, what would change each
# verdict, what all of it cost, and how the runs differ from those of the paper.
#
# **How.** From the rows that the protocol lists (`reports/results`). Nothing is trained and no image is
# read; a verdict follows from its rows by [the protocol](../docs/protocol.md), which was written before them.
#
# **Run time.** Seconds.

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
sample: bool = False  # True reads the rows of generated images too, which are not evidence for any claim

# %%
from collections import Counter

import numpy as np
import pandas as pd
from IPython.display import Markdown
from scipy.stats import t as student

from alexold import contrasts, costs, effects, scorecard, site, verdicts
from alexold.claims import AMBIGUITIES, CLAIMS
from alexold.verdicts import NOT_TESTED, Estimate

# %% [markdown]
# ## The rule, by hand
#
# The effect of leaving something out is the difference of two means: three runs without it, six with it.
# Its squared standard error has two parts. The runs scatter over seeds, with a variance $s^2$ that is
# pooled over all variants of the scale; and the test images are a sample too, which adds $v$:
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
    f"1.30 points, from {1.3 - half:.2f} to {1.3 + half:.2f}. So many runs would find an effect of"
    f" **{one.detectable:.2f}** points in four of five cases."
)

# %% [markdown]
# What the rule says of intervals, for a claim of 1.4 points and for one that names no size:


# %%
def like(low, high):
    """An estimate that has this interval."""
    half = (high - low) / 2 / student.ppf(0.975, 20)
    return Estimate((low + high) / 2, half**2, 0.0, 20, n=(3, 6))


# %%
intervals = [(0.7, 2.0), (0.2, 0.9), (1.6, 2.4), (-0.9, -0.2), (-0.3, 0.9), (-0.4, 0.4), (-0.5, 1.9)]
said = [(*ends, *(verdicts.verdict(like(*ends), paper) for paper in (1.4, None))) for ends in intervals]
pd.DataFrame(said, columns=["from", "to", "1.4 points", "no size"]).style.hide().format(precision=1)

# %% [markdown]
# A claim about regularisation or optimisation is judged only where the baseline overfits by 5 points or
# more; else the verdict is *regime not reached*. The p-values of the seven primary claims are corrected by
# Holm's method.

# %% [markdown]
# ## What is on record

# %%
found = scorecard.record(sample)
runs, table = effects.trained(found), scorecard.card(found)
tested = [entry for entry in table if entry["lines"]]
Markdown(
    f"**{len(runs)} runs** on record, rows `{scorecard.fingerprint(found)}`. They, and the net itself, speak"
    f" of **{len(tested)} of {len(table)} claims**."
    + ("" if found else " There are no rows yet: run the other notebooks, or fetch `reports/results`.")
)

# %%
empirical = [entry for entry in table if entry["claim"].kind != "fact"]
facts = [entry for entry in table if entry["claim"].kind == "fact"]

# %%
counts = {
    kind: Counter(entry["verdict"].partition(";")[0] for entry in part)
    for kind, part in (("empirical claims", empirical), ("facts", facts))
}
pd.DataFrame(counts).fillna(0).astype(int).sort_values("empirical claims", ascending=False)

# %% [markdown]
# ## Empirical claims
#
# One line a claim. Units: pp, percentage points (above zero: the paper is right about the sign); x, a
# ratio; *runs* are those of the variant and of its baseline. *Detectable* is the effect that so many runs
# and test images find in four of five cases. A claim with rows at several scales is judged by those that
# have an interval, then at the scale nearest to the paper's; the other rows are in a table below.


# %%
def shown(lines):
    table = pd.DataFrame(lines).style.hide().format(precision=2, na_rep="-")
    left = {"selector": "th, td", "props": "text-align: left; vertical-align: top; min-width: 4em"}
    return table.set_table_styles([left])


def firsts(entries):
    """Each entry with its first line of evidence, None where it has none."""
    return [(entry, *(entry["lines"][:1] or [None])) for entry in entries]


# %%
places = site.places()


def linked(line):
    place = places.get((line["scale"], line["study"])) if line else None
    return f'<a href="{place}.html">{line["study"][:2]}</a>' if place else "-"


# %%
shown(scorecard.cells(e["claim"], line) | {"report": linked(line)} for e, line in firsts(empirical))

# %% [markdown]
# ### Primary claims
#
# Named in advance, their p-values against no effect corrected by Holm's method over those that were tested.
# Those that were not tested, or not in their regime, are left out.

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
# Counted from the net itself, with no run. A *slip of the paper* is a count that other numbers of the paper
# contradict. A count agrees to within one unit of the last digit that is not a zero.

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
# ### All rows that speak of a claim
#
# The first line of each claim is the one above.

# %%
columns = ("verdict", "ours", "95 % interval", "detectable", "runs", "where", "device")
evidence = [(entry["claim"], line) for entry in empirical for line in entry["lines"]]
shown(
    {"claim": claim.id, "compared": line["name"]}
    | {key: scorecard.cells(claim, line)[key] for key in columns}
    | {"rates": line["rates"] or "-", "report": linked(line)}
    for claim, line in evidence
)

# %% [markdown]
# ### Effects in points
#
# Those of the register that are differences of errors, each at the scale of its line.

# %%
points = scorecard.in_points(table)
above = sum(row["low"] > 0 for row in points)
title = f"{above} of {len(points)} effects are above zero with all of their interval"
contrasts.forest(points, title) if points else Markdown("*No effect is on record yet.*")

# %% [markdown]
# ### Learning rates
#
# Where the protocol asks for it, three rates were compared after a few epochs of seed 0. Another one replaces
# the scale's own if its held-out error is lower by more than two points.

# %%
checks = [row for row in found if row["study"] == "rates"]
shown(
    {"scale": row["scale"], "variant": row["variant"], "rate": row["config"]["train"]["lr"]}
    | {"held-out error, %": 100 * row["history"][-1]["val_top1"] if row["history"] else None}
    for row in sorted(checks, key=lambda row: (row["scale"], row["variant"], row["config"]["train"]["lr"]))
)

# %% [markdown]
# ## What was not tested, and why
#
# A claim without a row has no verdict. What a test of it needs:

# %%
untested = [entry for entry in table if not entry["lines"]]
shown(
    {"claim": entry["claim"].statement, "section": entry["claim"].section}
    | {"quantity": entry["claim"].quantity, "needs": entry["reason"]}
    for entry in untested
)

# %% [markdown]
# ## What it cost
#
# Hours of training and training images (repetitions included) of all runs on record, those that diverged
# included. A run that was stopped and never taken up again leaves no row, and is not here.

# %%
shown(costs.ledger(runs)).format({"hours": "{:.1f}", "images": "{:,}"}) if runs else Markdown("None.")

# %% [markdown]
# ## How the runs differ from the paper's
#
# Settings in which all runs of a notebook differ from the config they name, and their images. What a
# notebook varies on purpose is not a deviation, and is not listed.

# %%
shown(costs.deviations(runs))

# %% [markdown]
# Beyond these, the two configs themselves: where the text leaves a question open, both answers are settings
# of this study ([the ledger](../docs/fidelity.md)).

# %%
both = sum(a.reading_paper != a.reading_source for a in AMBIGUITIES)
Markdown(
    f"**{len(AMBIGUITIES)} questions** are on the ledger. In **{both}** of them the two configs differ; in"
    f" the other {len(AMBIGUITIES) - both} both have the same answer."
)

# %% [markdown]
# ## What would change a verdict
#
# *Regime not reached* needs longer runs, or more classes. *Cannot tell* needs more runs, or more test
# images: the runs in each arm after which the paper's size (or else that of the 2012 log) would be found in
# four of five cases, if runs scatter as they have so far. A dash: no size is known, or no number of runs is
# enough with these test images.

# %%
effort = costs.difficulty(table)
names = {"claim": "claim", "size": "effect claimed", "detectable": "detectable now", "runs": "runs so far"}
names |= {"hours": "hours so far", "needed": "runs needed"}
shown({name: row[key] for key, name in names.items()} for row in effort)

# %% [markdown]
# Ratios stand here as logarithms. A claim that is *excluded* here may hold at the paper's scale: 1,000
# classes, 1.2 million images, 90 epochs, full width.

# %% [markdown]
# ## Checks that hold with any rows

# %%
assert [entry["claim"] for entry in table] == list(CLAIMS)
assert all((entry["verdict"] == NOT_TESTED) == (not entry["lines"]) for entry in table)
assert all(bool(entry["reason"]) != bool(entry["lines"]) for entry in table)
assert all(line["low"] <= line["value"] <= line["high"] for entry in table for line in entry["lines"])
assert sum(row["runs"] for row in costs.ledger(runs) if row["notebook"] == "all") == len(runs)

# %% [markdown]
# ## Limits
#
# A verdict holds at its scale: the runs here have ten or a hundred classes, few epochs and few seeds, and the
# paper's numbers are those of a thousand classes and ninety epochs. Only the primary claims are corrected for
# their number: among the other intervals of 95 % some miss. All variants of a scale share their baseline and
# their test images, so their verdicts are not independent. The story starts in
# notebook 00.
