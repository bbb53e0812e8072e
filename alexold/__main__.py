"""The notebooks' calls for shells and clusters: `python -m alexold --help`. One function a command."""

import argparse
import ast
import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported: waiting threads must not spin

BENCHMARKS = {
    "step": "training steps of several nets; the response norm alone",
    "floors": "a training step layer by layer, against what the machine can do",
    "whole": "training with its data; testing",
    "cifar": "an epoch of CIFAR-10",
    "data": "from the disk to the net",
    "memory": "a set that is larger than the memory",
}


def report(args) -> int:
    """Run notebooks and write their reports and the index; a failing one does not stop the others."""
    from . import report as reports
    from . import site

    given = {name: value_of(text) for name, text in args.parameters}
    given |= {"scale": args.scale} if args.scale else {}
    if args.notebook == "index":
        print(*(site.index(folder) for folder in ("", "sample") if (site.reports_root() / folder).is_dir()), sep="\n")
        return 0
    if args.notebook != "all":
        return _reported(reports, args.notebook, given, args.out)
    if args.out:
        raise ValueError("--out is for one notebook, not for all")
    runs, lacking = reports.plan(given)
    for name in lacking:
        print(f"{name} has no such scale: left out", file=sys.stderr)
    failed = sum(_reported(reports, name, values) for name, values in runs.items())
    folder = "sample" if given.get("scale", "sample") == "sample" else ""
    print(f"{len(runs)} reports, {failed} failed: {site.index(folder)}")
    return min(failed, 1)


def _reported(reports, name: str, given: dict, out: str | None = None) -> int:
    """1 if a notebook fails or cannot be run."""
    try:
        print(reports.run(name, given, out))
        return 0
    except reports.ReportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def train(args) -> int:
    """Train one net without a notebook, into the same run folder and row as notebook 04."""
    from . import config, data, findings, parallel, study

    scale, device = config.scale_of(args.scale), parallel.start(study.pick_device(args.device))
    fields = {name: value_of(text) for name, text in args.fields}
    given = {"epochs": args.epochs, "batch": args.batch, "precision": args.precision}
    spec = config.spec_at(args.spec, scale, **given | fields)
    training, test = data.load(args.data or scale.source, scale.side, args.on_error)
    spec = spec.replace(classes=len(training.classes))
    variant = _variant(spec, config.spec_at(args.spec, scale))
    run = study.run("04_train", variant, spec, scale.name, training, test, seed=args.seed, device=device, name=args.run)
    if parallel.rank() == 0:
        for row in findings.view_errors(run):
            print("{measure} error, {views}: {value:.2f} % ({low:.2f} to {high:.2f}, n = {n})".format(**row))
        if spec.net.classes < findings.FIVE_GUESSES:
            print("top-5 error: -, fewer than six classes")
        print(run.folder)
    parallel.stop()
    return 0


def _variant(spec, plain) -> str:
    """The name of a variant: that of the config, then the settings that differ: `source2012+activation=leaky_relu`.

    Settings that notebook 04 has as parameters, and the number of classes, which is the data's, do not count.
    """
    own = ("classes", "epochs", "batch", "precision")
    changes = {field: new for field, (_, new) in plain.changes(spec).items() if field not in own}
    parts = [f"{field}={_short(value)}" for field, value in changes.items()]
    name = "+".join([plain.name, *parts])
    return name if len(name) <= 120 else f"{plain.name}+{len(parts)}-changes"  # the row has all settings


def _short(value) -> str:
    if isinstance(value, tuple | list):
        return ",".join(map(_short, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def study(args) -> int:
    """All runs of the protocol that have no row yet."""
    from . import studies

    studies.carry_out(args.blocks, args.jobs)
    return 0


def bench(args) -> int:
    """Run the benchmarks one after another; one that fails does not stop the others."""
    import subprocess

    from .paths import ROOT, data_root

    folder = ROOT / "benchmarks"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is not there: benchmarks are part of the project, not of the installed package"
        )
    if unknown := set(args.names) - set(BENCHMARKS):
        raise ValueError(f"unknown benchmark {', '.join(sorted(unknown))}: valid ones: {', '.join(BENCHMARKS)}")
    failed = 0
    for name in args.names or BENCHMARKS:
        if name == "data" and not (data_root() / "imagenette").is_dir():
            print("data: left out, it needs `python -m alexold data get imagenette`", file=sys.stderr)
            continue
        print(f"{name}: {BENCHMARKS[name]}", flush=True)
        failed += bool(subprocess.run([sys.executable, folder / f"{name}.py"]).returncode)
    return min(failed, 1)


def data_get(args) -> int:
    """Download a named set, unless it is there."""
    from . import sources

    print(sources.get(args.name) or f"{args.name} is generated: there is nothing to get")
    return 0


def data_check(args) -> int:
    """Decode every picture of a folder and report; 1 if packing would refuse something."""
    from . import check

    report = check.check(args.path)
    print(check.text(report))
    return int(report.refused)


def data_pack(args) -> int:
    """Pack a set, or open its pack, and say what is in it."""
    from . import check, data, pack, sources

    folder = sources.packed(args.source, args.side, args.on_error)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder}, {check.amount(size)}")
    for split, images in data.unpacked(folder).items():
        left_out = [f"  {file}: {reason}" for file, reason in images.skipped]
        of = f"{len(images):,} pictures of side {images.side} in {len(images.classes):,} classes"
        print(f"{split}: {of}, {len(left_out):,} files left out", *left_out[: pack.LISTED], sep="\n")
        if len(left_out) > pack.LISTED:
            print(f"  ... and {len(left_out) - pack.LISTED:,} more, in {folder / 'meta.json'}")
    return 0


