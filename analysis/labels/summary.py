"""The health of a run's labels in words, as Markdown and for the terminal."""

import html
import re

from analysis.labels.copies import FILE as COPIES
from analysis.labels.health import Health
from analysis.labels.pictures import WITHOUT_FILES
from analysis.labels.record import Record
from analysis.labels.truth import AgainstTruth
from sanm.terminal.output import printable

MARKUP = re.compile(r"[\\`*|\[\]]")
"""Characters that Markdown gives a meaning inside a line; those of HTML are escaped as HTML does."""
MOST_ROWS = 20
"""Of a table in the summary; the CSV files have all."""
MOST_COLUMNS = 20
NEARLY_ALL = 0.97
"""Of the given labels: a network that predicts so many of them may know them by heart."""

LABELS_AS_GIVEN = ("none", "file", "human")
"""Names of `noise` that draw none: labels are those of the data, or of a file."""


def lines(record: Record, found: Health, truth: AgainstTruth | None) -> list[str]:
    """What to know at once, a fact a line."""
    said = [
        f"suspected labels: {found.label_issues} of {found.samples} ({_percent(found.label_issues / found.samples)})",
        f"estimated share of wrong labels: {_percent(found.noise_rate)}",
    ]
    if len(found.pairs):
        worst = found.pairs.iloc[0]
        said.append(
            f"most confused: {worst['given_label']} that is rather {worst['predicted_label']}, about "
            f"{worst['estimated_wrong']:.0f} samples"
        )
    if count := int(record.copies.outvoted.sum()):
        said.append(f"copies of one image with different labels: {count} of the suspected, as {COPIES} of the run says")
    if noise := _noise_of_the_run(record):
        said.append(
            f"the run itself put noise on the labels ({noise}): what is suspected here are the labels that it "
            "trained on, not those of the data"
        )
    said += [*_by_features(record), *_left_aside(record), *_how_well_learned(record, found)]
    agreed = float((record.predicted == record.given).mean())
    if agreed >= NEARLY_ALL and record.evidence is None:
        said.append(
            f"the method predicts the given label of {_percent(agreed)} of the samples: they are clean, or it has "
            "memorised them, and then suspects too few"
        )
    if truth is not None:
        said.append(
            f"against the recorded truth of {truth.known} samples, {_percent(truth.wrong_share)} of them wrong: "
            f"precision {_score(truth.precision)}, recall {_score(truth.recall)}, AUROC {_score(truth.auroc)}"
        )
    elif record.result.get("clean_auroc") is not None and record.evidence is None:
        said.append(f"against the truth, by the run's own record: AUROC {record.result['clean_auroc']:.3f}")
    return said


def markdown(record: Record, found: Health, truth: AgainstTruth | None) -> str:
    """The whole summary."""
    classes = found.classes.sort_values("label_noise", ascending=False, kind="stable")
    # A bar ends a cell of Markdown, and class names are whatever people call their folders.
    names = [_cell(name) for name in record.class_names]
    parts = [
        f"# Labels of {_cell(record.path.name)}",
        "\n".join(f"- {_cell(line)}" for line in lines(record, found, truth)),
        f"Estimates, from {'frozen features' if record.evidence else 'the losses and predictions'} of one run "
        "(docs/labels.md).",
        "## Classes, the noisiest first" + _of_all(len(classes)),
        _table(
            ("class", "given", "suspected", "suggested", "label noise", "inverse label noise"),
            [
                (
                    _cell(row["class_name"]),
                    str(row["given"]),
                    str(row["label_issues"]),
                    str(row["inverse_label_issues"]),
                    _percent(row["label_noise"]),
                    _percent(row["inverse_label_noise"]),
                )
                for row in classes.head(MOST_ROWS).to_dict("records")
            ],
        ),
        "Label noise: share of those given this label that are another class. Inverse: share of those that are this "
        "class and are given another label.",
        "## Pairs, the most confused first" + _of_all(len(found.pairs)),
        _table(
            ("given", "rather", "suspected", "estimated wrong", "share of given"),
            [
                (
                    _cell(row["given_label"]),
                    _cell(row["predicted_label"]),
                    str(row["label_issues"]),
                    f"{row['estimated_wrong']:.1f}",
                    _percent(row["share_of_given"]),
                )
                for row in found.pairs.head(MOST_ROWS).to_dict("records")
            ],
        ),
    ]
    if len(names) <= MOST_COLUMNS:
        shares = found.transition_matrix(record.class_names).to_numpy()
        parts += [
            "## Transition matrix: a row a true class, a column a given label, in percent",
            _table(
                ("", *names),
                [
                    (name, *("—" if share != share else f"{100 * share:.1f}" for share in row))
                    for name, row in zip(names, shares.tolist(), strict=True)
                ],
            ),
        ]
    return "\n\n".join(parts) + "\n"


