# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Solutions: 06 Scorecard
#
# The exercises are at the end of notebook 06. They are solved here by simulation and with the rows on record.

# %%
import json

import numpy as np
import pandas as pd
from scipy import stats

from alexlib.config import ROOT
from alexlib.study import records, scorecard, verdicts
from alexlib.study.verdicts import Estimate

# %% [markdown]
# ## 1. A number
#
# Ten times as many test images make the interval about 10 % narrower, ten times as many runs about 45 %. The
# larger part of the variance decides: the seeds have $0.5^2 (1/3 + 1/6) = 0.125$, the test images 0.04. No
# number of runs reduces the part from the images, and no number of images reduces the part from the seeds.

# %%
seeds, images = 0.5**2 * (1 / 3 + 1 / 6), 0.04
cases = {"as it is": (seeds, images), "more images": (seeds, images / 10), "more runs": (seeds / 10, images)}
ends = {name: Estimate(1.3, *parts, 20, n=(3, 6)).interval() for name, parts in cases.items()}
width = {name: high - low for name, (low, high) in ends.items()}

# %%
relative = {name: value / width["as it is"] for name, value in width.items()}
assert relative["more runs"] < 0.6 < 0.85 < relative["more images"]
pd.DataFrame({"width, points": width, "relative": relative}).style.format("{:.2f}")

# %% [markdown]
# ## 2. False alarms
#
# Student's intervals do not contain zero in about 50 of 1,000 cases: this is what 95 % means. With 1.96 there
# are nearly twice as many, because the standard deviation is estimated from only nine runs (7 degrees of
# freedom, factor 2.36).

# %%
draws = np.random.default_rng(0).normal(0, 0.5, (4000, 9))
found = [verdicts.difference([arms[:3], arms[3:]], [arms[:3], arms[3:]]) for arms in draws]
z = np.array([abs(effect.value) / effect.se for effect in found])
alarms = {"Student": np.mean(z > stats.t.ppf(0.975, found[0].freedom)), "1.96": np.mean(z > 1.96)}

# %%
assert 0.04 < alarms["Student"] < 0.06 and 0.07 < alarms["1.96"] < 0.12
pd.Series(alarms, name="false alarms").to_frame().style.format("{:.1%}")

# %% [markdown]
# ## 3. Seven claims
#
# The probability is $1 - 0.95^7 = 30 \%$. After Holm's correction it is at most 5 %. The p-value of
# an effect of zero is uniformly distributed between 0 and 1.

# %%
p = np.random.default_rng(0).uniform(size=(4000, 7))
one_or_more = {"without correction": np.mean((p < 0.05).any(1))}
one_or_more["Holm"] = np.mean([(verdicts.holm(seven) < 0.05).any() for seven in p])
assert abs(one_or_more["without correction"] - (1 - 0.95**7)) < 0.03 and one_or_more["Holm"] < 0.06
pd.Series(one_or_more, name="at least one false alarm").to_frame().style.format("{:.1%}")

# %% [markdown]
# ## 4. The gate
#
# Of the claims about a part of the net, one would be *cannot tell* and one *paper's size excluded*, although
# the nets hardly overfit: the gate prevents the second. (The claim about colours has no estimate.)

# %%
files = sorted((ROOT / "reports" / "results").glob("*.jsonl"))
rows = records.evidence([json.loads(line) for file in files for line in file.read_text().splitlines()])
card = scorecard.card(rows)
firsts = [(entry["claim"], entry["lines"][0]) for entry in card if entry["lines"]]

# %%
gated = [(c, x) for c, x in firsts if x["verdict"].startswith(verdicts.REGIME) and x["estimate"]]
ungated = {claim.id: verdicts.verdict(line["estimate"], verdicts.size(claim)) for claim, line in gated}
assert not any(said.startswith(verdicts.REGIME) for said in ungated.values())
assert sum(said.startswith(verdicts.CANNOT_TELL) for said in ungated.values()) >= len(ungated) / 2
pd.DataFrame({"claim": ungated.keys(), "without the gate": ungated.values()}).style.hide()

# %% [markdown]
# ## 5. A cost
#
# Two or three runs in each arm are enough here. The test images set a floor: even with infinitely many runs
# the smallest detectable effect is 2.8 times the standard error that comes from the images (1.96 + 0.84 =
# 2.8, for 5 % and 80 %). If that were more than 1.7 points, no number of runs would be enough, and only more
# test images would help.

# %%
((claim, line),) = [(claim, line) for claim, line in firsts if claim.id == "two-gpus"]
estimate, hours = line["estimate"], np.mean([row["seconds"] for row in line["rows"]]) / 3600
needed = {size: estimate.runs_needed(size) for size in (1.7, 2, 3, 4)}
floor = 2.8 * estimate.images**0.5

# %%
assert needed[1.7] is not None or floor > 1.6
print(f"{line['scale']}, {hours:.2f} hours a run ({line['rows'][0]['device']}); floor: {floor:.1f} points")
runs = [f"{n} + {n}" if n else "no number" for n in needed.values()]
cost = [2 * n * hours if n else np.nan for n in needed.values()]
table = pd.DataFrame({"effect, points": needed.keys(), "runs needed": runs, "hours": cost})
table.style.hide().format(precision=1, na_rep="-")

# %% [markdown]
# ## 6. Your own experiment
#
# Most verdicts stay, but the intervals become wider. A verdict says on which side of zero and of the paper's
# size an interval lies, and most intervals are far from these limits. Most of the verdicts that change
# compare arms of two runs: with one run left, there is no interval.


# %%
def arm(row):
    """The study, scale, variant and config of a run; None for rows that are not runs."""
    is_run = "seed" in row and row["study"] != "rates"
    return (row["study"], row["scale"], row["variant"], json.dumps(row["config"])) if is_run else None


last = {}
for row in rows:
    last[arm(row)] = max(last.get(arm(row), 0), row.get("seed", 0))
kept = [row for row in rows if not last[arm(row)] or arm(row) is None or row["seed"] < last[arm(row)]]

# %%
fewer = scorecard.card(kept)
pairs = [(a, b) for a, b in zip(card, fewer, strict=True) if a["lines"] and b["lines"]]
changed = sum(a["verdict"] != b["verdict"] for a, b in pairs)
table = pd.DataFrame(
    [
        (a["claim"].id, *(x["lines"][0]["high"] - x["lines"][0]["low"] for x in (a, b)))
        for a, b in pairs
        if len(a["lines"][0]["n"]) == 2 and min(b["lines"][0]["n"]) > 1
    ],
    columns=["claim", "width, all seeds", "width, one seed less"],
)

# %%
assert changed <= len(pairs) / 4 and len(kept) < len(rows)
assert (table["width, one seed less"] > table["width, all seeds"]).mean() > 0.5
print(f"{changed} of {len(pairs)} verdicts change")
table.style.hide().format(precision=2)
