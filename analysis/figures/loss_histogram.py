"""The losses behind the clean probability, and the mixture of two Gaussians that was fitted to them."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures._sampled_runs import SampledRun, sampled_runs
from analysis.figures.chart import Chart
from analysis.figures.style import COLORS, figure
from analysis.records import Records
from analysis.records.samples import Samples

BINS = 50
FINE = 2001
# Of the parts of the histogram: color, hatches (for gray prints).
RIGHT, WRONG, ALL = "right labels", "wrong labels", "all labels"
LOOKS = {RIGHT: (COLORS[0], ""), WRONG: (COLORS[1], "////"), ALL: (COLORS[4], "")}
THRESHOLD = 0.5

Floats = NDArray[np.float64]


def charts(records: Records, run: str | None = None) -> tuple[Chart, ...]:
    """A chart a run: of that name or id, else of the newest runs of each kind."""
    return tuple(_chart(each) for each in sampled_runs(records, run))


def densities(samples: Samples, network: int, losses: Floats) -> Floats:
    """`[2, n]`: the weighted densities of the mixture's two Gaussians at normalised losses `[n]`."""
    weights, means, variances = samples.mixture[network][..., None]
    found: Floats = weights * np.exp(-((losses - means) ** 2) / (2 * variances)) / np.sqrt(2 * np.pi * variances)
    return found


def crossings(samples: Samples, network: int, threshold: float) -> list[float]:
    """Normalised losses in [0, 1] at which the clean probability passes the threshold."""
    losses = np.linspace(0, 1, FINE)
    low, high = densities(samples, network, losses)
    above = low * (1 - threshold) > high * threshold
    passed = np.flatnonzero(above[1:] != above[:-1])
    return [float((losses[at] + losses[at + 1]) / 2) for at in passed]


def _chart(run: SampledRun) -> Chart:
    samples = run.samples
    numbers = pd.concat([histogram(samples, network) for network in range(len(samples.mixture))], ignore_index=True)
    numbers.insert(0, "run", run.name)
    threshold = float(str(run.settings.get("base_method.threshold", THRESHOLD)))
    return Chart(run.about, _caption(run, threshold), _drawing(samples, numbers, threshold), numbers)


def histogram(samples: Samples, network: int) -> pd.DataFrame:
    """A row a bar: the part of the labels, the bar's ends, how many samples, their density among all, and that of the
    mixture's two Gaussians in the middle of the bar.
    """
    losses, edges = samples.normalised_losses[network].astype(float), np.linspace(0, 1, BINS + 1)
    low, high = densities(samples, network, (edges[:-1] + edges[1:]) / 2)
    parts = {ALL: np.ones(len(losses), dtype=bool)}
    if samples.is_wrong is not None:
        parts = {RIGHT: ~samples.is_wrong, WRONG: samples.is_wrong}
    frames = []
    for part, members in parts.items():
        count, _ = np.histogram(losses[members], edges)
        bars = {"from": edges[:-1], "to": edges[1:], "count": count, "density": count * BINS / len(losses)}
        frames.append(pd.DataFrame({"network": network + 1, "labels": part, **bars, "low": low, "high": high}))
    return pd.concat(frames, ignore_index=True)


def _drawing(samples: Samples, numbers: pd.DataFrame, threshold: float) -> Figure:
    drawing = figure(2.9)
    axes = drawing.subplots(1, len(samples.mixture), squeeze=False, sharey=True)[0]
    for network, axis in enumerate(axes):
        _bars(axis, numbers[numbers["network"] == network + 1])
        _curves(axis, samples, network, threshold)
        axis.set(xlabel="normalised loss", xlim=(0, 1))
        if len(axes) > 1:
            axis.set_title(f"network {network + 1}", fontsize="medium")
    axes[0].set_ylabel("density")
    axes[0].set_ylim(0, _top(samples, numbers))
    handles, labels = axes[0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return drawing


def _top(samples: Samples, numbers: pd.DataFrame) -> float:
    """Room for the bars and the curves; a curve much narrower than a bar is cut."""
    bars, losses = float(numbers["density"].max()), np.linspace(0, 1, FINE)
    curves = [float(np.nan_to_num(densities(samples, each, losses)).max()) for each in range(len(samples.mixture))]
    return 1.05 * max(bars, min(max(curves), 1.5 * bars))


def _bars(axis: Axes, numbers: pd.DataFrame) -> None:
    for part, bars in numbers.groupby("labels", sort=False):
        color, hatch = LOOKS[str(part)]
        edges = [*bars["from"], bars["to"].iloc[-1]]
        axis.stairs(
            bars["density"], edges, fill=True, facecolor=(color, 0.35), edgecolor=color, hatch=hatch, label=part
        )


def _curves(axis: Axes, samples: Samples, network: int, threshold: float) -> None:
    losses = np.linspace(0, 1, FINE)
    low, high = densities(samples, network, losses)
    axis.plot(losses, low, color="black", linestyle="dashed", linewidth=1.2, label="Gaussian of low losses")
    axis.plot(losses, high, color="black", linestyle="dotted", linewidth=1.4, label="Gaussian of high losses")
    for number, crossing in enumerate(crossings(samples, network, threshold)):
        label = f"clean probability {threshold:g}" if number == 0 else None
        axis.axvline(crossing, color=COLORS[2], linewidth=1.4, label=label)


def _caption(run: SampledRun, threshold: float) -> str:
    samples = run.samples
    window = float(str(run.settings.get("quality.window", 1)))
    over = f", a mean over up to {window:.0f} epochs," if window > 1 else ""
    truth = "" if samples.is_wrong is not None else " True labels are unknown."
    parts = [
        f"Losses of the given labels of {samples.normalised_losses.shape[1]} training samples, normalised{over} as the "
        "mixture saw them at the run's end, and its two Gaussians. Green: where the clean probability is "
        f"{threshold:g}.{truth}",
        *(_of_network(samples, network, threshold) for network in range(len(samples.mixture))),
        run.standing,
    ]
    return " ".join(parts)


def _of_network(samples: Samples, network: int, threshold: float) -> str:
    low, high = samples.loss_range[network]
    found = crossings(samples, network, threshold)
    where = f"at {' and '.join(f'{crossing:.2f}' for crossing in found)}" if found else "nowhere"
    return f"Network {network + 1}: losses of the last scan {low:.2g} to {high:.2g}; the threshold is {where}."
