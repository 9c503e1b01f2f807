"""What tests of studies share: Hydra initialised, and a study whose runs are a formula."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra import initialize_config_dir

from sanm.config import CONF
from sweeps.study import Study, study_of

MakeStudy = Callable[..., Study]


@pytest.fixture
def make_study(tmp_path: Path) -> Iterator[MakeStudy]:
    """``study_of`` with the runs and, unless given, a quick storage below the test's own folder."""
    quick = f"study.storage=journal:{tmp_path / 'study.log'}"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda *words: study_of([quick, *words, f"runs_dir={tmp_path / 'runs'}"])
