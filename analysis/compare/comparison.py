"""What most tables are: rows against columns under one protocol, declared in a few lines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from analysis.compare import paired, provenance
from analysis.compare.blocks import Block, Group, Table, group_by_protocol, labelled, percent, shown, titles
from analysis.compare.summary import ACCURACIES, SEEDS, Measure, selection_rules, summarise
from analysis.paper import beside_paper
from analysis.paper.beside_paper import PaperTable
from analysis.records.load import finished, setting_columns
from sanm.errors import InputError

COMPONENTS = "components.name"
PLAIN = "none"  # the component set of runs without SANM, and their row
# Methods tabulate these against the noise rate, so they may differ between the columns of one block.
FOLLOW_THE_RATE = (
    "base_method.lambda_u",
    "base_method.threshold",
    "base_method.noise_rate",
    "base_method.loss_window",
    "quality.window",
)
HEAD = {"data.name": "{}", "base_method.name": "{}", "noise.name": "{} noise", "noise.convention": "{}"}
HEAD_OF_SANM = {"data.name": "{}", "base_method.name": "{}", COMPONENTS: "{}"} | HEAD


@dataclass(frozen=True)
class Row:
    """A row of a block: the runs with its label, or where `difference_of` names two rows the first minus the second.

    `about` says in columns of the cells what the row is. A difference that is not `always` shown is where some column
    has two pairs for it.
    """

    label: str
    difference_of: tuple[str, str] | None = None
    about: Mapping[str, object] = field(default_factory=dict)
    always: bool = True


RowsOf = Callable[[pd.Series], list[Row]]


def of_sanm(values: Callable[[pd.DataFrame], pd.Series]) -> Callable[[pd.DataFrame], pd.Series]:
    """Rows by what these values are of runs with SANM, and one of runs without it, `PLAIN`."""

    def row_of(runs: pd.DataFrame) -> pd.Series:
        return values(runs).mask(runs.reindex(columns=[COMPONENTS])[COMPONENTS] == PLAIN, PLAIN)

    return row_of


def setting(key: str) -> Callable[[pd.DataFrame], pd.Series]:
    """The values of a setting as words; missing where a run has none."""

    def values(runs: pd.DataFrame) -> pd.Series:
        known = runs.reindex(columns=[key])[key].astype(object)
        return known.map(shown, na_action="ignore").astype("string")

    return values


def listed(order: Sequence[str], always: Sequence[str] = (), references: Sequence[str] = (PLAIN,)) -> RowsOf:
    """Rows in this order, those of `always` even where no run has them, then all others.

    Each row is compared with the first of the `references` that the block has.
    """

    def rows_of(labels: pd.Series) -> list[Row]:
        present = labels.unique().tolist()
        names = [name for name in order if name in always or name in present]
        names += sorted((name for name in present if name not in order), key=_by_size)
        reference = next((name for name in references if name in present), None)
        rows = []
        for name in names:
            rows.append(Row(name))
            if reference is not None and name != reference:
                rows.append(Row(f"{name} − {reference}", (name, reference), always=False))
        return rows

    return rows_of


@dataclass(frozen=True)
class Comparison:
    """The declaration of a table, which `table` makes.

    `rows` names and heads the rows; `row_of` says in which row a run stands (missing: in none), `rows_of` which rows
    a block has, given the labels of its runs; `needs` is what of a run they ask for. `columns` are settings: of two,
    each column is a pair. Rows differ in `varies` (settings, and whole sections but for `alike`), columns may in
    `follows`; all other settings are the protocol, which is a block. `only` keeps runs whose settings are among these
    values (None: not set). A block has at `least` so many `contrasts`, as a rule rows beside that of runs without
    SANM. `make` is a command that makes runs for the table. `measures` are the numbers there are, `statistics` those
    printed unless others are asked for; `prepare` adds what records do not have. `notes_of` and `warnings_of` say
    something of the runs of a block.
    """

    title: str
    rows: str
    row_of: Callable[[pd.DataFrame], pd.Series]
    rows_of: RowsOf
    needs: str
    make: str
    columns: tuple[str, ...] = ("noise.rate",)
    varies: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()
    follows: tuple[str, ...] = FOLLOW_THE_RATE
    only: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    least: int = 1
    contrasts: Callable[[pd.Series], int] = lambda labels: len({*labels} - {PLAIN})
    head: Mapping[str, str] = field(default_factory=lambda: HEAD)
    measures: Mapping[str, Measure] = field(default_factory=lambda: ACCURACIES)
    statistics: tuple[str, ...] = ("best", "last")
    contest: str | None = None
    bold: str = "best of its column"
    paper: PaperTable | None = None
    prepare: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    notes: tuple[str, ...] = ()
    notes_of: Callable[[pd.DataFrame], list[str]] | None = None
    warnings_of: Callable[[pd.DataFrame], list[str]] | None = None

    @property
    def column(self) -> str:
        """The name of the factor whose values are columns."""
        return " · ".join(self.columns)

    def table(self, runs: pd.DataFrame, statistics: Sequence[str] | None = None) -> Table:
        """A block a protocol, then the paper's own rows; raises `InputError` when no run can stand in the table."""
        chosen = self._chosen(statistics)
        finished(runs)
        runs = self.prepare(runs) if self.prepare else runs
        fitting, others = self._fitting(runs)
        placed, left_out = self._placed(fitting, runs)
        chosen, lacking = self._with_numbers(placed, chosen, asked_for=statistics is not None)
        groups, alone = self._groups(placed)
        named = sorted(zip(titles(groups, self.head), groups, strict=True), key=lambda pair: pair[0])
        blocks = [self._block(title, group, chosen) for title, group in named]
        form = (self.rows, self.column, self.contest)
        references = beside_paper.references(self.paper, groups, chosen, [*self.head], form) if self.paper else []
        remarks = [*_on_differences(blocks), *lacking, *others, *left_out, *alone]
        return Table(
            title=self.title,
            blocks=(*blocks, *references),
            notes=(self._rule(placed, chosen), *self.notes, *remarks),
            bold=self.bold,
        )

    def _chosen(self, statistics: Sequence[str] | None) -> Sequence[str]:
        unknown = [name for name in statistics or () if name not in self.measures]
        if unknown:
            raise InputError(
                f"unknown statistic {unknown[0]!r}; known statistics of this table: {', '.join(self.measures)}"
            )
        return statistics or self.statistics

    def _fitting(self, runs: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
        """The runs that the table is about, and what others there are."""
        remarks = []
        kept = runs.reindex(columns=pd.Index([*runs.columns, *self.columns, *self.only]).unique())
        for key, allowed in self.only.items():
            of_it = kept[key].isin(allowed) | (kept[key].isna() & (None in allowed))
            unknown = kept[key].isna() & ~of_it
            if not of_it.any():
                wanted = " or ".join(map(shown, allowed))
                raise InputError(f"no run here has {key} {wanted}: {self._what_then(runs)}")
            if (~of_it & ~unknown).any():
                count, found = (~of_it & ~unknown).sum(), provenance.distinct(kept.loc[~of_it, key])
                remarks.append(f"Left out: {count} with {key} {found}.")
            kept = kept[of_it | unknown]
        return kept, remarks

    def _placed(self, fitting: pd.DataFrame, runs: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
        """The runs that have a row and a column, labelled with both, and what is left out."""
        values = fitting.assign(**{key: _numbers_of_rates(fitting[key]) for key in self.columns})
        labelled_runs = values.assign(**{self.rows: self.row_of(values).astype(object)})
        fits = pd.Series(True, fitting.index)
        for key, allowed in self.only.items():
            fits &= fitting[key].isin(allowed) | (None in allowed)
        placed = labelled_runs[fits].dropna(subset=[self.rows, *self.columns])
        if placed.empty:
            factors = " and ".join([self.needs, *self.columns])
            raise InputError(f"no run here has both {factors}, which this table needs: {self._what_then(runs)}")
        return self._with_column(placed), provenance.left_out(fitting, placed, self.needs, self.column)

    def _what_then(self, runs: pd.DataFrame) -> str:
        return f"found {provenance.what_is_there(runs)}; make such runs with: {self.make}"

    def _with_numbers(
        self, placed: pd.DataFrame, statistics: Sequence[str], asked_for: bool
    ) -> tuple[Sequence[str], list[str]]:
        """The statistics that any finished run has, all of them where they were asked for, and a line on the others."""
        done = placed[placed["status"] == "done"]
        without = [name for name in statistics if done[self.measures[name].column].isna().all()]
        if len(done) and len(without) == len(statistics):
            columns = [self.measures[name].column.removeprefix("result.") for name in statistics]
            if "validation" in self.measures and done["validation_accuracy"].notna().any():
                raise InputError(
                    f"none of the {len(done)} finished runs of this table has a test set, and so no "
                    f"{' or '.join(statistics)}: give --statistic validation"
                )
            raise InputError(
                f"none of the {len(done)} finished runs of this table has {' or '.join(statistics)} "
                f"(result.json: {', '.join(columns)}), with which runs record it: {self.make}"
            )
        if asked_for or not len(done) or not without:
            return statistics, []
        return [name for name in statistics if name not in without], [f"No finished run has {', '.join(without)}."]

    def _with_column(self, runs: pd.DataFrame) -> pd.DataFrame:
        if len(self.columns) == 1:
            return runs
        runs = runs.sort_values(list(self.columns), kind="stable")
        words = [runs[key].map(percent if key == "noise.rate" else shown) for key in self.columns]
        return runs.assign(**{self.column: [" · ".join(parts) for parts in zip(*words, strict=True)]})

    def _groups(self, placed: pd.DataFrame) -> tuple[list[Group], list[str]]:
        """The runs of each block, and a line on those whose protocol has too few rows."""
        varying = (*self.varies, *self.follows, *self.columns, self.rows, self.column, *SEEDS)
        if "components" not in varying:
            placed = _without_settings_of_plain_runs(placed)
        groups = group_by_protocol(placed, self.rows, varying, self.alike)
        if self.least == 1:
            return groups, []
        full = [group for group in groups if self.contrasts(group.runs[self.rows]) >= self.least]
        if not full:
            found = provenance.distinct(placed.loc[placed[self.rows] != PLAIN, self.rows])
            raise InputError(
                f"no two runs here differ in {self.needs} and nothing else ({self.rows}: {found}), so there is nothing "
                f"to compare; make such runs with: {self.make}"
            )
        used = {place for group in full for place in group.runs.index}
        alone = len(placed.index.difference(list(used)))
        return full, [f"Left out: {alone} whose protocol has one value of {self.rows} alone."] if alone else []

    def _block(self, title: str, group: Group, statistics: Sequence[str]) -> Block:
        cells = self._cells(group.runs, statistics)
        cells, comparison = beside_paper.beside(self.paper, cells, group, self.rows, self.column)
        is_difference = cells["reference"] != ""
        compared = cells[is_difference].set_index(self.rows)[["minuend", "reference"]]
        cells = cells.drop(columns="minuend")
        return Block(
            title=title,
            rows=self.rows,
            columns=self.column,
            cells=labelled(cells, group.settings, [key for key in self.head if key not in cells]),
            warnings=(
                *provenance.mixed_code(group.runs),
                *provenance.shortened(self._mixed(group.runs)),
                *provenance.repeated_seeds(group.runs, self.rows, self.column),
            ),
            notes=(
                provenance.protocol(group.settings),
                *comparison,
                *(self.notes_of(group.runs) if self.notes_of else []),
                *provenance.without_test(group.runs),
                *provenance.unfinished(group.runs, self.rows, self.column),
                *provenance.not_started(cells[~is_difference], self.rows, self.column),
                provenance.code(group.runs),
            ),
            contest=self.contest,
            differences=frozenset(cells.loc[is_difference, self.rows]),
            digits={name: self.measures[name].digits for name in statistics},
            lowest=frozenset(name for name in statistics if self.measures[name].lowest_is_best),
            runs=group.runs,
            compared={str(row): (more, less) for row, more, less in compared.itertuples()},
        )

    def _cells(self, runs: pd.DataFrame, statistics: Sequence[str]) -> pd.DataFrame:
        found_in = {name: self.measures[name].column for name in statistics}
        rows = self.rows_of(runs[self.rows])
        pairs = {row.label: row.difference_of for row in rows if row.difference_of}
        differences = paired.differences(runs, self.rows, self.column, pairs, found_in)
        with_spread = {*differences.loc[differences["n"] > 1, self.rows]}
        rows = [row for row in rows if row.always or row.label in with_spread]
        order = [row.label for row in rows]
        index = ["statistic", self.rows, self.column]
        cells = summarise(runs, self.rows, self.column, order, statistics, found_in).set_index(index)
        differences = differences[differences[self.rows].isin(order)].set_index(index)
        cells["p_value"] = float("nan")
        cells.loc[differences.index, differences.columns] = differences
        cells.loc[differences.index, "missing"] -= differences["runs"]
        if len(self.columns) > 1:
            cells = cells.join(runs.drop_duplicates(self.column).set_index(self.column)[list(self.columns)])
        cells = cells.join(_seconds_per_epoch(runs, self.rows, self.column)).reset_index()
        return cells.join(_what_they_are(rows), on=self.rows)

    def _mixed(self, runs: pd.DataFrame) -> list[str]:
        following = [key for key in self.follows if key in runs]
        return [*self._mixed_cells(runs), *provenance.mixed_settings(runs, following, within=[self.column])]

    def _mixed_cells(self, runs: pd.DataFrame) -> list[str]:
        if self.warnings_of:
            return self.warnings_of(runs)
        sections = tuple(f"{name}." for name in self.varies)
        varied = [key for key in setting_columns(runs) if key.startswith(sections) or key in self.varies]
        return provenance.mixed_settings(runs, varied, within=[self.rows, self.column])

    def _rule(self, runs: pd.DataFrame, statistics: Sequence[str]) -> str:
        if self.measures is ACCURACIES:
            return selection_rules(runs, statistics)
        return f"Numbers: {'; '.join(f'{name} = {self.measures[name].rule}' for name in statistics)}."


def _what_they_are(rows: Sequence[Row]) -> pd.DataFrame:
    compared = [row.difference_of or ("", "") for row in rows]
    facts = [
        {"minuend": more, "reference": less, **row.about} for row, (more, less) in zip(rows, compared, strict=True)
    ]
    return pd.DataFrame(facts, index=[row.label for row in rows])


def _seconds_per_epoch(runs: pd.DataFrame, rows: str, column: str) -> pd.Series:
    done = runs[runs["status"] == "done"]
    return (done["seconds"] / done["epochs"]).groupby([done[rows], done[column]]).mean().rename("seconds_per_epoch")


def _on_differences(blocks: Sequence[Block]) -> list[str]:
    found = pd.concat([block.cells.loc[block.cells["reference"] != "", "p_value"] for block in blocks])
    return paired.explained(found.tolist()) if len(found) else []


def _without_settings_of_plain_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """A run without SANM has no settings of it, so that it stands beside every run with SANM."""
    switches = [key for key in runs.columns if key.startswith("components.")]
    plain = runs.reindex(columns=[COMPONENTS])[COMPONENTS] == PLAIN
    return runs.assign(**{key: runs[key].astype(object).mask(plain) for key in switches})


def _numbers_of_rates(values: pd.Series) -> pd.Series:
    return pd.to_numeric(values, errors="coerce") if values.name == "noise.rate" else values


def _by_size(name: str) -> tuple[float, str]:
    """Numbers first and by size, words after them."""
    head = name.split(maxsplit=1)[0]
    try:
        return float(head), name
    except ValueError:
        return float("inf"), name
