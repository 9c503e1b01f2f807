"""ONNX, for onnxruntime and whatever else runs it. The metadata are the model's properties."""

import logging
import warnings
from collections.abc import Mapping
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.export import Dim

from sanm.errors import InputError
from sanm.export.graph import INPUT, OUTPUT, Graph

EXTENSION = ".onnx"
NEEDED = ("onnx", "onnxscript")


def exported(graph: Graph, example: Tensor, metadata: Mapping[str, str]) -> bytes:
    """The file's content; the batch may have any size. Raises InputError when a package is missing that it takes."""
    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        raise InputError(f"--format onnx needs {' and '.join(missing)}: pip install -e '.[export]', or torch_export")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={INPUT: {0: Dim("batch")}},
        )
    assert program is not None  # which it is where a file was asked for
    for node in program.model.graph:
        node.metadata_props.clear()  # where in which file of this machine it was made
    program.model.metadata_props.update(metadata)
    content: bytes = program.model_proto.SerializeToString()
    return content


def probabilities(file: bytes, images: Tensor) -> Tensor | None:
    """What the file says of images, run by onnxruntime on the host; None where that is not installed."""
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])
