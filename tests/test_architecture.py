"""Imports point one way, and nobody knows more than it should."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.conftest import ROOT

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("files", "given_files", "network"),
    ("formats", "step", "survey", "machine"),
    ("terminal",),
    ("file_contents",),
    ("record",),
    ("config",),
    ("parts", "models", "methods", "plugins"),
    ("data",),
    ("fetch",),
    ("trained_model",),
    ("pretraining",),
    ("training",),
    ("run",),
    ("grids", "pretrain", "predict", "export", "bench"),
    ("notebook",),
)
"""What lies in ``sanm``, the ground first."""

METHODS = [file.stem for file in (ROOT / "sanm/methods").glob("[!_]*.py")]


def imported(file: Path) -> set[str]:
    """Dotted names of what a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def offenders(pattern: str, *forbidden: str) -> list[str]:
    found = []
    for file in ROOT.glob(pattern):
        bad = [name for name in imported(file) if any(name == f or name.startswith(f + ".") for f in forbidden)]
        found += [f"{file.relative_to(ROOT)} imports {name}" for name in bad]
    return found


def test_there_is_something_to_check() -> None:
    assert {"ce", "dividemix"} <= set(METHODS)
    assert "sanm.plugins.plugin_class" in imported(ROOT / "sanm/training/trainer.py")


def test_methods_do_not_know_sanm_and_sanm_no_method() -> None:
    assert not offenders("sanm/methods/*.py", "sanm.plugins.sanm", "sanm.training.trainer", "sanm.data")
    assert not offenders("sanm/parts/*.py", "sanm.methods", "sanm.plugins", "sanm.training.trainer", "sanm.data")
    assert not offenders("sanm/plugins/**/*.py", "sanm.methods", "sanm.training", "sanm.data")


def test_arrows_point_one_way() -> None:
    """A floor knows itself and those below it. Packages and modules at the top of ``sanm`` alone."""
    place = {name: floor for floor, names in enumerate(FLOORS) for name in names}
    wrong = []
    for file in (ROOT / "sanm").rglob("*.py"):
        own = file.relative_to(ROOT / "sanm").parts[0].removesuffix(".py")
        for name in imported(file):
            other = name.split(".")[1] if name.startswith("sanm.") else own
            if other != own and other in place and own in place and place[other] > place[own]:
                wrong.append(f"{file.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_what_trains_cannot_reach_scores_or_true_labels() -> None:
    training = ("sanm/training/trainer.py", "sanm/pretraining/simclr.py", "sanm/parts/mixture.py")
    for part in (
        *training,
        "sanm/methods/*.py",
        "sanm/parts/*.py",
        "sanm/plugins/sanm/*.py",
        "sanm/models/*.py",
    ):
        forbidden = (
            "sanm.training.scoring",
            "sanm.training.samples",
            "sanm.data.prepare",
            "sanm.data.Data",
            "sanm.data.types.Data",
        )
        assert not offenders(part, *forbidden)


def test_no_method_is_named_outside_its_file() -> None:
    shared = [
        "sanm/training/trainer.py",
        "sanm/parts/mixture.py",
        "sanm/step.py",
        *map(str, ROOT.glob("sanm/plugins/sanm/*.py")),
    ]
    for name in shared:
        tree = ast.parse((ROOT / name).read_text())
        strings = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not strings & set(METHODS), name


def test_analysis_reads_records_without_torch_or_the_trainer() -> None:
    assert not offenders(
        "analysis/**/*.py",
        "torch",
        "torchvision",
        "sanm.training.trainer",
        "sanm.training.experiment",
        "sanm.record.directory",
    )


def test_config_is_checked_before_anything_heavy_loads() -> None:
    light = (
        "run",
        "pretrain",
        "fetch",
        "config/checks",
        "config/explain",
        "config/limits",
        "config/override_words",
        "record/identity",
        "record/directory",
        "record/reading",
        "grids/multirun",
        "grids/cells",
        "files",
        "errors",
        "machine/gpu",
        "machine/stopping",
        "machine/several/processes",
        "terminal/command_line",
        "terminal/output",
        "predict/__main__",
        "export/__main__",
    )
    for name in light:
        tree = ast.parse((ROOT / f"sanm/{name}.py").read_text())
        at_top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {alias.name for node in at_top if isinstance(node, ast.Import) for alias in node.names}
        names |= {str(node.module) for node in at_top if isinstance(node, ast.ImportFrom)}
        assert not {n for n in names if n.split(".")[0] in {"torch", "sklearn", "pandas", "torchvision"}}, name
        assert not names & {"sanm.training.experiment", "sanm.training.trainer", "sanm.data", "sanm.step"}, name


def test_sweeps_start_runs_and_nobody_knows_sweeps() -> None:
    assert not offenders("sanm/**/*.py", "sweeps", "analysis")
    assert not offenders("analysis/**/*.py", "sweeps")
    launching = [
        file.relative_to(ROOT) for file in ROOT.glob("sweeps/**/*.py") if not file.stem.startswith(("tune", "stud"))
    ]
    assert not [line for file in launching for line in offenders(str(file), "analysis", "sanm.training.trainer")]
    at_top = {name for file in launching for name in _imported_at_top(ROOT / file)}
    assert not at_top & {"torch", "sklearn", "pandas", "torchvision", "submitit"}


def _imported_at_top(file: Path) -> set[str]:
    nodes = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.partition(".")[0] for name in plain | {str(n.module) for n in nodes if isinstance(n, ast.ImportFrom)}}


def test_every_option_of_a_named_group_has_its_module() -> None:
    for group, package in (("base_method", "methods"), ("noise", "data/noise"), ("data", "data/datasets")):
        options = {file.stem for file in (ROOT / "conf" / group).glob("*.yaml")}
        modules = {file.stem for file in (ROOT / "sanm" / package).glob("[!_]*.py")}
        assert options == modules