def _by_features(record: Record) -> list[str]:
    """Lines on what frozen features say, which then judge in the place of the method."""
    if (found := record.evidence) is None:
        return []
    said = [
        "judged by frozen features: a linear fit on all other samples (linear_fit) and the votes of the nearest ones "
        "(neighbour_votes), neither of which has seen the label that it judges"
    ]
    if copies := int((found.near_copies(record.given) >= 0).sum()):
        said.append(f"nearly the same image with another label: {copies} samples (near_copy_with_another_label)")
    return said


def _left_aside(record: Record) -> list[str]:
    """A line on training samples that the run did not look at."""
    validation, labels = record.data.get("validation") or 0, record.result.get("validation_labels")
    # A verified part is the data set's own, unless the set has none: those that are one file of images.
    part_of_its_own = labels == "given" or (labels == "true" and record.data.get("name") not in WITHOUT_FILES)
    if not validation or part_of_its_own:
        return []
    return [f"not judged: {100 * validation:g} % of the training samples, which the run held out (data.validation)"]


def _how_well_learned(record: Record, found: Health) -> list[str]:
    """How far the network is to be trusted: whether SANM took part in the run at all, and its accuracy."""
    said = []
    start, epochs = (record.config.get("components") or {}).get("start"), record.result.get("epochs")
    if start is not None and epochs is not None and start >= epochs:
        said.append(
            f"the run was over after {epochs} epochs, before SANM set in (components.start={start}): train longer, or "
            "let it begin earlier (base_method.warm_up)"
        )
    result = record.result
    if result.get("last_accuracy") is not None:
        said.append(f"the network is right on {result['last_accuracy']:.1f} % of the test images (its last epochs)")
    elif result.get("validation_accuracy") is not None:
        accuracy = result["validation_accuracy"]
        said.append(f"the network agrees with {accuracy:.1f} % of the validation labels (its best epoch)")
    if found.label_issues > found.samples / 2:
        said.append(
            "more than half of the labels are suspected: a network that has learned little suspects right ones, so "
            "look at some before --fix"
        )
    return said


def _noise_of_the_run(record: Record) -> str:
    """What noise the run drew for its labels; empty where it took them as they came, or from a file."""
    noise = record.config.get("noise") or {}
    if noise.get("name", "none") in LABELS_AS_GIVEN:
        return ""
    return f"noise={noise['name']}" + (f" noise.rate={noise['rate']}" if "rate" in noise else "")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    rule = "|" + "|".join([":---", *["---:"] * (len(head) - 1)]) + "|"
    return "\n".join([_row(head), rule, *map(_row, rows)])


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """Text that Markdown shows as it is: no HTML, no link or picture, no end of a cell."""
    return html.escape(MARKUP.sub(r"\\\g<0>", printable(text)), quote=False)


def _of_all(count: int) -> str:
    return f" ({MOST_ROWS} of {count})" if count > MOST_ROWS else ""


def _percent(share: float) -> str:
    return "—" if share != share else f"{100 * share:.1f} %"


def _score(value: float | None) -> str:
    return "—" if value is None else f"{value:.3f}"
