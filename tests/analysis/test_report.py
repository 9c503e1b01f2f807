"""The report as text: what is in the page, what is left out and said to be, and what never becomes markup."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import figures, tables
from analysis.figures.chart import Chart
from analysis.figures.style import figure
from analysis.records import Records
from analysis.report.__main__ import main
from analysis.report.page import page
from sanm.errors import InputError
from tests.analysis.conftest import config, writer

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def some_runs(runs_dir: Path) -> Path:
    return write_some_runs(runs_dir)


@pytest.fixture(scope="module")
def same_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, for tests that leave them as they are."""
    return write_some_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def text(same_runs: Path) -> str:
    return text_of(same_runs)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without figures, which take most of a page's time."""
    monkeypatch.setattr(figures, "names", list)


def write_some_runs(runs_dir: Path) -> Path:
    """Six finished runs, one that failed, one interrupted and one that cannot be read."""
    write_run = writer(runs_dir)
    for seed in (1, 2):
        for rate in (0.5, 0.8):
            write_run(config("full", rate, seed), best=80.0 + seed)
        write_run(config("none", 0.5, seed), best=70.0 + seed)
    write_run(config("amg", 0.5, 1), failure=f"RuntimeError: {SCRIPT}\n\ncommand: components=amg seed=1")
    write_run(config("amg", 0.8, 1))
    (write_run(config("none", 0.8, 1), best=60.0) / "result.json").write_text('{"sta')
    return runs_dir


