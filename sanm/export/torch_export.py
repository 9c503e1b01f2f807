"""torch's own: an ExportedProgram (``.pt2``), for ``torch.export.load`` and AOTInductor. It needs no code of ours.

The metadata are its extra files, a name each.
"""

import io
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.export import Dim

from sanm.export.graph import INPUT, Graph

EXTENSION = ".pt2"


def exported(graph: Graph, example: Tensor, metadata: Mapping[str, str]) -> bytes:
    """The file's content; the batch may have any size."""
    program = torch.export.export(graph, (example,), dynamic_shapes={INPUT: {0: Dim("batch")}})
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # where in which file of this machine it was made
    file = io.BytesIO()
    torch.export.save(program, file, extra_files=dict(metadata))
    return file.getvalue()


def probabilities(file: bytes, images: Tensor) -> Tensor | None:
    """What the file says of images."""
    found: Tensor = torch.export.load(io.BytesIO(file)).module()(images)
    return found
