"""A table as Markdown for people, as a tidy CSV for programs, as LaTeX for papers."""

import textwrap
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from analysis.blocks import Block, Table, shown
from analysis.summary import COUNTS, UNFINISHED

WIDTH = 110
NOTHING = "—"
LEGEND = (
    "Cells: mean ± sample standard deviation (n runs, one a seed); (2/3): two of three runs finished; "
    "—: no number; {}: {}."
)
Cell = dict[Hashable, Any]
Number = Callable[[float], str]
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


@dataclass(frozen=True)
class Line:
    """A line of a printed block: our numbers, the paper's, ours minus the paper's, or the realised noise.

    `texts`, `best` (is it printed bold?) and `cells` (what a number of ours is made of) have an entry a column.
    """

    statistic: str
    label: str
    kind: Kind
    texts: list[str]
    best: list[bool]
    cells: list[Cell]


def markdown(table: Table) -> str:
    """Headings, warnings, pipe tables and notes; text is wrapped so that it reads in a terminal too."""
    notes = [*table.notes, LEGEND.format("**bold**", table.bold)]
    parts = [f"# {table.title}", _listed(notes)]
    for block in table.blocks:
        grid = _grid(block, plain=str, bold="**{}**".format)
        parts.append(f"## {block.title}")
        parts.append(_listed([f"**Warning:** {warning}" for warning in block.warnings]))
        parts.append(grid.to_markdown(index=False, disable_numparse=True))
        parts.append(_listed(block.notes))
    return "\n\n".join(part for part in parts if part) + "\n"


def csv(table: Table) -> str:
    """Every cell of every block as a row, in long form, with the block's title and warnings."""
    frames = [block.cells.assign(block=block.title, warnings=" | ".join(block.warnings)) for block in table.blocks]
    cells = pd.concat(frames, ignore_index=True)
    # Blocks that are only the paper's have no counts; those of the others stay whole all the same.
    cells = cells.astype({name: "Int64" for name in COUNTS if name in cells})
    return cells[["block", *cells.columns.drop("block")]].to_csv(index=False, float_format="%.6g", lineterminator="\n")


def latex(table: Table) -> str:
    """A booktabs table a block; the caption has the selection rule and the warnings, comments the notes."""
    parts = ["% needs \\usepackage{booktabs}"]
    for block in table.blocks:
        grid = _grid(block, plain=_latex_escaped, bold=r"\textbf{{{}}}".format)
        warnings = [f"Warning: {warning}." for warning in block.warnings]
        caption = [f"{table.title}: {block.title}.", *table.notes, LEGEND.format("bold", table.bold), *warnings]
        parts.extend(f"% {note}" for note in block.notes)
        parts.append(
            grid.style.hide(axis="index")
            .format_index(_latex_escaped, axis="columns")
            .to_latex(
                hrules=True,
                position_float="centering",
                column_format="ll" + "r" * (grid.shape[1] - 2),
                caption=_latex_escaped(" ".join(caption)),
            )
        )
    return "\n".join(parts)


RENDERERS: dict[str, Callable[[Table], str]] = {"md": markdown, "csv": csv, "latex": latex}


def headings(block: Block) -> list[str]:
    """The names of the columns, in their order: of the statistic, of the rows, and of each value of the columns."""
    columns = _columns(block)
    values = [_percent(column) if block.columns == "noise.rate" else shown(column) for column in columns]
    return ["statistic", block.rows.removesuffix(".name"), *values]


def lines(block: Block) -> list[Line]:
    """The block as text: a line a (statistic, row), the paper's value and the difference beneath ours."""
    cells = block.cells.assign(best=_is_best(block))
    columns = _columns(block)
    result = []
    for (statistic, name), line in cells.groupby(["statistic", block.rows], sort=False):
        by_column = line.set_index(block.columns, drop=False).to_dict("index")
        in_order = [by_column[column] for column in columns]
        for kind, label, text in _texts(str(name), line, _signed if name in block.differences else _number):
            best = [kind == "ours" and bool(cell["best"]) for cell in in_order]
            result.append(Line(str(statistic), label, kind, [text(cell) for cell in in_order], best, in_order))
    if "realised_noise_rate" in cells:
        realised = cells.drop_duplicates(block.columns).set_index(block.columns)["realised_noise_rate"]
        texts = [_percent(realised[column]) for column in columns]
        result.append(Line("", "realised noise", "noise", texts, [False] * len(texts), []))
    return result


def _grid(block: Block, plain: Callable[[str], str], bold: Callable[[str], str]) -> pd.DataFrame:
    """The printed block as a frame of strings."""
    rows = [
        [plain(line.statistic), plain(line.label)]
        + [bold(plain(text)) if best else plain(text) for text, best in zip(line.texts, line.best, strict=True)]
        for line in lines(block)
    ]
    return pd.DataFrame(rows, columns=headings(block))


def _columns(block: Block) -> list[Any]:
    return sorted(block.cells[block.columns].unique())


def _is_best(block: Block) -> pd.Series | bool:
    if "mean" not in block.cells:
        return False
    # Means that read the same are equally good, and a row that stands alone is not the best of anything.
    means = block.cells["mean"].map(lambda mean: float(f"{mean:.1f}"))  # as it is printed: round() halves otherwise
    means = means.mask(block.cells[block.rows].isin(block.differences))
    contest = ["statistic", block.columns, *([block.contest] if block.contest else [])]
    of_column = means.groupby([block.cells[key] for key in contest])
    return (means == of_column.transform("max")) & (of_column.transform("count") > 1)


def _texts(name: str, line: pd.DataFrame, number: Number) -> list[tuple[Kind, str, Callable[[Cell], str]]]:
    def value(key: str, form: Number) -> Callable[[Cell], str]:
        return lambda cell: NOTHING if pd.isna(cell[key]) else form(cell[key])

    if "mean" not in line:
        return [("paper", name, value("paper", number))]
    texts: list[tuple[Kind, str, Callable[[Cell], str]]] = [("ours", name, lambda cell: _ours(cell, number))]
    if line["paper"].notna().any():
        texts.append(("paper", f"paper: {name}", value("paper", number)))
    if line["difference"].notna().any():
        texts.append(("difference", "ours − paper", value("difference", _signed)))
    return texts


def _ours(cell: Cell, number: Number) -> str:
    if not cell["n"]:
        return next((status for status in UNFINISHED if cell[status]), NOTHING)
    spread = f" ± {cell['std']:.1f}" if cell["n"] > 1 else ""
    count = cell["n"] if cell["n"] == cell["runs"] else f"{cell['n']}/{cell['runs']}"
    return f"{number(cell['mean'])}{spread} ({count})"


def _number(value: float) -> str:
    return f"{value:.1f}"


def _signed(value: float) -> str:
    # Adding zero turns the -0.0 of a rounded small difference into 0.0.
    return f"{round(value, 1) + 0.0:+.1f}".replace("-", "−")


def _percent(rate: float) -> str:
    return "unknown" if pd.isna(rate) else f"{100 * rate:.3g} %"


def _listed(notes: Iterable[str]) -> str:
    return "\n".join(textwrap.fill(f"- {note}", WIDTH, subsequent_indent="  ") for note in notes)


def _latex_escaped(text: object) -> str:
    return "".join(LATEX.get(character, character) for character in str(text))
