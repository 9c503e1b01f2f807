"""Imports point one way, and nobody knows more than it should."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.conftest import ROOT

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
    assert "sanm.components.SANM" in imported(ROOT / "sanm/trainer.py")


def test_methods_do_not_know_sanm_and_sanm_no_method() -> None:
    assert not offenders("sanm/methods/*.py", "sanm.components", "sanm.trainer", "sanm.data")
    assert not offenders("sanm/components/*.py", "sanm.methods", "sanm.trainer", "sanm.data")


def test_what_trains_cannot_reach_scores_or_true_labels() -> None:
    training = ("sanm/trainer.py", "sanm/simclr.py", "sanm/quality.py")
    for part in (
        *training,
        "sanm/methods/*.py",
        "sanm/components/*.py",
        "sanm/models/*.py",
    ):
        forbidden = ("sanm.scoring", "sanm.samples", "sanm.data.prepare", "sanm.data.Data", "sanm.data.types.Data")
        assert not offenders(part, *forbidden)


def test_no_method_is_named_outside_its_file() -> None:
    shared = [
        "sanm/trainer.py",
        "sanm/quality.py",
        "sanm/mix.py",
        "sanm/types.py",
        *map(str, ROOT.glob("sanm/components/*.py")),
    ]
    for name in shared:
        tree = ast.parse((ROOT / name).read_text())
        strings = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not strings & set(METHODS), name


def test_analysis_reads_records_without_torch_or_the_trainer() -> None:
    assert not offenders("analysis/**/*.py", "torch", "torchvision", "sanm.trainer", "sanm.experiment", "sanm.store")


def test_config_is_checked_before_anything_heavy_loads() -> None:
    light = (
        "run",
        "pretrain",
        "fetch",
        "config",
        "identity",
        "explain",
        "multirun",
        "store",
        "files",
        "errors",
        "cells",
        "gpu",
        "several/processes",
        "command_line",
        "predict/__main__",
        "export/__main__",
    )
    for name in light:
        tree = ast.parse((ROOT / f"sanm/{name}.py").read_text())
        at_top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {alias.name for node in at_top if isinstance(node, ast.Import) for alias in node.names}
        names |= {str(node.module) for node in at_top if isinstance(node, ast.ImportFrom)}
        assert not {n for n in names if n.split(".")[0] in {"torch", "sklearn", "pandas", "torchvision"}}, name
        assert not names & {"sanm.experiment", "sanm.trainer", "sanm.data", "sanm.types"}, name


def test_sweeps_start_runs_and_nobody_knows_sweeps() -> None:
    assert not offenders("sanm/**/*.py", "sweeps", "analysis")
    assert not offenders("analysis/**/*.py", "sweeps")
    launching = [
        file.relative_to(ROOT) for file in ROOT.glob("sweeps/**/*.py") if not file.stem.startswith(("tune", "stud"))
    ]
    assert not [line for file in launching for line in offenders(str(file), "analysis", "sanm.trainer")]
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
