"""A page that runs a trained network in the browser: one file, which needs no network."""

import base64
import json
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from mlp.export import steps
from mlp.files import InputError, write_text
from mlp.model_file import described
from mlp.module import Module
from mlp.pictures import Images


def write_page(model: Module, path: str | Path, samples: Images, name: object = "model") -> None:
    """Write the page. samples: images (N, rows, columns) to begin with, which may be none.

    Raises InputError as `steps` and `described` do, and if samples are no images of the model's
    shape.
    """
    classes, shape = described(model, name)
    if samples.dtype != np.uint8 or samples.shape[1:] != shape:
        needed = f"bytes (N, {shape[0]}, {shape[1]})"
        raise InputError(f"samples: {samples.dtype} {samples.shape}; {needed} are needed")
    network: list[dict[str, Any]] = []
    numbers = []
    for kind, arrays in steps(model):
        network.append({"kind": kind, "shapes": {k: v.shape for k, v in arrays.items()}})
        numbers += [array.reshape(-1) for array in arrays.values()]
    weights = np.concatenate(numbers).astype("<f4")
    data = {
        "classes": classes,
        "shape": shape,
        "steps": network,
        "weights": base64.b64encode(weights.tobytes()).decode(),
        "samples": [base64.b64encode(image.tobytes()).decode() for image in samples],
    }
    # "</script" would end the script that holds the data, and "<!--<script" keep it from ending
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    here = files(__package__)
    parts = {
        part: (here / f"{part}.{kind}").read_text(encoding="utf-8")
        for part, kind in {"style": "css", "picture": "js", "network": "js", "page": "js"}.items()
    }
    template = Template((here / "page.html").read_text(encoding="utf-8"))
    write_text(path, template.substitute(parts, data=text))
