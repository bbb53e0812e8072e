"""Weights from other programs and for them.

`torchvision` and `caffe` open files from other programs without running code in them. Both return
the fields `model`, `mean`, `std` and `origin` of a `weights.Trained`; for a file of another kind
they raise a ValueError that says what is in it. `export` writes a net for other programs.
"""

import copy
import io
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError

import safetensors.torch
import torch
from torch import nn

from alexlib.config import PAPER
from alexlib.files import atomic_write, imported
from alexlib.models import build
from alexlib.models.layers import Dropout

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
CAFFE = PAPER.replace("caffe", input=227, lrn_k=1.0, lrn_alpha=1e-4 / 5, dropout=0.0)
WRAPPERS = ("state_dict", "model_state_dict", "model")  # in checkpoints, keys of the net itself


def caffe(file: Path, config=CAFFE) -> dict:
    """`bvlcalexnet` of the ONNX Model Zoo: the paper's net, trained without colour noise."""
    onnx = imported("onnx", "onnx onnxruntime")
    try:
        graph = onnx.load(file, load_external_data=False).graph
    except Exception as error:  # damaged bytes can raise almost anything
        raise ValueError(f"{file} cannot be read ({error})") from error
    arrays = {a.name: torch.tensor(onnx.numpy_helper.to_array(a)) for a in graph.initializer}
    nodes = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    model, state = build(config).eval(), {}
    try:
        for name, node in zip(LAYERS, nodes, strict=True):
            values = [arrays[key] for key in node.input[1:3]]
            state |= zip((f"{name}.weight", f"{name}.bias"), values, strict=True)
        state["conv1.weight"] = state["conv1.weight"].flip(1)  # the file's: blue, green, red
        model.load_state_dict(state)
    except (ValueError, KeyError, RuntimeError) as error:
        kinds = ", ".join(node.op_type for node in graph.node[:12])
        raise ValueError(
            f"{file} has the operators {kinds} ...: expected bvlcalexnet of the ONNX Model Zoo,"
            f" five Conv and three Gemm with its shapes ({str(error).splitlines()[-1].strip()})"
        ) from error
    model.lrn1.towers = model.lrn2.towers = 1  # its norms sum over the maps of both towers
    mean = torch.tensor([122.67891434, 116.66876762, 104.00698793])
    mean = mean.expand(config.net.input, config.net.input, 3)
    return {"model": model, "mean": mean, "std": 1.0, "origin": "Caffe's AlexNet"}


def torchvision(file: Path) -> dict:
    """torchvision's `alexnet`: one tower, fewer kernels, no LRN; pixels over standard deviations.

    The file is a checkpoint of a training script or a state dict (.pth, .safetensors). Additions
    to the names of the parameters ("module.", "model.", "_orig_mod.") do not matter.
    """
    there, nets = dict(_flat(_contents(file))), {}
    pattern = r"(.*\.)?(features|classifier)\.(?:module\.|_orig_mod\.)*(\d+\.(?:weight|bias))"
    for name, value in there.items():
        if torch.is_tensor(value) and (found := re.fullmatch(pattern, name)):
            around, *own = found.groups(default="")
            nets.setdefault(around, {})[".".join(own)] = value.float()
    if len(nets) > 1:  # the file also has an average of the weights
        nets = {name: state for name, state in nets.items() if name.split(".")[0] in WRAPPERS}
    from torchvision.models import alexnet  # takes two seconds

    try:
        (state,) = nets.values()
        with torch.device("meta"):
            net = alexnet(num_classes=len(state["classifier.6.bias"]))
        net.load_state_dict(state, assign=True)
    except (ValueError, KeyError, RuntimeError) as error:
        names = [name or f"one {type(value).__name__}" for name, value in there.items()]
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        raise ValueError(
            f"{file} has {shown}: expected the state_dict of torchvision's alexnet"
            " (features.0.weight to classifier.6.bias), alone or below a key like 'state_dict' or"
            " 'model'; of a run of this project, give the folder"
        ) from error

    model, layers = nn.Sequential(), iter(LAYERS)
    for i, stage in enumerate([*net.features, net.avgpool, nn.Flatten(), *net.classifier]):
        model.add_module(next(layers) if hasattr(stage, "weight") else f"stage{i}", stage)
    mean = torch.tensor([123.675, 116.28, 103.53]).expand(224, 224, 3)
    std = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)
    return {"model": model.eval(), "mean": mean, "std": std, "origin": "torchvision's alexnet"}


