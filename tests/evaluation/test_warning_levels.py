"""The limits beyond which the app calls a projection poor."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from evaluation import warning_levels
from tests.training import faces
from workbench.errors import BadImage


def test_the_limits_are_those_of_the_worst_faces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadImage, match="no 'val' zip"):
        warning_levels.main(["--faces", str(tmp_path)])
    faces.write(tmp_path)
    shutil.copy(tmp_path / "val.zip", tmp_path / "toy-val-00.zip")
    shutil.copy(tmp_path / "val.csv", tmp_path / "toy-val-attributes.csv")
    warning_levels.main(["--faces", str(tmp_path), "--count", "4"])
    found = json.loads(capsys.readouterr().out)
    assert found["count"] == 4
    assert -1 <= found["low_identity"] <= found["mean_identity"] <= 1
    # Discs are no faces: they are farther from their projections than the worst of real ones.
    assert found["high_l2"] > 0.0385
