"""A table as Markdown for people, as a tidy CSV for programs, as LaTeX for papers."""

import textwrap
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from analysis.compare.blocks import Block, Table, percent, shown
from analysis.compare.summary import COUNTS, UNFINISHED, in_order
from analysis.paper import BETWEEN_NOTES
from analysis.records.csv_text import csv_text

WIDTH = 110
NOTHING = "—"
TABULAR_ENDS = "\\end{tabular}\n"
LEGEND = (
    "Cells: mean ± sample standard deviation (n runs, one a seed); (2/3): two of three runs finished; "
    "—: no number; {}: {}."
)
Cell = dict[Hashable, Any]
Form = Callable[[Cell], str]
Kind = Literal["ours", "paper", "difference", "noise"]
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "—": "---",
    "·": r"$\cdot$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


@dataclass
class Writing:
    """How text is written in a format, and the footnotes of the table so far."""

    plain: Callable[[str], str]
    bold: Callable[[str], str]
    mark: Callable[[int], str]
    footnotes: list[str] = field(default_factory=list)

    def marked(self, text: str, footnotes: Sequence[str]) -> str:
        """The text, written, with the marks of its footnotes."""
        self.footnotes += [note for note in footnotes if note not in self.footnotes]
        return self.plain(text) + "".join(self.mark(self.footnotes.index(note) + 1) for note in footnotes)


@dataclass(frozen=True)
class Line:
    """A written line of a block: our numbers, the paper's, ours minus the paper's, or the realised noise.

    `texts` has an entry a column, and so has `cells` (what each text of ours is made of).
    """

    statistic: str
    label: str
    kind: Kind
    texts: list[str]
    cells: list[Cell]


