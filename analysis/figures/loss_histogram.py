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
from analysis.samples import Samples

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
    return Chart(run.about, _caption(run, threshold), _drawing(run, numbers, threshold), numbers)


def histogram(samples: Samples, network: int) -> pd.DataFrame:
    """A row a bar: the part of the labels, the bar's ends, how many samples, and their density among all."""
    losses, edges = samples.normalised_losses[network].astype(float), np.linspace(0, 1, BINS + 1)
    parts = {ALL: np.ones(len(losses), dtype=bool)}
    if samples.is_wrong is not None:
        parts = {RIGHT: ~samples.is_wrong, WRONG: samples.is_wrong}
    frames = []
    for part, members in parts.items():
        count, _ = np.histogram(losses[members], edges)
        bars = {"from": edges[:-1], "to": edges[1:], "count": count, "density": count * BINS / len(losses)}
        frames.append(pd.DataFrame({"network": network + 1, "labels": part, **bars}))
    return pd.concat(frames, ignore_index=True)


def _drawing(run: SampledRun, numbers: pd.DataFrame, threshold: float) -> Figure:
    networks = len(run.samples.mixture)
    drawing = figure(2.9)
    axes = drawing.subplots(1, networks, squeeze=False, sharey=True)[0]
    for network, axis in enumerate(axes):
        _bars(axis, numbers[numbers["network"] == network + 1])
        _curves(axis, run.samples, network, threshold)
        low, high = run.samples.loss_range[network]
        axis.set_xlabel(f"normalised loss (0: {low:.2g}, 1: {high:.2g})")
        axis.set_xlim(0, 1)
        if networks > 1:
            axis.set_title(f"network {network + 1}", fontsize="medium")
    axes[0].set_ylabel("density")
    axes[0].set_ylim(0, 1.08 * _highest(numbers))
    handles, labels = axes[0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return drawing


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


def _highest(numbers: pd.DataFrame) -> float:
    return float(numbers["density"].max())


def _caption(run: SampledRun, threshold: float) -> str:
    return run.standing
