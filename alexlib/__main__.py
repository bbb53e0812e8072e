"""The notebooks' calls for shells and clusters: `python -m alexlib --help`. One function a command."""

import argparse
import ast
import sys


def report(args) -> int:
    """Run notebooks and write their reports; a failing one does not stop the others."""
    from . import report as reports

    parameters = {name: value_of(text) for name, text in args.parameters}
    failed = 0
    for name in reports.notebooks() if args.notebook == "all" else [args.notebook]:
        try:
            print(reports.run(name, args.scale, parameters))
        except reports.ReportError as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr)
    return min(failed, 1)


def train(args) -> int:
    """Train one net without a notebook, into the same run folder and row as notebook 04."""
    from . import config, data, study

    scale, device = config.scale_of(args.scale), study.pick_device(args.device)
    fields = {name: value_of(text) for name, text in args.fields}
    spec = config.spec_at(args.spec, scale, epochs=args.epochs, batch=args.batch, precision=args.precision, **fields)
    training, test = data.load(args.data or scale.source, scale.side)
    spec = spec.replace(classes=len(training.classes))
    run = study.run(
        "04_train", args.spec, spec, scale.name, training, test, seed=args.seed, device=device, name=args.run
    )
    for row in study.view_errors(run):
        print("{measure} error, {views}: {value:.2f} % ({low:.2f} to {high:.2f}, n = {n})".format(**row))
    print(run.folder)
    return 0


def value_of(text: str):
    """`4`, `1e-3`, `True`, `None`, `[1, 2]` as Python reads them; anything else (`relu`, `007`) is text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m alexlib", description="AlexNet (2012), reproduced.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("report", help="run a notebook into reports/SCALE/, with its web page")
    command.set_defaults(call=report)
    command.add_argument("notebook", help="name (04_train), number (04), path, or all")
    command.add_argument("--scale", default="sample", help="data + net + schedule (default: sample)")
    pair = {"nargs": 2, "metavar": ("NAME", "VALUE"), "action": "append", "default": []}
    command.add_argument("-p", dest="parameters", **pair, help="a parameter of the notebook; may be repeated")

    command = commands.add_parser("train", help="train AlexNet without a notebook")
    command.set_defaults(call=train)
    command.add_argument("--scale", default="sample", help="data + net + schedule (default: sample)")
    command.add_argument("--spec", default="source2012", help="reading: source2012 (default) or paper")
    command.add_argument("--epochs", type=int, help="default: the scale's own")
    command.add_argument("--batch", type=int, help="default: the scale's own")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--precision", help="bf16 (default) or fp32")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    command.add_argument("--data", help="a folder with train/<class>/* and val/<class>/* instead of the scale's")
    command.add_argument("--run", help="folder under runs/ (default: named after the settings)")
    command.add_argument("--set", dest="fields", **pair, help="any field of the reading; may be repeated")
    return top


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        return args.call(args)
    except (ValueError, OSError, ArithmeticError) as error:  # bad input: one line that says what to do
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
