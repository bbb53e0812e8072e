"""Results of the benchmarks: one file a machine, a list of objects, one for each case of each benchmark."""

import json
import platform
import re
import statistics
from pathlib import Path

import torch
import torchvision

from alexlib.paths import write_whole
from alexlib.rows import device_name

RESULTS = Path(__file__).parent / "results"


def record(benchmark: str, unit: str, runs: dict[str, list[float]], extra: dict[str, dict], **common) -> Path:
    """Replace a benchmark's objects in this machine's file: median of each case, its ratio to the first case, the runs.

    `extra` adds fields to single cases, `common` to all.
    """
    first = statistics.median(next(iter(runs.values())))
    made = [
        {
            "benchmark": benchmark,
            "case": case,
            "value": float(f"{statistics.median(values):.4g}"),
            "unit": unit,
            "ratio": round(statistics.median(values) / first, 2),
            "runs": [float(f"{value:.4g}") for value in values],
            **extra.get(case, {}),
            **common,
            "device": device_name("cpu"),
            "versions": {
                "torch": torch.__version__,
                "torchvision": torchvision.__version__,
                "python": platform.python_version(),
            },
        }
        for case, values in runs.items()
    ]
    for result in made:
        print(f"{result['value']:10.1f} {unit}  x{result['ratio']:<6}  {result['case']}")
    file = RESULTS / (re.sub(r"\W+", "-", device_name("cpu")).strip("-").lower() + ".json")
    kept = json.loads(file.read_text()) if file.exists() else []
    kept = [result for result in kept if result["benchmark"] != benchmark]
    text = json.dumps(kept + made, indent=1) + "\n"
    write_whole(file, lambda out: out.write(text.encode()))
    return file
