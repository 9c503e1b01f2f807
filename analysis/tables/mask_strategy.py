"""How much is masked: by the label's clean probability, the same for all, by chance, nothing (the paper's Fig. 2)."""

from analysis.compare.comparison import HEAD_OF_SANM, Comparison, listed, of_sanm, setting

table = Comparison(
    title="How much is masked",
    rows="mask_strategy",
    row_of=of_sanm(setting("mask_strategy.name")),
    rows_of=listed(
        ("none", "fixed", "random", "adaptive"), always=("fixed", "random", "adaptive"), references=("none", "adaptive")
    ),
    needs="mask_strategy.name",
    make="python -m sweeps.launch run mask_strategy data.root=PATH",
    varies=("mask_strategy.name",),
    least=2,
    head=HEAD_OF_SANM,
    notes=("The paper compares these in Fig. 2, without numbers.",),
).table
