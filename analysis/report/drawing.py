"""Figures inside a page: vector graphics where they are small, pixels where they are not."""

import base64
import re

from markupsafe import Markup
from matplotlib.figure import Figure

from analysis.figures.files import picture

LARGEST_SVG = 250_000  # bytes; drawings with many points or images are smaller as pixels
IDS = re.compile(r'(\bid="|\bhref="#|url\(#)')


def embedded(drawing: Figure, identifier: str, description: str) -> Markup:
    """The drawing as an element of a page; `identifier` keeps its inner names apart from those of other drawings."""
    svg = picture(drawing, "svg").decode()
    if len(svg) > LARGEST_SVG:
        source = base64.b64encode(picture(drawing, "png")).decode()
        return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(description, Markup(source))
    body = IDS.sub(rf"\g<1>{identifier}-", svg[svg.index("<svg") :])
    # What matplotlib wrote has its text escaped; the description is escaped here.
    label = Markup('<svg role="img" aria-label="{}" ').format(description)
    return label + Markup(body.removeprefix("<svg "))
