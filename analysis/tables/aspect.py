"""The shape of the masks: boxes whose aspect is drawn from U(d, 1/d), against the noise rate."""

from analysis.compare.comparison import HEAD_OF_SANM, Comparison, listed, of_sanm, setting

table = Comparison(
    title="The shape of the masks",
    rows="aspect",
    row_of=of_sanm(setting("mask_strategy.aspect")),
    rows_of=listed(("none",), references=("none", "0.8")),
    needs="mask_strategy.aspect",
    make="python -m sweeps.launch run aspect data.root=PATH",
    varies=("mask_strategy.aspect",),
    least=2,
    head=HEAD_OF_SANM,
    notes=("aspect: d of Eq. 3, the aspect of a box is drawn from U(d, 1/d); default 0.8.",),
).table