def markdown(table: Table) -> str:
    """Headings, warnings, pipe tables and notes; text is wrapped so that it reads in a terminal too."""
    notes = [*table.notes, LEGEND.format("**bold**", table.bold)]
    parts = [f"# {table.title}", _listed(notes)]
    writing = Writing(plain=str, bold="**{}**".format, mark="[^{}]".format)
    for block in table.blocks:
        grid = _grid(block, writing)
        parts.append(f"## {block.title}")
        parts.append(_listed([f"**Warning:** {warning}" for warning in block.warnings]))
        parts.append(grid.to_markdown(index=False, disable_numparse=True))
        parts.append(_listed(block.notes))
    parts.append(
        "\n".join(
            textwrap.fill(f"[^{place}]: {text}", WIDTH, subsequent_indent="    ")
            for place, text in enumerate(writing.footnotes, start=1)
        )
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def tidy(table: Table) -> pd.DataFrame:
    """Every cell of every block as a row, in long form, with the block's title and warnings.

    Where `reference` is not empty the row holds differences to that row of the block.
    """
    frames = [block.cells.assign(block=block.title, warnings=" | ".join(block.warnings)) for block in table.blocks]
    cells = pd.concat(frames, ignore_index=True)
    # Blocks that are only the paper's have no counts; those of the others stay whole all the same.
    cells = cells.astype({name: "Int64" for name in COUNTS if name in cells})
    words = {name: "" for name in ("reference", "footnote", "note") if name in cells}
    return cells.fillna(words)[["block", *cells.columns.drop("block")]]


def csv(table: Table) -> str:
    """The tidy form as text."""
    return csv_text(tidy(table))


def latex(table: Table) -> str:
    """A booktabs table a block; the caption has the selection rule and the warnings, comments the notes."""
    parts = ["% needs \\usepackage{booktabs}"]
    writing = Writing(plain=_latex_escaped, bold=r"\textbf{{{}}}".format, mark="$^{{{}}}$".format)
    for block in table.blocks:
        writing.footnotes = []
        grid = _grid(block, writing)
        warnings = [f"Warning: {warning}." for warning in block.warnings]
        caption = [f"{table.title}: {block.title}.", *table.notes, LEGEND.format("bold", table.bold), *warnings]
        parts.extend(f"% {note}" for note in block.notes)
        text = (
            grid.style.hide(axis="index")
            .format_index(_latex_escaped, axis="columns")
            .to_latex(
                hrules=True,
                position_float="centering",
                column_format="ll" + "r" * (grid.shape[1] - 2),
                caption=_latex_escaped(" ".join(caption)),
            )
        )
        parts.append(text.replace(TABULAR_ENDS, TABULAR_ENDS + _latex_footnotes(writing.footnotes)))
    return "\n".join(parts)


def _latex_footnotes(footnotes: Sequence[str]) -> str:
    notes = [rf"$^{{{place}}}$ {_latex_escaped(text)}" for place, text in enumerate(footnotes, start=1)]
    return "".join(f"\\par\\footnotesize {note}\n" for note in notes)


RENDERERS: dict[str, Callable[[Table], str]] = {"md": markdown, "csv": csv, "latex": latex}


def headings(block: Block) -> list[str]:
    """What heads the columns: the statistic, the rows, and each value of the columns."""
    columns = in_order(block.cells[block.columns])
    values = [percent(column) if block.columns == "noise.rate" else shown(column) for column in columns]
    return ["statistic", block.rows.removesuffix(".name"), *values]


def lines(block: Block, writing: Writing) -> list[Line]:
    """The block as text: a line a (statistic, row), the paper's value and the difference beneath ours."""
    cells = block.cells.assign(best=_is_best(block))
    columns = in_order(cells[block.columns])
    written: list[Line] = []
    for (statistic, name), line in cells.groupby(["statistic", block.rows], sort=False):
        by_column = line.set_index(block.columns, drop=False).to_dict("index")
        in_line = [by_column.get(column, {}) for column in columns]
        form = _form(block.digits.get(str(statistic), 1), signed=name in block.differences)
        for kind, label, text in _texts(str(name), line, form, writing):
            written.append(Line(writing.plain(str(statistic)), label, kind, [*map(text, in_line)], in_line))
    if "realised_noise_rate" in cells:
        realised = cells.drop_duplicates(block.columns).set_index(block.columns)["realised_noise_rate"]
        texts = [writing.plain(percent(realised[column])) for column in columns]
        written.append(Line("", writing.plain("realised noise"), "noise", texts, []))
    return written


def _grid(block: Block, writing: Writing) -> pd.DataFrame:
    rows = [[line.statistic, line.label, *line.texts] for line in lines(block, writing)]
    return pd.DataFrame(rows, columns=headings(block))


def _is_best(block: Block) -> pd.Series | bool:
    if "mean" not in block.cells:
        return False
    # Means that read the same are equally good, and a row that stands alone is not the best of anything.
    digits = block.cells["statistic"].map(lambda statistic: block.digits.get(statistic, 1))
    # As it is printed: round() halves otherwise.
    means = pd.Series(
        [float(f"{mean:.{places}f}") for mean, places in zip(block.cells["mean"], digits, strict=True)],
        block.cells.index,
    )
    means = means.mask(block.cells[block.rows].isin(block.differences))
    means = means.where(~block.cells["statistic"].isin(block.lowest), -means)
    contest = ["statistic", block.columns, *([block.contest] if block.contest else [])]
    of_column = means.groupby([block.cells[key] for key in contest])
    return (means == of_column.transform("max")) & (of_column.transform("count") > 1)


def _texts(
    name: str, line: pd.DataFrame, form: Callable[[float], str], writing: Writing
) -> list[tuple[Kind, str, Form]]:
    """The lines of one row: what each is, what it is called, and what it says of a cell."""

    def ours(cell: Cell) -> str:
        text = writing.plain(_ours(cell, form))
        return writing.bold(text) if cell["best"] else text

    def value(key: str, form: Callable[[float], str]) -> Form:
        return lambda cell: writing.plain(NOTHING if pd.isna(cell.get(key)) else form(cell[key]))

    label = name if "mean" not in line else f"paper: {name}"
    of_paper: tuple[Kind, str, Form] = ("paper", *_paper_line(label, line, value("paper", form), writing))
    if "mean" not in line:
        return [of_paper]
    note = line["note"].iloc[0] if "note" in line else ""
    texts: list[tuple[Kind, str, Form]] = [("ours", writing.marked(name, [note] if note else []), ours)]
    if line["paper"].notna().any():
        texts.append(of_paper)
    if line["difference"].notna().any():
        texts.append(("difference", writing.plain("ours − paper"), value("difference", _form(1, signed=True))))
    return texts


def _paper_line(label: str, line: pd.DataFrame, number: Form, writing: Writing) -> tuple[str, Form]:
    """The paper's numbers; what is to be noted of all of several is marked at their name, the rest at its number."""
    numbers = line[line["paper"].notna()]
    notes = [_notes(cell) for cell in numbers.to_dict("records")]
    common = [note for note in notes[0] if all(note in others for others in notes)] if len(notes) > 1 else []
    name = writing.marked(label, common)
    return name, lambda cell: number(cell) + writing.marked("", [note for note in _notes(cell) if note not in common])


def _notes(cell: Cell) -> list[str]:
    footnote = cell.get("footnote")
    return footnote.split(BETWEEN_NOTES) if isinstance(footnote, str) and footnote else []


def _ours(cell: Cell, form: Callable[[float], str]) -> str:
    if not cell["n"]:
        return next((status for status in UNFINISHED if cell[status]), NOTHING)
    spread = f" ± {form(cell['std']).lstrip('+')}" if cell["n"] > 1 else ""
    count = cell["n"] if cell["n"] == cell["runs"] else f"{cell['n']}/{cell['runs']}"
    chance = "" if pd.isna(cell.get("p_value")) else f", {_p_value(cell['p_value'])}"
    return f"{form(cell['mean'])}{spread} ({count}){chance}"


def _p_value(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def _form(digits: int, signed: bool) -> Callable[[float], str]:
    if not signed:
        return lambda value: f"{value:.{digits}f}"
    # Adding zero turns the -0.0 of a rounded small difference into 0.0.
    return lambda value: f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def _listed(notes: Iterable[str]) -> str:
    return "\n".join(textwrap.fill(f"- {note}", WIDTH, subsequent_indent="  ") for note in notes)


def _latex_escaped(text: object) -> str:
    return "".join(LATEX.get(character, character) for character in str(text))
