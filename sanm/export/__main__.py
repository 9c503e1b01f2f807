"""The command line: ``python -m sanm.export MODEL_OR_RUN --format onnx|torch_export [--out FILE]``.

The file is run once, on images of noise, before it is written. Exit statuses: 0 exported, 1 what the file says differs
from what torch says, 2 bad input; nothing is written then.
"""

import sys
from argparse import Namespace
from pathlib import Path

from sanm.run import FAILED
from sanm.terminal import output
from sanm.terminal.command_line import Parser, check_output, exit_status

FORMATS = ("onnx", "torch_export")
INPUTS = ("float32", "uint8")
CHECKED = 8
"""Images that the file is run on."""
TOLERANCE = 1e-4
"""Of a probability."""


def main(arguments: list[str] | None = None) -> int:
    """Export what the command line names; returns the exit status."""
    return exit_status(lambda: _answer(_parser().parse_args(arguments)))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sanm.export",
        description="A trained model as a file for other programs: images in, class probabilities out.",
    )
    parser.add_argument("model", metavar="MODEL_OR_RUN", help="a model.pt, or the folder of a finished run")
    parser.add_argument(
        "--format", choices=FORMATS, required=True, help="onnx (.onnx), or torch's ExportedProgram (.pt2)"
    )
    parser.add_argument("--out", metavar="FILE", help="default: beside the model, with the format's extension")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it is there")
    parser.add_argument(
        "--input", choices=INPUTS, default=INPUTS[0], help="what images are: in [0, 1] (default), or 0 to 255"
    )
    return parser


def _answer(options: Namespace) -> int:
    from importlib import import_module

    from sanm.export.graph import Graph
    from sanm.files import write_bytes
    from sanm.trained_model import model_path, read_model

    written = import_module(f"sanm.export.{options.format}")
    source = model_path(options.model)
    out = Path(options.out).expanduser() if options.out else source.with_suffix(written.EXTENSION)
    check_output(out, options.overwrite, [source])
    graph = Graph(read_model(source), options.input)
    output.say(f"model    {graph.model.line()}")
    images = graph.random_images(CHECKED)
    file = written.exported(graph, images[:2], graph.metadata())
    found = written.probabilities(file, images)
    difference = None if found is None else float((found - graph(images)).abs().max())
    if difference is not None and not difference <= TOLERANCE:
        output.complain(f"failed   the file's probabilities differ from torch's by up to {difference:.1e}")
        return FAILED
    write_bytes(out, file)
    print(f"done     {out}: {len(file) / 1e6:.2f} MB; {graph.signature()}")
    output.say(_checked(difference))
    return 0


def _checked(difference: float | None) -> str:
    if difference is None:
        return "unchecked: onnxruntime is not installed (pip install -e '.[export]')"
    return f"checked  {CHECKED} images of noise: probabilities differ from torch's by at most {difference:.1e}"


if __name__ == "__main__":
    sys.exit(main())
