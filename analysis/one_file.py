"""A page in one file that asks the network nothing: a folder's template, style and script, filled and put together."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


def filled(folder: Path, **values: Any) -> str:
    """The folder's `page.html` with the values, `page.css` and `page.js`; text among the values is escaped."""
    script = (folder / "page.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        **values,
        style=Markup((folder / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        # The browser runs this script and no other, whatever a record may hold.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
