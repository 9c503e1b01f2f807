"""The command line: ``python -m sanm.predict MODEL_OR_RUN IMAGES... [--out predictions.csv]``.

Exit statuses: 0 predicted, 2 bad input; nothing is written then.
"""

import sys
import time
from argparse import Namespace
from pathlib import Path

from sanm.errors import InputError
from sanm.machine.several.processes import check_alone
from sanm.terminal import output
from sanm.terminal.command_line import Parser, check_not_read, check_output, exit_status


def main(arguments: list[str] | None = None) -> int:
    """Predict what the command line names; returns the exit status."""
    return exit_status(lambda: _answer(_parser().parse_intermixed_args(arguments)))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sanm.predict",
        description="What a trained model says of images: a row an image, with its class and all probabilities.",
    )
    parser.add_argument("model", metavar="MODEL_OR_RUN", help="a model.pt, or the folder of a finished run")
    parser.add_argument(
        "images",
        metavar="IMAGES",
        nargs="+",
        help="files, folders (with all below them), or tables of files (.csv, .tsv) with a column file",
    )
    parser.add_argument(
        "--root", metavar="PATH", help="the folder that names in tables are relative to (default: the table's own)"
    )
    parser.add_argument("--column", metavar="NAME", help="the column of tables that names files (default: file)")
    parser.add_argument("--out", metavar="FILE", default="predictions.csv", help="default: %(default)s")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it is there")
    parser.add_argument(
        "--skip_bad",
        action="store_true",
        help="leave out images that cannot be decoded and folders that cannot be listed, and name them",
    )
    parser.add_argument("--top", type=int, metavar="K", help="the K most probable classes, not a column for each class")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1")
    parser.add_argument(
        "--batch_size",
        type=int,
        metavar="N",
        help="images at a time (default: as many as in tests: 500, or fewer if they are larger than 64x64)",
    )
    return parser


def _answer(options: Namespace) -> int:
    check_alone()
    out = Path(options.out).expanduser()
    check_output(out, options.overwrite, [Path(each).expanduser() for each in (options.model, *options.images)])
    if options.batch_size is not None and options.batch_size < 1:
        raise InputError(f"--batch_size {options.batch_size}: must be at least 1")
    from sanm.machine.device import choose_device
    from sanm.predict.image_list import listed
    from sanm.predict.predictions import predict
    from sanm.trained_model import model_path, read_model

    source = model_path(options.model)
    images = listed(options.images, options.root, options.column, options.skip_bad)
    check_not_read(out, [source, *(image.path for image in images)])
    model = read_model(source).to(choose_device(options.device))
    output.say(f"model    {model.line()}")
    began = time.perf_counter()
    at_once = options.batch_size or model.at_once
    left_out = predict(model, images, out, at_once, options.top, options.skip_bad)
    known = f" ({left_out} left out)" if left_out else ""
    output.say(f"done     {out}: {len(images) - left_out} images{known}, {time.perf_counter() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
