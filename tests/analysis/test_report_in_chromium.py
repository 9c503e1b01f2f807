"""The report as a reader meets it: in a browser, on a phone, without scripts, on paper."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.records import Records
from analysis.report.page import page
from tests.analysis.conftest import config, writer
from tests.chromium import NAMES, PHONE, Browser, browser, executable

pytestmark = pytest.mark.skipif(executable() is None, reason=f"no Chromium here (one of {', '.join(NAMES)})")

VISIBLE = "[...document.querySelectorAll('#run-table tbody .run')].filter((row) => !row.hidden)"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of runs in every status, two of them unlike in tau, one with an unfriendly failure."""
    runs_dir = tmp_path_factory.mktemp("runs")
    write_run = writer(runs_dir)
    for seed in (1, 2, 10):
        write_run(config("full", 0.5, seed), best=80.0 + seed)
        write_run(config("none", 0.8, seed), best=9.5 * seed)
    write_run(config("full", 0.5, 1, tau__value=0.4), best=85.5)
    write_run(config("amg", 0.5), failure="ValueError: <script>document.title = 'wrong'</script>")
    write_run(config("amg", 0.8, base_method__name="a_method_whose_name_is_longer_than_any_phone_is_wide_" * 2))
    return page(Records(runs_dir))


@pytest.fixture
def report(text: str, tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(text, encoding="utf-8")
    return path


def visible(chromium: Browser, column: str) -> list[str]:
    position = f"document.querySelector('[data-column={column}]').cellIndex"
    texts: list[str] = chromium.run(f"{VISIBLE}.map((row) => row.cells[{position}].textContent.trim())")
    return texts


def sort_by(chromium: Browser, column: str) -> str:
    head = f"document.querySelector('[data-column={column}]')"
    chromium.run(f"{head}.querySelector('button').click()")
    direction: str = chromium.run(f"{head}.getAttribute('aria-sort')")
    return direction


def choose(chromium: Browser, selector: str, value: str) -> None:
    chromium.run(
        f"(() => {{ const field = document.querySelector('{selector}'); field.value = '{value}';"
        " field.dispatchEvent(new Event('input', { bubbles: true })); })()"
    )


def test_every_section_is_there_and_nothing_complains(chromium: Browser, report: Path) -> None:
    chromium.open(report)
    sections = chromium.run("[...document.querySelectorAll('main > section')].map((section) => section.id)")
    assert {"table-components", "figure-curves", "lacking", "runs"} <= {*sections}
    assert chromium.run("[...document.querySelectorAll('main > section')].every((one) => one.offsetHeight > 40)")
    assert chromium.run("document.title").startswith("Runs in ")
    assert chromium.messages == []


def test_sorting(chromium: Browser, report: Path) -> None:
    chromium.open(report)
    assert sort_by(chromium, "best") == "ascending"
    numbers = visible(chromium, "best")
    known = [float(number) for number in numbers if number]
    assert known == sorted(known)
    assert len(known) == 7
    assert numbers[-2:] == ["", ""], "what is missing comes last"
    assert sort_by(chromium, "best") == "descending"
    assert [float(number) for number in visible(chromium, "best") if number] == known[::-1]
    assert visible(chromium, "best")[-2:] == ["", ""]
    assert sort_by(chromium, "components") == "ascending"
    assert visible(chromium, "components") == ["amg"] * 2 + ["full"] * 4 + ["none"] * 3
    assert (
        chromium.run("document.querySelectorAll('#run-table [aria-sort=none]').length")
        == len(chromium.run("[...document.querySelectorAll('#run-table [aria-sort]')].map(String)")) - 1
    )
    assert chromium.messages == []


def test_filters(chromium: Browser, report: Path) -> None:
    chromium.open(report)
    choose(chromium, "[data-facet=components]", "full")
    assert visible(chromium, "components") == ["full"] * 4
    choose(chromium, "#text", "tau.value 0.4")
    assert visible(chromium, "best") == ["85.5"]
    assert chromium.run("document.getElementById('shown').value").startswith("1 of 9 listed runs")
    chromium.run("document.querySelector('#filter [type=reset]').click()")
    chromium.run("new Promise((done) => setTimeout(done, 50))")
    assert len(visible(chromium, "best")) == 9
    choose(chromium, "[data-facet=status]", "failed")
    assert visible(chromium, "status") == ["failed"]
    chromium.run("document.querySelector('.statuses a.interrupted').click()")
    assert visible(chromium, "status") == ["interrupted"]
    assert chromium.messages == []


def test_a_cell_leads_to_its_runs(chromium: Browser, report: Path) -> None:
    chromium.open(report)
    cells = "[...document.querySelectorAll('#table-components a[data-runs]')]"
    chromium.run(f"{cells}.find((one) => one.textContent.includes('(3)')).click()")
    assert len(visible(chromium, "seed")) == 3
    assert {*visible(chromium, "seed")} == {"1", "2", "10"}
    assert chromium.run("document.getElementById('runs').getBoundingClientRect().top < innerHeight")
    assert chromium.messages == []


def test_a_run_is_opened_with_the_keyboard(chromium: Browser, report: Path) -> None:
    chromium.open(report)
    sort_by(chromium, "best")
    chromium.run("document.querySelector('#run-table thead th:last-child button').focus()")
    chromium.press("Tab")
    chromium.press("Enter", "\r")
    opened = chromium.run("document.querySelector('.opened').textContent")
    assert "Test accuracy over epochs 1 to 2: first 40 %, highest 50 % at epoch 2, last 50 %" in opened
    assert "python -m sanm.run components=full" in opened
    assert "noise.rate: 0.8" in opened
    assert chromium.run("document.querySelector('.opened path').getAttribute('d')").count("L") == 1
    assert chromium.run("document.activeElement.getAttribute('aria-expanded')") == "true"
    chromium.press("Enter", "\r")
    assert chromium.run("document.querySelector('.opened')") is None
    assert chromium.messages == []


def test_an_opened_run_moves_with_its_row(chromium: Browser, report: Path) -> None:
    chromium.open(report)
    chromium.run("document.querySelector('#run-table tbody th button').click()")
    owner = "document.querySelector('.opened').previousSibling.id"
    first = chromium.run(owner)
    sort_by(chromium, "best")
    assert chromium.run(owner) == first
    choose(chromium, "#text", "no such run")
    assert chromium.run("document.querySelector('.opened').hidden")


def test_a_failure_is_text(chromium: Browser, report: Path) -> None:
    chromium.open(report)
    choose(chromium, "[data-facet=status]", "failed")
    chromium.run(f"{VISIBLE}[0].querySelector('button').click()")
    assert "<script>" in chromium.run("document.querySelector('.opened .reason').textContent")
    assert chromium.run("document.title") != "wrong"
    assert chromium.messages == []


def test_only_its_own_script_runs(chromium: Browser, report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    report.write_text(text.replace("</main>", "</main><script>document.title = 'wrong'</script>"), encoding="utf-8")
    chromium.open(report)
    assert chromium.run("document.title") != "wrong"
    assert any("Content Security Policy" in message for message in chromium.messages)


def test_a_phone_needs_no_sideways_scrolling(chromium: Browser, report: Path) -> None:
    chromium.open(report, size=PHONE)
    chromium.run(f"{VISIBLE}.forEach((row) => row.querySelector('button').click())")
    chromium.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert chromium.run("[innerWidth, document.documentElement.scrollWidth]") == [360, 360]
    outside = """[...document.querySelectorAll('body *')].filter((one) => !one.closest('.scroll, .drawing')
        && one.getBoundingClientRect().right > 361).map((one) => one.outerHTML.slice(0, 80))"""
    assert chromium.run(outside) == []


def test_without_scripts_tables_and_the_list_are_there(chromium: Browser, report: Path) -> None:
    chromium.open(report, scripts=False)
    assert chromium.run("document.querySelectorAll('#run-table tbody tr').length") == 9
    assert chromium.run("document.querySelectorAll('#table-components tbody tr').length") > 10
    assert chromium.run("document.getElementById('filter').offsetHeight") == 0
    assert chromium.run("document.querySelectorAll('#run-table button').length") == 0
    assert "ValueError" in chromium.run("document.querySelector('#runs .reason').textContent")


def test_headers_have_their_scope_and_drawings_a_description(chromium: Browser, report: Path) -> None:
    chromium.open(report)
    assert chromium.run("[...document.querySelectorAll('th')].every((one) => one.scope)")
    assert chromium.run("[...document.querySelectorAll('.drawing svg')].length") > 0
    described = "[...document.querySelectorAll('.drawing svg, .drawing img')].every((one) => one.ariaLabel || one.alt)"
    assert chromium.run(described)
    ids = chromium.run("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len({*ids})


@pytest.mark.parametrize("dark", [False, True])
def test_words_stand_out_from_their_ground(chromium: Browser, report: Path, dark: bool) -> None:
    chromium.open(report, dark=dark)
    chromium.run(f"{VISIBLE}[0].querySelector('button').click()")
    weakest = chromium.run("""(() => {
        const canvas = document.createElement('canvas').getContext('2d');
        const light = (color) => {
          canvas.fillStyle = color;
          const hex = canvas.fillStyle;
          const parts = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
          return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
        };
        const ground = (one) => {
          const color = getComputedStyle(one).backgroundColor;
          return color !== 'rgba(0, 0, 0, 0)' || !one.parentElement ? color : ground(one.parentElement);
        };
        const words = [...document.querySelectorAll('body *')].filter((one) => one.offsetParent
          && !one.closest('svg, script, style, select')
          && [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
        return words.map((one) => {
          const [a, b] = [light(getComputedStyle(one).color), light(ground(one))];
          return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.outerHTML.slice(0, 80)];
        }).sort((one, other) => one[0] - other[0])[0];
    })()""")
    assert weakest[0] >= 4.5, weakest


def test_it_is_dark_where_the_reader_is(chromium: Browser, report: Path) -> None:
    chromium.open(report, dark=True)
    dark = chromium.picture().getpixel((2, 2))
    chromium.open(report)
    assert max(dark) < 60 < 200 < min(chromium.picture().getpixel((2, 2)))


def test_it_prints_whole_tables_without_the_list(chromium: Browser, report: Path) -> None:
    chromium.open(report)
    document = chromium.pdf()
    assert document.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", document)) >= 2
    chromium.open(report, size=(794, 1123), media="print")
    assert chromium.run("document.querySelector('#run-table').offsetHeight") == 0
    assert "9 runs are listed" in chromium.run("document.querySelector('.only-print').innerText")
    cut = "[...document.querySelectorAll('.block .scroll')].filter((one) => one.scrollWidth > one.clientWidth).length"
    assert chromium.run(cut) == 0
