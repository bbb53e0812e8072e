"""The commands about many runs (study, protocol, runs, compare), and what all commands share."""

import re
from typing import Annotated

from typer import Argument, Option

from alexlib.config import lookup, scale_of

Scale = Annotated[str, Option(help="data, net and schedule (README.md has a table)")]
OnError = Annotated[
    str,
    Option("--on-error", "--on_error", help="unreadable images: raise (naming all) or skip"),
]


def pairs(texts: list[str] | None, **options) -> dict:
    """`["lr=0.1"]` as `{"lr": "0.1"}`, with the options that are not None; no name twice."""
    found = {name: value for name, value in options.items() if value is not None}
    for text in texts or []:
        name, sign, value = text.partition("=")
        if not sign or name in found:
            raise ValueError(f"{text!r}: expected NAME VALUE, and no name twice")
        found[name] = value
    return found


def fields_of(given: list[str] | None, **options) -> dict:
    """The config fields given by `--set` and by other options, as values."""
    from alexlib.notebook import FIELDS, value_of

    found = pairs(given, **options)
    for name in found:
        lookup(FIELDS, name, "field")
    return {name: value_of(str(value)) for name, value in found.items()}


def study(
    name: Annotated[str, Argument(help="of the study, in the rows; 03_ablations: as notebook 03")],
    scale: Scale = "sample",
    variants: Annotated[str, Option(help="a,b,... of tables/variants.toml, or all")] = "baseline",
    seeds: Annotated[int, Option(min=1, help="runs of each variant, with seeds 0, 1, ...")] = 1,
    spec: Annotated[str, Option(help="the baseline: source2012 or paper")] = "source2012",
    epochs: Annotated[int | None, Option(help="default: the scale's")] = None,
    share: Annotated[float, Option(help="of the training images")] = 1.0,
    jobs: Annotated[int, Option(help="runs at a time; -1: one per core")] = 1,
    scheduler: Annotated[str, Option(metavar="tcp://HOST:PORT", help="of a Dask cluster")] = "",
    device: Annotated[str, Option(help="auto, cpu, cuda")] = "auto",
    data: Annotated[str, Option(help="folder with train/<class>/* and val/<class>/*")] = "",
    on_error: OnError = "raise",
    given: Annotated[list[str] | None, Option("--set", metavar="NAME VALUE", help="field")] = None,
):
    """Train a grid of variants and seeds; the same command resumes it (docs/scaling.md)."""
    from alexlib.data import prepare
    from alexlib.study import runs as many
    from alexlib.study import variants as known
    from alexlib.training.machine import pick_device

    if not re.fullmatch(r"\w[\w.-]*", name) or name in ("rates", "measures"):
        raise ValueError(f"{name!r}: a study is named by letters, digits and . _ -")
    base, size = known.baseline(scale, spec, **fields_of(given, epochs=epochs)), scale_of(scale)
    valid = known.variants(base)
    wanted = list(valid) if variants == "all" else variants.replace(" ", "").split(",")
    configs = {variant: lookup(valid, variant, "variant") for variant in wanted}
    device = pick_device(device)

    images, test = prepare.load(data or size.source, size.side_for(base), on_error)
    images = images.holdout(1 - share, seed=0)[0] if share != 1 else images
    grid = [
        many.Job(name, variant, config.replace(classes=len(images.classes)), scale, seed)
        for seed in range(seeds)
        for variant, config in configs.items()
    ]
    table = many.grid(grid, images, test, device=device, workers=jobs, scheduler=scheduler)
    shown = table[["variant", "seed", "epochs", "top1", "top5", "images_per_second", "diverged"]]
    print(shown.to_string(index=False, float_format="{:.2f}".format))


def protocol(
    blocks: Annotated[list[str] | None, Argument(help="of protocol.toml; default: all")] = None,
    jobs: Annotated[int, Option(help="runs at a time")] = 2,
    device: Annotated[str, Option(help="cpu or cuda; each has its own blocks")] = "cpu",
):
    """Start or continue the runs of the protocol (docs/protocol.md)."""
    from alexlib.study import runs as many
    from alexlib.training.machine import pick_device

    many.carry_out(blocks, jobs, pick_device(device))


def runs(
    study: Annotated[str | None, Option(help="of this study only")] = None,
    scale: Annotated[str | None, Option(help="of this scale only")] = None,
):
    """List the runs on this machine and on record, with the epochs and errors so far."""
    from alexlib.study import overview

    print(overview.as_text(overview.listing(study=study, scale=scale)))


def compare(
    a: Annotated[str, Argument(metavar="RUN", help="name, or a part that only one run has")],
    b: Annotated[str, Argument(metavar="RUN")],
):
    """Show two runs side by side: settings that differ, and errors on the same test images."""
    from alexlib.study import overview

    settings, errors = overview.compare(a, b)
    print(f"a: {a}\nb: {b}\n", settings.to_string() if len(settings) else "same settings", sep="\n")
    print("\nErrors, %, and b - a with its 95 % interval over test images (seeds count beside it):")
    numbers = {"index_names": False, "float_format": "{:.2f}".format}
    print(errors.to_string(**numbers) if len(errors) else "none: a run is not finished")