def text_of(directory: Path, **options: Any) -> str:
    return page(Records(directory), **options)


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def section(text: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">.*?</section>', text, re.DOTALL)
    assert found, name
    return found[0]


@pytest.mark.usefixtures("undrawn")
def test_the_head_says_what_these_runs_are(some_runs: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("none", 0.2), best=90.0, commit="0123456789", finished="2026-11-22T08:00:00+00:00")
    head = text_of(some_runs).partition("<main>")[0]
    for words in (
        "10 runs",
        "7 done",
        "1 failed",
        "1 interrupted",
        "1 unreadable",
        "dividemix (10)",
        "digits (10)",
        "symmetric 50 % (5)",
        "2026-11-20 12:00 to 2026-11-22 08:00",
        "commits are mixed: commit abcdef0123 (6 runs), commit 0123456789 (1 run)",
        "best = highest test accuracy of any epoch",
    ):
        assert words in head, words


def test_tables_have_their_command_and_the_runs_behind_each_cell(text: str, same_runs: Path) -> None:
    components = section(text, "table-components")
    assert f"python -m analysis.tables {same_runs} --table components" in components
    cell = re.search(r'<a href="#run-\d+" data-runs="([\d ]+)"[^>]*><strong>81.5 ± 0.7 \(2\)</strong></a>', components)
    assert cell
    names = dict(re.findall(r'<tr id="run-(\d+)".*?\n<th scope="row" title="(.*?)"', text))
    behind = Records(same_runs).runs.set_index("run").loc[[names[number] for number in cell[1].split()]]
    assert behind[["components.name", "noise.rate"]].drop_duplicates().to_numpy().tolist() == [["full", 0.5]]
    assert sorted(behind["seed"]) == [1, 2]


def test_a_difference_leads_to_the_runs_of_both_rows(text: str) -> None:
    components = section(text, "table-components")
    row = re.search(r'<th scope="row">full − none</th>\s*<td[^>]*>\s*<a [^>]*data-runs="([\d ]+)"', components)
    assert row
    assert len(row[1].split()) == 4


def test_rows_of_the_paper_are_told_apart(text: str) -> None:
    components = section(text, "table-components")
    assert components.count('<tr class="paper">') == 8
    assert "the paper's Table 5" in components.replace("&#39;", "'")


def test_what_these_runs_do_not_support_is_listed_with_a_command(text: str) -> None:
    lacking = section(text, "lacking")
    assert re.search(r"<dt>table aspect</dt><dd>[^<]+ <code>python -m sweeps.launch run aspect [^<]*</code>", lacking)
    supported = set(re.findall(r'<section id="((?:table|figure)-\w+)">', text))
    listed = {name.replace(" ", "-") for name in re.findall(r"<dt>((?:table|figure) \w+)</dt>", lacking)}
    every = {f"table-{name}" for name in tables.names()} | {f"figure-{name}" for name in figures.names()}
    assert supported | listed == every
    assert not supported & listed


def test_nothing_from_a_record_becomes_markup(runs_dir: Path, settings: Any, write_run: Any) -> None:
    config = settings("none", 0.5, base_method__name=SCRIPT, data__name="</script><b>")
    write_run(config, best=70.0, overrides=[f"data.root={SCRIPT}"])
    write_run(config, failure=f"ValueError: {SCRIPT}")
    hostile = runs_dir / "<img src=x onerror=alert(1)>"
    (runs_dir / "run-0000").rename(hostile)
    text = text_of(runs_dir)
    assert SCRIPT not in text
    assert "<img src=x" not in text
    assert "<b>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert any(SCRIPT in run["command"] for run in data_of(text)["runs"])


def test_the_page_asks_the_network_nothing(text: str) -> None:
    # Names of XML namespaces and license notices are no addresses that a browser would fetch.
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#|data:)[^"']*""", text)
    assert not re.findall(r"@import|url\((?!#)", text)
    assert "default-src 'none'" in text


def test_equal_runs_make_equal_pages(text: str, same_runs: Path) -> None:
    assert text_of(same_runs) == text


def test_unfinished_runs_say_why_and_how_far(text: str) -> None:
    runs = section(text, "runs")
    assert f"RuntimeError: {SCRIPT}".replace("<", "&lt;").replace(">", "&gt;") in runs
    assert "result.json is no JSON" in runs
    assert runs.count("2 of 30") == 3
    command = [run["command"] for run in data_of(text)["runs"]]
    assert "python -m sanm.run components=amg seed=1" in command


@pytest.mark.usefixtures("undrawn")
def test_validation_is_listed_where_it_stands_in_for_tests(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings("full"), best=80.0, validation_accuracy=75.5)
    assert "Validation</" not in section(text_of(runs_dir), "runs")
    untested = {"best_accuracy": None, "last_accuracy": None, "best_epoch": None}
    write_run(settings("none"), best=0.0, validation_accuracy=64.5, validation_labels="noisy", **untested)
    runs = section(text_of(runs_dir), "runs")
    assert "Validation</" in runs
    assert '<td class="number" data-sort="64.5">64.5</td>' in runs
    assert "75.5" not in runs


@pytest.mark.usefixtures("undrawn")
def test_what_tells_a_run_from_others_like_it(runs_dir: Path, settings: Any, write_run: Any) -> None:
    for tau in (0.1, 0.3):
        write_run(settings("full", 0.5, tau__value=tau), best=80.0)
    write_run(settings("none", 0.5), best=70.0)
    cells = re.findall(r'<td class="differs">(.*?)</td>', text_of(runs_dir))
    assert sorted(cells) == ["", "tau.value 0.1", "tau.value 0.3"]


def test_settings_and_curves_are_kept_small(text: str) -> None:
    data = data_of(text)
    by_key = {entry["key"]: entry for entry in data["settings"]}
    assert by_key["data.name"] == {"key": "data.name", "values": ["digits"], "runs": [0]}
    rates = [by_key["noise.rate"]["values"][which] for which in by_key["noise.rate"]["runs"]]
    assert sorted(rates) == ["0.5"] * 5 + ["0.8"] * 4
    assert data["runs"][0]["curve"] == {"epochs": [1, 2], "accuracies": [40.0, 50.0]}


@pytest.mark.usefixtures("undrawn")
def test_long_curves_are_thinned(runs_dir: Path, settings: Any, write_run: Any) -> None:
    rows = "".join(f"{epoch},1,{epoch / 10},,1,,0.1,1\n" for epoch in range(1, 301))
    directory = write_run(settings(), best=30.0)
    header = (directory / "metrics.csv").read_text().partition("\n")[0]
    (directory / "metrics.csv").write_text(f"{header}\n{rows}")
    curve = data_of(text_of(runs_dir))["runs"][0]["curve"]
    assert len(curve["epochs"]) == 60
    assert (curve["epochs"][0], curve["epochs"][-1]) == (1, 300)


@pytest.mark.usefixtures("undrawn")
def test_more_runs_than_are_listed(some_runs: Path) -> None:
    text = text_of(some_runs, most_runs=4)
    assert "The list has 4 of 9 runs" in text
    statuses = re.findall(r'<span class="status (\w+)">', text)
    assert sorted(statuses) == ["done", "failed", "interrupted", "unreadable"]
    listed = {f"run-{number}" for number in range(4)}
    assert set(re.findall(r'href="#(run-\d+)"', text)) <= listed


def test_runs_of_which_none_is_finished(runs_dir: Path, settings: Any, write_run: Any) -> None:
    write_run(settings(), failure="boom")
    text = text_of(runs_dir)
    assert "none of these 1 runs is finished: 1 failed" in section(text, "lacking")
    assert "boom" in section(text, "runs")


@pytest.fixture
def charts(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Chart]], None]:
    """Makes these the only figure there is."""

    def replace(made: list[Chart]) -> None:
        monkeypatch.setattr(figures, "names", lambda: ["tau"])  # its own name, so that it is described
        monkeypatch.setattr(figures, "build", lambda name, records: tuple(made))

    return replace


