"""What is exported: pixels in, class probabilities out, with nothing left to do before or after."""

import json
from typing import Any

import torch
from torch import Tensor, nn

from sanm.trained_model import TrainedModel

INPUT, OUTPUT = "images", "probabilities"
KINDS = {"float32": "values in [0, 1]", "uint8": "values 0..255"}


class Graph(nn.Module):
    """Class probabilities ``[B, K]`` of images ``[B, C, H, W]``, float32 in [0, 1] or uint8; crop and normalisation are
    inside.
    """

    def __init__(self, model: TrainedModel, kind: str) -> None:
        super().__init__()
        self.model, self.kind = model, kind
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        probabilities: Tensor = self.model(images.float() / 255 if self.kind == "uint8" else images)
        return probabilities

    def random_images(self, count: int) -> Tensor:
        """Images of noise that the graph takes, the same each time."""
        shape = (count, self.model.channels, *self.model.image_size)
        values = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        return values if self.kind == "uint8" else values.float() / 255

    def signature(self) -> str:
        """Input and output in one line."""
        height, width = self.model.image_size
        given = f"{INPUT} {self.kind} [batch, {self.model.channels}, {height}, {width}], {KINDS[self.kind]}"
        return f"{given} -> {OUTPUT} float32 [batch, {len(self.model.class_names)}]"

    def metadata(self) -> dict[str, str]:
        """What the file says of itself: classes, in the order of the output, and where the weights come from."""
        about = self.model.about
        found: dict[str, Any] = {
            "classes": list(self.model.class_names),
            "signature": self.signature(),
            "preparation": about["input"]["preparation"].partition("; ")[0],
            "run": about["run"],
            "accuracy": about["accuracy"],
            "versions": about["versions"],
        }
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}
