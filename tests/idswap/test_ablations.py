"""The ablations differ from the training they are compared with in the one term that they leave out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from idswap.presets import NITZAN_PRESETS, configured
from training.settings import read_settings

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"


def read(name: str) -> dict[str, Any]:
    return read_settings(CONFIGS / f"{name}.toml")


@pytest.mark.parametrize(("name", "term"), [("landmarks", "landmarks"), ("discriminator", "adversarial")])
def test_an_ablation_leaves_out_one_term_and_nothing_else(name: str, term: str):
    whole, ablated = read("starter_nitzan"), read(f"starter_nitzan_without_{name}")
    assert getattr(configured(whole["nitzan"], NITZAN_PRESETS), term) > 0
    assert getattr(configured(ablated["nitzan"], NITZAN_PRESETS), term) == 0
    whole["nitzan"][term] = 0.0
    whole["mapper"]["identity_gain"] = 1.0  # measured for the whole training; it takes no part in the steps
    assert ablated == whole
