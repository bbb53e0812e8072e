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
# own log of 2012, later studies, what the runs on record say, and a verdict. Then what was not tested
# and why, what all of it cost, how the runs differ from those of the paper, and what was easy and hard.
#
# **How.** From the rows that the other notebooks left in `reports/results`. Nothing is trained and no
# picture is read; a verdict follows from its rows by a rule that was fixed before them.
#
# **Run time.** Seconds.

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
sample: bool = False  # True reads the rows of generated pictures too; they claim nothing

# %%
from collections import Counter

import numpy as np
import pandas as pd
from IPython.display import Markdown

from alexlib import contrasts, costs, findings, scorecard, site, stats
from alexlib.claims import AMBIGUITIES, CLAIMS
from alexlib.verdicts import NOT_TESTED

# %% [markdown]
# ## The rule, on three numbers
#
# An effect is a difference between two runs of the same seed, so $n$ seeds give $n$ numbers
# $d_1 \dots d_n$. With their mean $\bar d$ and standard deviation $s$, the interval is Student's:
#
# $$\bar d \pm t_{n-1}\,\frac{s}{\sqrt{n}}$$
#
# For three numbers $t_2$ is 4.303. By hand and by the library:

# %%
d = np.array([1.1, 1.6, 1.3])
half = 4.303 * d.std(ddof=1) / np.sqrt(3)
np.testing.assert_allclose(stats.over_seeds(d), (d.mean(), d.mean() - half, d.mean() + half))
Markdown(f"{d.mean():.2f}, from {d.mean() - half:.2f} to {d.mean() + half:.2f}")

# %% [markdown]
# What the rule says of intervals, for a claim of 1.4 points and for one that names no number:

# %%
intervals = [(0.7, 2.0), (0.2, 0.9), (-0.3, 0.9), (-0.9, -0.2), (-np.inf, np.inf)]
said = [(*ends, *(stats.verdict(*ends, paper, "imagenet") for paper in (1.4, None))) for ends in intervals]
pd.DataFrame(said, columns=["from", "to", "1.4 points", "no number"]).style.hide().format(precision=1)

# %% [markdown]
# The last line is a single run: it has no interval, and its verdict is *inconclusive*. Ratios are judged
# by their logarithms. A count is reproduced if it is the paper's to the digits that the paper gives;
# an error rate, or a share "at most", if it is as low as the paper's.

# %% [markdown]
# ## What is on record

# %%
found = scorecard.record(sample)
runs, table = findings.trained(found), scorecard.card(found)
tested = [entry for entry in table if entry["lines"]]
Markdown(
    f"**{len(runs)} runs** on record, rows `{scorecard.fingerprint(found)}`. They, and the net itself, speak"
    f" of **{len(tested)} of {len(table)} claims**."
    + ("" if found else " There are no rows yet: run the other notebooks, or fetch `reports/results`.")
)

# %%
counts = Counter(entry["verdict"] for entry in table)
pd.DataFrame(counts.most_common(), columns=["verdict", "claims"]).style.hide()


# %% [markdown]
# ## The register
#
# One line a claim. Units: pp, percentage points (above zero: the paper is right about the sign); x, a
# ratio; *runs* are pairs of seeds where two nets are compared. A claim with rows at several scales is
# judged by those that have an interval, then at the scale nearest to the paper's; the other rows are
# in the next table. Intervals are over runs; those of a single run are over the pictures or the kernels
# that were looked at.


# %%
def shown(lines):
    table = pd.DataFrame(lines).style.hide().format(precision=2, na_rep="-")
    left = {"selector": "th, td", "props": "text-align: left; vertical-align: top; min-width: 4em"}
    return table.set_table_styles([left])


# %%
places = site.places()


def linked(line):
    place = places.get((line["scale"], line["study"])) if line else None
    return f'<a href="{place}.html">{line["study"][:2]}</a>' if place else "-"


# %%
register = [scorecard.cells(entry["claim"], *(entry["lines"][:1] or [None])) for entry in table]
reports = [linked(*(entry["lines"][:1] or [None])) for entry in table]
shown(line | {"report": report} for line, report in zip(register, reports, strict=True))

# %% [markdown]
# ### All rows that speak of a claim
#
# The first line of each claim is the one above.

# %%
columns = ("verdict", "ours", "95 % interval", "runs", "where", "device")
evidence = [(entry["claim"], line) for entry in tested for line in entry["lines"]]
shown(
    {"claim": claim.id, "compared": line["name"]}
    | {key: scorecard.cells(claim, line)[key] for key in columns}
    | {"report": linked(line)}
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
# Hours of training and training pictures (repetitions included) of all runs on record, those that diverged
# included. A run that was stopped and never taken up again leaves no row, and is not here.

# %%
shown(costs.ledger(runs)).format({"hours": "{:.1f}", "pictures": "{:,}"}) if runs else Markdown("None.")

# %% [markdown]
# ## How the runs differ from the paper's
#
# Settings in which all runs of a notebook differ from the reading they name, and their pictures. What a
# notebook varies on purpose is not a deviation, and is not listed.

# %%
shown(costs.deviations(runs))

# %% [markdown]
# Beyond these, the two readings themselves: where the text leaves a question open, both answers are settings
# of this study ([the ledger](../docs/fidelity.md)).

# %%
both = sum(a.reading_paper != a.reading_source for a in AMBIGUITIES)
Markdown(
    f"**{len(AMBIGUITIES)} questions** are on the ledger. In **{both}** of them the two readings differ; in"
    f" the other {len(AMBIGUITIES) - both} both have the same answer."
)

# %% [markdown]
# ## What was easy, what was hard
#
# **Easy** is what follows from the text alone: the net and its size, the pictures that it sees, the update
# rule. **Hard** is a small effect. The runs it takes until the interval is no wider, to either side, than
# the effect that the paper (or else the 2012 log) names, if runs scatter as they have so far:

# %%
effort = costs.difficulty(table)
columns = {"size": "effect claimed", "half": "interval, ±", "n": "runs so far", "hours": "hours so far"}
lines = [{"claim": row["claim"].id} | {name: row[key] for key, name in columns.items()} for row in effort]
shown(line | {"runs needed": str(row["needed"] or "-")} for line, row in zip(lines, effort, strict=True))

# %% [markdown]
# Ratios stand here as logarithms. Claims of which no number is known have no runs needed. Hard in another
# way: what the text does not say (the ledger above), and what nobody can get, as the hidden labels of a
# closed contest.

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
# A verdict holds at its scale: most runs here have ten classes, few epochs and few seeds, and the paper's
# numbers are those of a thousand classes and ninety epochs. Among many intervals of 95 % some miss. Runs of
# one notebook share their pictures and seeds, so its verdicts are not independent. The story starts in
# notebook 00.
