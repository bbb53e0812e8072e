"""The study: `runs` trains nets and keeps rows, `variants` says what is compared, `measures` and
`verdicts` evaluate the rows by the protocol, `features` looks into trained nets.
"""

from alexlib.study.overview import compare, listing
from alexlib.study.records import rows

__all__ = ["compare", "listing", "rows"]
