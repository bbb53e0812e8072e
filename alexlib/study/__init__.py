"""The study: `runs` trains nets and keeps rows, `variants` says what is compared, `measures` and
`verdicts` evaluate the rows by the protocol, `features` looks into trained nets.

    table = study.rows()  # all runs on record, a DataFrame
    settings, errors = study.compare("baseline-seed0-920bfaf6", "no-lrn-seed0-1c9b0f5e")
"""

from alexlib.study.overview import compare, listing
from alexlib.study.records import rows

__all__ = ["compare", "listing", "rows"]
