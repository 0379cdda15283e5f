"""Balanced thresholds of a classifier: found on labelled photos, kept in its header, used by who measures edits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from data import container
from encoders.attributes import CELEBA_ATTRIBUTES
from encoders.compact import AttributeNet
from evaluation import thresholds
from tests.training import faces
from workbench.errors import BadCheckpoint
from workbench.masking import thresholds_of


def test_a_rare_attribute_that_is_never_read_above_one_half_has_a_threshold_below() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(2000) % 20 == 0
    readings = np.clip(np.where(labels, 0.3, 0.1) + 0.05 * rng.standard_normal(2000), 0, 1)
    told = thresholds.balanced(readings, labels)
    assert told is not None
    assert told[0] == pytest.approx(0.2, abs=0.02)
    assert told[1] == pytest.approx(0.977, abs=0.01)  # two standard deviations to either side


def test_nothing_is_said_of_what_is_too_rare() -> None:
    labels = np.zeros(500)
    labels[: thresholds.FEWEST - 1] = 1
    assert thresholds.balanced(np.full(500, 0.5), labels) is None


def test_they_are_written_beside_the_weights_and_leave_their_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faces.write(tmp_path)
    monkeypatch.setattr(thresholds, "FEWEST", 2)
    torch.manual_seed(0)
    arch = {"widths": [4, 8], "input_size": 16}
    file = tmp_path / "judge.safetensors"
    before = container.save(file, AttributeNet(**arch).state_dict(), {"kind": "judge", "arch": arch, "steps": 3})
    words = ["--classifier", str(file), "--zip", str(tmp_path / "val.zip"), "--labels", str(tmp_path / "val.csv")]
    assert thresholds.main([*words, "--size", "32"]) == 0
    header = container.read_header(file)
    assert (header["id"], header["steps"], header["thresholds_of"]) == (before, 3, 8)
    assert header["thresholds"]
    assert next(iter(header["thresholds"])) in capsys.readouterr().out
    told = thresholds_of(header)
    assert set(told) == set(CELEBA_ATTRIBUTES)
    assert {n: told[n] for n in header["thresholds"]} == header["thresholds"]


@pytest.mark.parametrize("wrong", [[0.5], {"Male": "much"}, {"Male": 3}])
def test_thresholds_that_are_none_are_refused(wrong: object) -> None:
    assert thresholds_of({})["Male"] == 0.5
    with pytest.raises(BadCheckpoint, match="measure them again"):
        thresholds_of({"id": "x", "thresholds": wrong})


def test_the_shipped_judge_has_them_for_every_attribute_but_the_blurred_ones() -> None:
    header = container.read_header(Path(__file__).parents[2] / "data" / "starter" / "judge.safetensors")
    assert header["thresholds_of"] == 1500
    assert set(CELEBA_ATTRIBUTES) - set(header["thresholds"]) == {"Blurry"}
