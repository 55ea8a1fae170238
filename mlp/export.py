"""A trained network for other programs: as plain steps, and as an ONNX file."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlp.arrays import Array
from mlp.files import InputError, atomic
from mlp.layers import Affine, BatchNorm, Dropout, Normalise, ReLU, Sigmoid
from mlp.model_file import described
from mlp.module import Module

OPSET, IR_VERSION = 17, 8  # ONNX of 2022, which every runtime in use reads


class Step(NamedTuple):
    """What a layer does in prediction: `scale` (x · scale - shift), `affine` (x W + b), `relu` or
    `sigmoid`. Its numbers by name; none for the latter two."""

    kind: str
    numbers: dict[str, Array]


def steps(model: Module) -> list[Step]:
    """A network from its inputs to its logits, without what only training needs.

    The one place to translate a layer: `Dropout` yields nothing, and `BatchNorm` is folded into the
    affine step before it. Raises InputError for a layer that has no such translation.
    """
    found: list[Step] = []
    for layer in model.layers:
        match layer:
            case Normalise(mean=mean, std=std, dtype=dtype):
                numbers = {"scale": 1 / (255 * std), "shift": mean / std}
                found.append(Step("scale", {k: np.array(v, dtype) for k, v in numbers.items()}))
            case Affine(W=W, b=b):
                found.append(Step("affine", {"W": W, "b": b}))
            case BatchNorm() if found and found[-1].kind == "affine":
                slope, intercept = layer.line()
                W, b = found[-1].numbers.values()
                found[-1] = Step("affine", {"W": W * slope, "b": b * slope + intercept})
            case Dropout():
                pass
            case ReLU() | Sigmoid():
                found.append(Step(type(layer).__name__.lower(), {}))
            case _:
                raise InputError(f"{layer!r} cannot be exported")
    return found


def write_onnx(model: Module, path: str | Path, name: object = "model") -> None:
    """Write a network as an ONNX file: `pixels` (N, inputs), from 0 to 255 where the network
    normalises, to `probabilities` (N, K). Class names, image shape and architecture are metadata.

    Raises InputError if onnx is not installed, or as `steps` and `described` do.
    """
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError as error:
        raise InputError("onnx is missing: pip install onnx") from error
    classes, shape = described(model, name)
    weights, nodes, x = [], [], "pixels"

    def node(operator: str, *inputs: str, output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    for number, (kind, numbers) in enumerate(steps(model), start=1):
        names = {k: f"{kind}{number}.{k}" for k in numbers}
        weights += [numpy_helper.from_array(numbers[k], names[k]) for k in numbers]
        output = f"{kind}{number}"
        match kind:
            case "scale":
                scaled = node("Mul", x, names["scale"], output=f"{output}.product")
                x = node("Sub", scaled, names["shift"], output=output)
            case "affine":
                x = node("Gemm", x, names["W"], names["b"], output=output)
            case "relu" | "sigmoid":
                x = node({"relu": "Relu", "sigmoid": "Sigmoid"}[kind], x, output=output)
    node("Softmax", x, output="probabilities", axis=-1)

    dtype = helper.np_dtype_to_tensor_dtype(model.params.dtype)
    inputs = helper.make_tensor_value_info("pixels", dtype, ["batch", shape[0] * shape[1]])
    outputs = helper.make_tensor_value_info("probabilities", dtype, ["batch", len(classes)])
    graph = helper.make_graph(nodes, "network", [inputs], [outputs], weights)
    exported = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    facts = {"classes": classes, "image_shape": shape, "architecture": model.architecture()}
    helper.set_model_props(
        exported, {k: json.dumps(v, ensure_ascii=False) for k, v in facts.items()}
    )
    onnx.checker.check_model(exported)
    with atomic(path) as temporary:
        temporary.write_bytes(exported.SerializeToString(deterministic=True))
