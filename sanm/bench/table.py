"""The bench's figures as one table for a terminal."""

from __future__ import annotations

from typing import Any

from sanm.bench.parts import PARTS

Report = dict[str, Any]
Rows = list[tuple[str, str, str]]


def text(report: Report) -> str:
    """Three columns: what, how much, what it means; a blank line between sections."""
    sections = [_step(report), _shares(report), _passes(report)]
    sections += [_arrangements(report)] if "arrangements" in report else []
    sections += [_replaced(report)] if "replaced" in report else []
    sections += [_sources(report)] if "sources" in report else []
    sections.append(_protocol(report))
    rows = [row for section in sections for row in section]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = []
    for section in sections:
        lines += [f"{name:<{widths[0]}}  {value:>{widths[1]}}  {note}".rstrip() for name, value, note in section]
        lines.append("")
    return "\n".join(lines[:-1])


def _step(report: Report) -> Rows:
    machine, floor = report["machine"], report["floor"]
    where = machine["device"] if machine["device"] != "cpu" else f"cpu, {machine['threads']} threads"
    rows = [
        ("images per second", f"{report['images_per_second']:.1f}", f"{where}, {machine['clock']} time"),
        ("step", _ms(report["step_seconds"]), f"{report['samples_per_step']} samples"),
        ("network passes alone", _ms(floor["seconds"]), "the same images through the same networks, nothing else"),
        ("step / passes alone", f"{floor['step_over_floor']:.3f}", ""),
        ("arithmetic", f"{report['flops_per_step'] / 1e9:.1f} GFLOP", f"a step; {report['tflops']:.3f} TFLOP/s"),
    ]
    if "mfu" in report:
        rows.append(("MFU", f"{100 * report['mfu']:.1f} %", f"of {report['peak_tflops']:g} TFLOP/s"))
    rows.append(("peak memory", f"{report['peak_memory_mb']:.0f} MiB", ""))
    waits = [*report["waits"]["operators"], *filter(None, [report["waits"].get("cuda")])]
    rows.append(("waits for the device", str(len(waits)), ", ".join(waits)))
    return rows


def _shares(report: Report) -> Rows:
    return [(f"  {part}", f"{100 * share:.1f} %", PARTS[part]) for part, share in report["shares"].items()]


def _passes(report: Report) -> Rows:
    return [
        (f"  {each['of']}, {each['mode']} mode", str(each["images"]), f"images, {each['kind']}")
        for each in report["floor"]["passes"]
    ]


def _arrangements(report: Report) -> Rows:
    rows: Rows = [("the same step with", "of the step", "")]
    for each in report["arrangements"]:
        if "not_measured" in each:
            rows.append((f"  {each['name']}", "—", each["not_measured"]))
        else:
            rows.append((f"  {each['name']}", f"{each['of_the_step']:.3f}", _ms(each["step_seconds"])))
    return rows


def _replaced(report: Report) -> Rows:
    rows: Rows = [("batched, against", "times as fast", "")]
    for each in report["replaced"]:
        here, there = each["seconds_per_image"] * 1e6, each["reference_seconds_per_image"] * 1e6
        note = f"{here:.1f} µs an image; reference {there:.1f} µs"
        rows.append((f"  {each['name']}", f"{each['times_as_fast']:.1f}", note))
    return rows


def _sources(report: Report) -> Rows:
    rows: Rows = [
        ("images", "a second", "weak views alone; the step with them, what of it they take, beside the first")
    ]
    for each in report["sources"]:
        of_it, ratio = 100 * each["share_of_the_step"], each["of_the_resident_step"]
        note = f"step {_ms(each['step_seconds'])}, {of_it:.1f} % of it; {ratio:.3f}"
        rows.append((f"  {each['name']}", f"{each['images_per_second']:.0f}", note))
    return rows


def _protocol(report: Report) -> Rows:
    protocol = report["protocol"]
    hours = protocol["hours_of"]
    asked = f"{protocol['epochs']} epochs, {protocol['images']} images, networks: {protocol['networks']}"
    parts = ", ".join(f"{part} {value:.2g} h" for part, value in hours.items())
    return [
        ("whole run, projected", f"{protocol['hours']:.3g} h", asked),
        ("", "", f"{parts}; {100 * protocol['labels_kept']:.0f} % of the labels kept where a method divides"),
    ]


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"