def value_of(text: str):
    """`4`, `1e-3`, `True`, `None`, `[1, 2]` as Python reads them; anything else (`relu`, `007`, `0.1,0.2`) is text."""
    try:
        value = ast.literal_eval(text)
        return text if isinstance(value, tuple) and not text.startswith("(") else value
    except (ValueError, SyntaxError):
        return text


def parser() -> argparse.ArgumentParser:
    on_error = {"default": "raise", "help": "pictures that cannot be used: raise (name them all; default) or skip"}
    top = argparse.ArgumentParser(prog="python -m alexold", description="AlexNet (2012), reproduced.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("report", help="run a notebook into reports/SCALE/, with its web page and the index")
    command.set_defaults(call=report)
    command.add_argument("notebook", help="name (04_train), number (04), path, or all; index: write the index alone")
    command.add_argument("--scale", help="data + net + schedule (default: sample, for notebooks that have one)")
    pair = {"nargs": 2, "metavar": ("NAME", "VALUE"), "action": "append", "default": []}
    command.add_argument("-p", dest="parameters", **pair, help="a parameter of the notebook; may be repeated")
    command.add_argument("--out", help="the report's file, NAME.ipynb (default: reports/SCALE/<notebook>.ipynb)")

    command = commands.add_parser("train", help="train AlexNet without a notebook")
    command.set_defaults(call=train)
    command.add_argument("--scale", default="sample", help="data + net + schedule (default: sample)")
    command.add_argument("--spec", default="source2012", help="reading: source2012 (default) or paper")
    command.add_argument("--epochs", type=int, help="default: the scale's own")
    command.add_argument("--batch", type=int, help="default: the scale's own")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--precision", help="bf16 (default) or fp32")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1; cuda:0,cuda:1 for a tower on each")
    command.add_argument("--data", help="a folder with train/<class>/* and val/<class>/* instead of the scale's")
    command.add_argument("--run", help="folder under runs/ (default: named after the settings)")
    command.add_argument("--on-error", **on_error)
    command.add_argument("--set", dest="fields", **pair, help="any field of the reading; may be repeated")

    command = commands.add_parser("study", help="begin, or go on with, the runs of the protocol (docs/protocol.md)")
    command.set_defaults(call=study)
    command.add_argument("blocks", nargs="*", help="ids of blocks in tables/protocol.toml (default: all, in order)")
    command.add_argument("--jobs", type=int, default=2, help="runs at a time, in processes of their own (default: 2)")

    command = commands.add_parser("bench", help="measure what is fast, side by side (ten minutes)")
    command.set_defaults(call=bench)
    command.add_argument("names", nargs="*", help=f"some of {', '.join(BENCHMARKS)} (default: all)")

    command = commands.add_parser("data", help="get, check and pack pictures")
    _add_data(command.add_subparsers(required=True, metavar="COMMAND"), on_error)
    return top


def _add_data(commands, on_error: dict) -> None:
    command = commands.add_parser("get", help="download a named set, unless it is there")
    command.set_defaults(call=data_get)
    command.add_argument("name", help="cifar10 or imagenette")

    command = commands.add_parser("check", help="decode every picture of a folder, and report what is wrong or odd")
    command.set_defaults(call=data_check)
    command.add_argument("path", help="a folder with train/<class>/* and val/<class>/*, or <class>/*, or pictures")

    command = commands.add_parser("pack", help="make the squares that training reads, and say where they are")
    command.set_defaults(call=data_pack)
    command.add_argument("source", help="sample, cifar10, imagenette, imagenet, or a folder")
    command.add_argument("--side", type=int, default=256, help="pixels (default: 256)")
    command.add_argument("--on-error", **on_error)


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may hold any bytes
    try:
        return args.call(args)
    except (ValueError, OSError, ArithmeticError) as error:  # bad input: one line that says what to do
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        if not stop.args:  # else it has been said where
            print("stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
