"""`python -m analysis.labels RUN`: which labels of a finished run's data are wrong."""

import sys
from argparse import Namespace
from pathlib import Path

import pandas as pd

from analysis.command_line import Parser, exit_status, say
from analysis.labels.cleanlab_opinion import issues_by_cleanlab
from analysis.labels.folder import MANIFEST, check_free, check_not_another, write_files
from analysis.labels.health import health
from analysis.labels.issues import verdicts, worst_first
from analysis.labels.mended import Mended, mended
from analysis.labels.page import page, positions
from analysis.labels.pictures import Picture, pictures
from analysis.labels.places import Places, places_of
from analysis.labels.record import Record, find_run, read_record
from analysis.labels.reviewed import reviewed
from analysis.labels.summary import lines, markdown
from analysis.labels.truth import against_truth
from analysis.records.csv_text import csv_text
from sanm.errors import InputError

ERRORS, ALL, PAGE, SUMMARY = "label_errors.csv", "labels.csv", "label_errors.html", "health.md"
CLASSES, PAIRS, TRANSITION = "classes.csv", "pairs.csv", "transition_matrix.csv"
WORST = 200


def main(arguments: list[str] | None = None) -> int:
    """Writes what the command line asks for; returns the exit status."""
    return exit_status(lambda: _answer(_parser().parse_args(arguments)))


def _answer(options: Namespace) -> None:
    if options.worst < 0:
        raise InputError(f"--worst {options.worst}: give how many pictures to show, 0 for no page")
    if not 0 <= options.confidence <= 1:
        raise InputError(f"--confidence {options.confidence}: give a number in [0, 1]")
    if options.reviewed and not options.fix:
        raise InputError("--reviewed says which labels to mend: give --fix remove or --fix relabel with it")
    run = find_run(options.run, options.runs_dir)
    out = Path(options.out).expanduser() if options.out else run / "labels"
    record = read_record(run)
    places = places_of(record, options.root, options.table)
    rows = verdicts(record, issues_by_cleanlab(record) if options.cleanlab else None)
    repaired = None
    if options.fix:
        chosen = reviewed(Path(options.reviewed), record, rows) if options.reviewed else None
        repaired = mended(record, rows, places, options.fix, options.confidence, chosen)
    found, truth = health(record), against_truth(record)
    files = {
        ERRORS: csv_text(worst_first(rows)).encode(),
        ALL: csv_text(rows).encode(),
        CLASSES: csv_text(found.classes).encode(),
        PAIRS: csv_text(found.pairs).encode(),
        TRANSITION: csv_text(found.transition_matrix(record.class_names), index=True).encode(),
        SUMMARY: markdown(record, found, truth).encode(),
    }
    if repaired:
        files[repaired.name] = repaired.content
    read = [place for place in (places.table, options.reviewed and Path(options.reviewed)) if place]
    check_free(out, [*files, PAGE], options.overwrite, read)  # before pictures are read
    if repaired and not options.overwrite:
        check_not_another(out, repaired.name, repaired.content)
    note = ""
    if options.worst:
        text, note = _page(record, rows, places, options.worst)
        files[PAGE] = text.encode()
    write_files(out, files, options.overwrite)
    for line in lines(record, found, truth):
        say(line)
    if options.cleanlab:
        both = int((rows["is_cleanlab_issue"] & rows["is_label_issue"]).sum())
        say(f"cleanlab suspects {int(rows['is_cleanlab_issue'].sum())}, {both} of them suspected above; all in {ALL}")
    if note:
        say(f"no pictures: {note}")
    say(f"{out}: {', '.join(files)}")
    if repaired:
        _say_what_was_mended(repaired, out / repaired.name)


def _page(record: Record, rows: pd.DataFrame, places: Places, most: int) -> tuple[str, str]:
    worst = worst_first(rows).head(most)
    note, shown = "", dict[int, Picture]()
    try:
        wanted = positions(record, worst)
        shown = dict(zip(wanted, pictures(record, places, wanted), strict=True))
    except InputError as error:
        note = str(error)
    return page(record, worst, shown, int(rows["is_label_issue"].sum()), note), note


def _say_what_was_mended(repaired: Mended, path: Path) -> None:
    done = f"{repaired.relabelled} relabelled, {repaired.removed} left out"
    kept = f", {repaired.kept} suspected but kept" if repaired.kept else ""
    unseen = f", {repaired.unseen} rows that the run did not train on as they were" if repaired.unseen else ""
    say(f"{repaired.name}: {done}{kept}{unseen}")
    if repaired.corrected:
        say(f"{repaired.corrected} labels of the table are others by now than the run was given: they stay")
    try:
        words = repaired.command(path)
        say("to train on it:")
        say(f"  {words}")
    except InputError as error:
        say(f"how to train on it: {error}")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m analysis.labels",
        description="Which labels of a finished run's data are wrong: a ranked list, how noisy each class and pair "
        "of classes is, a page of the worst with pictures, and on demand a mended table to train on.",
    )
    parser.add_argument("run", metavar="RUN", help="a run directory; or its name or id in --runs_dir")
    parser.add_argument("--runs_dir", default="runs", metavar="DIR", help="where runs are (default: %(default)s)")
    parser.add_argument(
        "--out", metavar="DIR", help=f"where the files go (default: RUN/labels); {MANIFEST} there says which are ours"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files there, also those that are not ours")
    parser.add_argument(
        "--worst", type=int, default=WORST, metavar="N", help="pictures on the page, 0 for none (default: %(default)s)"
    )
    parser.add_argument("--root", metavar="DIR", help="data.root of the run, if it is not where the run found it")
    parser.add_argument("--table", metavar="FILE", help="data.path of a data=csv run, likewise")
    parser.add_argument(
        "--fix",
        choices=("relabel", "remove"),
        help="also write the labels mended: with suggested labels, or without the suspected samples",
    )
    parser.add_argument(
        "--confidence",
        type=float,
        default=0.5,
        metavar="P",
        help="relabel only where the network is at least so sure of its suggestion (default: %(default)s)",
    )
    parser.add_argument(
        "--reviewed",
        metavar="FILE",
        help=f"mend the samples of this table alone, with its labels: what the page has downloaded, or an edited copy "
        f"of {ERRORS}",
    )
    parser.add_argument("--cleanlab", action="store_true", help="also ask cleanlab, which has to be installed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
