"""The commands: `python -m alexlib --help`."""

import dataclasses
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from alexlib import commands
from alexlib.commands import OnError, Scale, fields_of, pairs
from alexlib.config import scale_of

options = {"no_args_is_help": True, "add_completion": False, "rich_markup_mode": None}
options["pretty_exceptions_enable"] = False

app = typer.Typer(help="AlexNet (2012), reproduced.", **options)
data = typer.Typer(help="Download and pack images.", **options)
app.add_typer(data, name="data")
for command in (commands.study, commands.protocol, commands.runs, commands.compare):
    app.command()(command)

Source = Annotated[str, Argument(help="a run, its folder, or a file of weights")]


@app.command()
def report(
    notebook: Annotated[str, Argument(help="name, number or path; all")],
    scale: Scale = "",
    given: Annotated[list[str] | None, Option("-p", metavar="NAME VALUE", help="parameter")] = None,
    out: Annotated[Path | None, Option(help="the report's file, NAME.ipynb")] = None,
):
    """Run notebooks; write a report and a web page of each."""
    from alexlib import report as reports

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops the kernel as Ctrl-C does
    parameters, failed = pairs(given, scale=scale or None), False
    if notebook == "all" and out:
        raise ValueError("--out is for one notebook")
    for path, values in reports.plan(notebook, parameters).items():
        written, error = reports.run(path, values, out)
        print(written)
        if error:
            print(f"error: {path.stem} failed, {error}", file=sys.stderr)
            failed = True
    raise typer.Exit(int(failed))


@app.command()
def train(
    scale: Scale = "sample",
    spec: Annotated[str, Option(help="source2012 or paper")] = "source2012",
    epochs: Annotated[int | None, Option(help="default: the scale's")] = None,
    batch: Annotated[int | None, Option(help="default: the scale's")] = None,
    seed: int = 0,
    precision: Annotated[str | None, Option(help="auto, bf16 or fp32")] = None,
    device: Annotated[str, Option(help="auto, cpu, cuda; cuda:0,cuda:1: a tower on each")] = "auto",
    data: Annotated[str, Option(help="folder with train/<class>/* and val/<class>/*")] = "",
    run: Annotated[str | None, Option(help="folder below runs/")] = None,
    weights: Annotated[str, Option(help="a run or a file of weights to start from")] = "",
    on_error: OnError = "raise",
    given: Annotated[list[str] | None, Option("--set", metavar="NAME VALUE", help="field")] = None,
):
    """Train one net without a notebook, into the same run folder and row as notebook 04."""
    from alexlib.data import prepare
    from alexlib.study import runs
    from alexlib.study.verdicts import proportion
    from alexlib.training import distributed, machine

    fields = fields_of(given, epochs=epochs, batch=batch, precision=precision)
    job, size = runs.Job.training(spec, scale, seed, weights, **fields), scale_of(scale)
    device = distributed.start(machine.pick_device(device))
    images, test = prepare.load(data or size.source, size.side_for(job.config), on_error)
    config = job.config.replace(classes=len(images.classes))
    job = dataclasses.replace(job, config=config)
    trained = runs.run(job, images, test, device=device, name=run)
    if distributed.rank() == 0:
        for views, found in trained.row["metrics"].items():
            for kind in ("top1", "top5") if config.net.classes >= 100 else ("top1",):
                error, low, high = proportion(round(found[kind] * found["n"]), found["n"])
                interval = f"(95 %: {low:.2f} to {high:.2f})"
                print(f"top-{kind[-1]} error, {views} views: {error:.2f} % {interval}")
        print(trained.folder)
    distributed.stop()


@app.command()
def predict(
    run: Source,
    images: Annotated[list[str], Argument(metavar="IMAGE...", help="files")],
    top: Annotated[int, Option(help="classes to show", min=1)] = 5,
):
    """Show the most probable classes of images, centre view."""
    import pandas as pd

    from alexlib.weights import load

    net, found = load(run), []
    for file in images:
        try:
            (probabilities,) = net.predict(file)
        except Exception as error:  # decoders raise all kinds of errors on damaged files
            print(f"error: {file}: {error}", file=sys.stderr)
            continue
        for label in (-probabilities).argsort()[:top]:
            found.append((file, net.classes[label], f"{probabilities[label]:.1%}"))
    if found:
        table = pd.DataFrame(found, columns=["image", "class", "probability"])
        print(table.to_string(index=False))
    raise typer.Exit(int(len({file for file, *_ in found}) < len({*images})))


@app.command()
def export(
    run: Source,
    file: Annotated[Path, Argument(help="OUT.onnx, OUT.pth or OUT.safetensors")],
):
    """Write a trained net for other programs (docs/fidelity.md has the names)."""
    from alexlib import foreign
    from alexlib.weights import load

    print(foreign.export(load(run), file))


@data.command()
def get(name: Annotated[str, Argument(help="cifar10, imagenette, or a set of torchvision")]):
    """Download a data set unless it is already there."""
    from alexlib.data import prepare

    print(prepare.get(name) or f"{name} is generated when it is first used")


@data.command()
def pack(
    source: Annotated[str, Argument(help="name of a data set, a folder, or hf:NAME")],
    side: Annotated[int, Option(help="pixels")] = 256,
    on_error: OnError = "raise",
):
    """Pack images for training, and list the files that were left out."""
    from alexlib.data import prepare

    for images in prepare.load(source, side, on_error):
        print(f"{images.split}: {len(images):,} images in {len(images.classes):,} classes")
        for file, reason in images.skipped:
            print(f"  left out: {file}: {reason}")
    print(f"{images.origin}\n{images.pack[0]}")


def main(words: list[str] | None = None) -> None:
    """Run the command line; ends with SystemExit, with status 2 after a user error."""
    words = sys.argv[1:] if words is None else list(words)
    for i, word in enumerate(words):  # typer has no repeated options with two values: join them
        if word in ("-p", "--set") and "=" not in "".join(words[i + 1 : i + 2]):
            words[i + 1 : i + 3] = ["=".join(words[i + 1 : i + 3])]
    sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold any bytes
    try:
        app(words, prog_name="python -m alexlib")
    except (ValueError, OSError, ArithmeticError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except ExceptionGroup as failed:
        print(f"error: {failed.message}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
