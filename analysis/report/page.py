"""The page: template, style and script of this folder, filled and put into one file that asks the network nothing."""

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.records import Records
from analysis.report.overview import overview
from analysis.report.parts import parts
from analysis.report.run_list import COLUMNS, NUMBERS, run_list

HERE = Path(__file__).parent
MOST_RUNS = 2000


def page(records: Records, most_runs: int = MOST_RUNS) -> str:
    """The whole page; equal records give equal pages. Raises `InputError` when the folder holds no runs."""
    listed = run_list(records.runs, records.epochs, most_runs)
    script = (HERE / "page.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(
        directory=str(records.directory),
        overview=overview(records.runs),
        parts=parts(records, listed.numbers),
        listed=listed,
        total=len(records.runs),
        columns=COLUMNS,
        numbers=NUMBERS,
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        # The browser runs this script and no other, whatever a record may hold.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
