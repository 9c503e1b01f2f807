"""Where networks look, and what SANM masks there (the paper's Fig. 1)."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures._example_images import (
    FONT,
    box_legend,
    faded,
    in_color,
    in_numbers,
    in_words,
    masks_in_words,
    outline,
    show,
    varied,
    with_map,
    write_below,
)
from analysis.figures._sampled_runs import SampledRun, sampled_runs
from analysis.figures.chart import Chart
from analysis.figures.style import WIDTH, figure
from analysis.records import Records
from analysis.records.samples import Samples

EXAMPLES = (5, 6)
"""On either side, of a run with masks and of one without."""
POOL = 12
"""Examples of lowest, and of highest, clean probability that rows of different classes are taken from."""
SIDES = ("Least trusted labels", "Most trusted labels")


def charts(records: Records, run: str | None = None) -> tuple[Chart, ...]:
    """A chart a run: of that name or id, else of the newest runs of each kind."""
    return tuple(_chart(each) for each in sampled_runs(records, run))


def _chart(run: SampledRun) -> Chart:
    samples = run.samples
    sides = dict(zip(SIDES, _sides(samples), strict=True))
    numbers = in_numbers(samples, [example for examples in sides.values() for example in examples])
    numbers.insert(0, "side", [side for side, examples in sides.items() for _ in examples])
    numbers.insert(0, "run", run.name)
    return Chart(run.about, _caption(run), _drawing(samples, sides), numbers)


def _sides(samples: Samples) -> tuple[list[int], list[int]]:
    everything = list(range(len(samples.index)))
    pool = min(POOL, len(everything) // 2)
    lowest, highest = everything[:pool], everything[len(everything) - pool :][::-1]
    count = EXAMPLES[samples.masks is None]
    return varied(samples, lowest, count), varied(samples, highest, count)


def _drawing(samples: Samples, sides: dict[str, list[int]]) -> Figure:
    steps, abreast = _steps(samples), 1 if samples.masks is not None else 2
    rows = max(-(-len(examples) // abreast) for examples in sides.values())
    height, width = samples.image.shape[2:]
    side = 0.46 * WIDTH / (len(steps) * abreast)
    drawing = figure(0.75 + rows * (side * height / width + 0.05 + 0.13 * abreast))
    for part, (title, examples) in zip(
        drawing.subfigures(1, 2, wspace=0.04, squeeze=False)[0], sides.items(), strict=True
    ):
        part.suptitle(title, fontsize=FONT + 2)
        grid = part.subplots(rows, len(steps) * abreast, squeeze=False)
        for axis in grid.flat:
            axis.set_axis_off()
        for axis, step in zip(grid[0], steps * abreast, strict=True):
            axis.set_title(step, fontsize=FONT, pad=3)
        for place, example in zip(grid.reshape(rows * abreast, -1), examples, strict=False):
            _row(place, samples, example, "   " if abreast == 1 else "\n")
    if samples.masks is not None:
        drawing.legend(handles=box_legend(), loc="outside lower center", ncols=2, fontsize=FONT, frameon=False)
    return drawing


def _steps(samples: Samples) -> tuple[str, ...]:
    if samples.masks is None:
        return ("image", "activation")
    views = samples.masks.masked.shape[1]
    return ("image", "activation", "boxes", *(("masked view",) if views == 1 else ("mask: most", "mask: least")))


def _row(axes: Sequence[Axes], samples: Samples, example: int, gap: str) -> None:
    image = samples.image[example]
    pictures = [in_color(image), with_map(image, samples.activation[example])]
    if samples.masks is not None:
        pictures += [faded(image), *map(in_color, samples.masks.masked[example])]
        outline(axes[2], samples, example, filled=0.3)
    for axis, picture in zip(axes, pictures, strict=True):
        axis.set_axis_on()
        show(axis, picture)
    write_below(axes[0], in_words(samples, example, gap))


def _caption(run: SampledRun) -> str:
    samples = run.samples
    names = "given label → predicted label" + (" (true label)" if samples.true is not None else ", true label unknown")
    parts = [
        "Training images of lowest and of highest clean probability w (the mean over networks), of as many given "
        f"labels as there are among {POOL} of either. Below each: {names}, w.",
        "Activation: Eq. 1, of the first network, each map scaled on its own: dark least, bright most.",
        masks_in_words(samples),
        run.standing,
    ]
    return " ".join(part for part in parts if part)
