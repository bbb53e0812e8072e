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
    return top


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        return args.call(args)
    except (ValueError, OSError) as error:  # bad input: one line that says what to do
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