def chart(points: int = 3) -> Chart:
    drawing = figure()
    # Points, which no simplification drops.
    drawing.subplots().plot(range(points), [(place * 7919) % 1000 for place in range(points)], "o", label=SCRIPT)
    return Chart("digits · <b>", f"A caption with {SCRIPT}.", drawing, pd.DataFrame({"x": range(points)}))


def test_small_drawings_are_vectors_and_large_ones_pixels(some_runs: Path, charts: Any) -> None:
    charts([chart(), chart(), chart(6_000)])
    drawn = section(text_of(some_runs), "figure-tau")
    assert drawn.count('<svg role="img" aria-label="digits · &lt;b&gt;.') == 2
    assert drawn.count('src="data:image/png;base64,') == 1
    assert SCRIPT not in drawn
    identifiers = re.findall(r'\bid="([^"]+)"', drawn)
    assert len(identifiers) == len({*identifiers})
    used = {*re.findall(r'url\(#([^)]+)\)|href="#(tau-[^"]+)"', drawn)}
    assert {name for pair in used for name in pair if name} <= {*identifiers}
    assert drawn.count("<summary>Numbers of this figure</summary>") == 2, "not of 6,000 points"


def test_drawings_beyond_the_room_of_a_page_are_counted(
    some_runs: Path, charts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.report.parts.ROOM_FOR_FIGURES", 20_000)
    charts([chart(), chart(6_000), chart()])
    drawn = section(text_of(some_runs), "figure-tau")
    assert drawn.count("<figure>") == 1
    assert "2 more drawings are left out here" in drawn


@pytest.mark.usefixtures("undrawn")
def test_blocks_beyond_what_a_person_reads_are_counted(some_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.report.tables.MOST_BLOCKS", 1)
    assert "1 more blocks are left out here" in section(text_of(some_runs), "table-components")


def test_the_command_writes_beside_the_runs(some_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(some_runs)]) == 0
    assert capsys.readouterr().out.startswith(f"{some_runs / 'report.html'} (")
    assert (some_runs / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_the_command_refuses_in_one_line(some_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for arguments, words in (
        ([tmp_path / "absent"], "there is no such folder of runs"),
        ([tmp_path / "empty"], "holds no runs"),
        ([some_runs / "run-0000"], "is one run; give the folder that holds the runs"),
        ([some_runs, "--out", tmp_path / "absent" / "page.html"], "cannot write"),
        ([some_runs, "--out", tmp_path / "file" / "page.html"], "cannot write"),
        ([some_runs, "--out", tmp_path / "empty"], "cannot write"),
        ([some_runs, "--out", some_runs / "run-0000" / "metrics.csv"], "is part of the record of a run"),
        ([some_runs, "--list", "-1"], "--list -1"),
        ([], "RUNS"),
    ):
        assert main([*map(str, arguments)]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        (refusal,) = [line for line in said.err.splitlines() if not line.startswith("warning")]  # of a damaged run
        assert words in refusal
    assert not [*tmp_path.glob("**/*.part")]


def test_a_folder_without_runs_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no runs"):
        text_of(tmp_path)
