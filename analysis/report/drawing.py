"""Figures inside a page: vector graphics where they are small, pixels where they are not."""

import base64
import io
import re
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

LARGEST_SVG = 250_000  # bytes; drawings with many points or images are smaller as pixels
DOTS_PER_INCH = 150
# Equal numbers make equal bytes; words stay words.
SVG: dict[Any, str] = {"svg.hashsalt": "report", "svg.fonttype": "none"}
IDS = re.compile(r'(\bid="|\bhref="#|url\(#)')


def embedded(drawing: Figure, identifier: str, description: str) -> Markup:
    """The drawing as an element of a page; `identifier` keeps its inner names apart from those of other drawings."""
    svg = _svg(drawing)
    if len(svg) > LARGEST_SVG:
        source = base64.b64encode(_png(drawing)).decode()
        return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(description, Markup(source))
    body = IDS.sub(rf"\g<1>{identifier}-", svg[svg.index("<svg") :])
    # What matplotlib wrote has its text escaped; the description is escaped here.
    label = Markup('<svg role="img" aria-label="{}" ').format(description)
    return label + Markup(body.removeprefix("<svg "))


def _svg(drawing: Figure) -> str:
    content = io.StringIO()
    with matplotlib.rc_context(SVG):
        drawing.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    return content.getvalue()


def _png(drawing: Figure) -> bytes:
    content = io.BytesIO()
    drawing.savefig(content, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return content.getvalue()