def _flat(value, name: str = "") -> Iterator[tuple]:
    """Yields the values in nested mappings, with names like "state_dict.features.0.weight"."""
    if isinstance(value, Mapping) and len(value):
        for key, each in value.items():
            yield from _flat(each, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


class _Ignored(dict):
    """Stands for an object in a checkpoint that is neither a tensor nor a container."""

    def __init__(self, *_, **__):
        super().__init__()

    def __setstate__(self, _):
        pass


def _contents(file: Path):
    """What torch or safetensors saved in a file; nothing named in the file is imported."""
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        options = {"map_location": "cpu", "weights_only": True}
        try:
            return torch.load(file, **options)
        except UnpicklingError:  # it has objects, such as argparse's options
            names = torch.serialization.get_unsafe_globals_in_checkpoint(file)
        ignored = [(type(name, (_Ignored,), {}), name) for name in names]
        with torch.serialization.safe_globals(ignored):
            return torch.load(file, **options)
    except Exception as error:  # damaged bytes can raise almost anything
        reason = (str(error) or repr(error)).rpartition("WeightsUnpickler error: ")[2]
        reason = reason.strip().partition("\n")[0].partition(". ")[0]
        raise ValueError(
            f"{file} cannot be read as weights ({reason}): it may be damaged; if not, save the"
            " state_dict() alone in the program that wrote it"
        ) from error


# ---- out -----------------------------------------------------------------------------------------


def export(net, file: Path) -> str:
    """Write a `weights.Trained` for other programs; returns a line about it.

    .onnx: RGB windows in 0..255, float32 (N, 3, size, size), to probabilities (N, classes). The
    graph subtracts the mean image; its metadata has the class names. onnxruntime runs it to check.
    .pth and .safetensors: a state dict for torch's modules; docs/fidelity.md says for which ones.

    Raises:
        ValueError: another ending. ModuleNotFoundError: onnx or onnxruntime is missing.
        ArithmeticError: onnxruntime's probabilities differ from this net's.
    """
    if file.suffix == ".onnx":
        contents, line = _onnx(net)
    elif file.suffix in (".pth", ".safetensors"):
        state, out = plain_state(net), io.BytesIO()
        torch.save(state, out)
        contents = out.getvalue() if file.suffix == ".pth" else safetensors.torch.save(state)
        line = f"a state dict of {len(state)} tensors, {next(iter(state))} and others"
    else:
        raise ValueError(f"{file}: the name must end in .onnx, .pth or .safetensors")
    atomic_write(file, lambda out: out.write(contents))
    return f"{file}: {line}"


def plain_state(net) -> dict[str, torch.Tensor]:
    """The state dict of a `weights.Trained` for torch's modules and pixels minus the mean.

    The weights of the next layers include the factors of our Dropout in testing; those of the first
    layer include `net.std`.
    """
    values = net.model.state_dict().items()
    state = {name: value.detach().cpu().clone().contiguous() for name, value in values}
    for name, factor in dropout_factors(net.model).items():
        state[f"{name}.weight"] *= factor
    state[next(iter(state))] /= net.std
    return state


def dropout_factors(model: nn.Module) -> dict[str, float]:
    """The factor by which our Dropout multiplies the inputs of each layer in testing."""
    found, factor = {}, 1.0
    for name, stage in model.named_children():
        if isinstance(stage, Dropout):
            factor *= (1 - stage.p) * stage.factor
        elif hasattr(stage, "weight"):
            found[name], factor = factor, 1.0
    return found


class _Whole(nn.Module):
    """From pixels to probabilities."""

    def __init__(self, net):
        super().__init__()
        self.model = copy.deepcopy(net.model).cpu()
        self.mean, self.std = net.mean.permute(2, 0, 1), net.std

    def forward(self, pixels):
        return self.model((pixels - self.mean) / self.std).softmax(1)


def _onnx(net) -> tuple[bytes, str]:
    onnx, runtime = (imported(name, "onnx onnxruntime") for name in ("onnx", "onnxruntime"))
    pixels = torch.randint(256, (3, *net.mean.shape), dtype=torch.uint8)
    x, out = pixels.permute(0, 3, 1, 2).float(), io.BytesIO()
    names = {"input_names": ["pixels"], "output_names": ["probabilities"]}
    names["dynamic_axes"] = {"pixels": {0: "n"}, "probabilities": {0: "n"}}
    with warnings.catch_warnings(action="ignore"):  # the newer exporter needs onnxscript
        torch.onnx.export(_Whole(net).eval(), (x,), out, dynamo=False, **names)
    graph = onnx.load_from_string(out.getvalue())
    onnx.helper.set_model_props(graph, {"classes": json.dumps(net.classes)})
    contents = graph.SerializeToString()
    session = runtime.InferenceSession(contents, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"pixels": x.numpy()})
    gap = abs(found - replace(net, precision="fp32").predict(pixels)).max()
    if not gap < 1e-4:
        raise ArithmeticError(f"onnxruntime gets probabilities that differ by {gap:.1e}")
    return contents, f"onnxruntime's probabilities differ from this net's by at most {gap:.1e}"
