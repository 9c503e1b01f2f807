"""What a plug-in adds to a base method, alone or with SANM: runs without one, and with each."""

from analysis.compare.comparison import HEAD_OF_SANM, Comparison, listed, setting

table = Comparison(
    title="Plug-ins on a base method",
    rows="plugin",
    row_of=setting("plugin.name"),
    rows_of=listed(("none",)),
    needs="plugin.name",
    make="python -m sanm.run -m plugin=none,alasca components=none,full",
    varies=("plugin",),
    least=2,
    contrasts=lambda labels: labels.nunique(),
    head=HEAD_OF_SANM,
).table
