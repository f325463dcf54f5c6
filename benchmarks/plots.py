"""Pictures of figures, as SVG."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_STATUSES = {"OK": "answered", "RESOURCE_EXHAUSTED": "refused"}


def draw_saturation(figures: Mapping[str, Any], path: Path) -> None:
    """Draw goodput and latency over the offered load.

    Args:
        figures: Of the load script.
        path: The SVG file to write.
    """
    # Here and not above: figures are printed without it.
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    # No dates and no random identities: the same figures give the same file.
    mpl.rcParams["svg.hashsalt"] = "diffmask"
    runs = figures["runs"]
    offered = [run["offered_per_second"] for run in runs]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    goodput, latency = figure.subplots(1, 2)
    goodput.plot(
        offered, [run["goodput_per_second"] for run in runs], "o-", label="answered"
    )
    goodput.axvline(
        figures["capacity_per_second"], color="grey", ls=":", label="capacity"
    )
    goodput.set(xlabel="offered, calls/s", ylabel="calls/s", ylim=(0, None))
    for status, label in _STATUSES.items():
        points = [
            (run["offered_per_second"], each["p99_seconds"])
            for run in runs
            for each in run["statuses"]
            if each["status"] == status
        ]
        if points:
            latency.plot(*zip(*points, strict=True), "o-", label=label)
    latency.set(xlabel="offered, calls/s", ylabel="p99 from plan to end, s")
    latency.set_yscale("log")
    for axes in (goodput, latency):
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
