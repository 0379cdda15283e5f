"""The starter settings' networks fit their share of the family's budget."""

from __future__ import annotations

import tomllib
from pathlib import Path

import torch
from torch import nn

from idswap.compact import CompactAttributes, CompactSwapEncoder
from idswap.models import CodeMapper

ROOT = Path(__file__).parents[2]


def megabytes(*nets: nn.Module) -> float:
    """Size in MiB with two bytes per number."""
    return sum(value.numel() for net in nets for value in net.state_dict().values()) * 2 / 2**20


def test_both_methods_together_stay_below_eight_mebibytes():
    nitzan = tomllib.loads((ROOT / "configs" / "starter_nitzan.toml").read_text())
    zhou = tomllib.loads((ROOT / "configs" / "starter_zhou.toml").read_text())
    rows = 14
    with torch.device("meta"):
        first = nitzan["encoder"]
        nets: list[nn.Module] = [CompactAttributes(first["widths"], input_size=first["input_size"], dim=first["dim"])]
        nets.append(CodeMapper([128 + first["dim"], *nitzan["mapper"]["hidden"], 512], rows=rows, rank=64))
        second = {key: value for key, value in zhou["encoder"].items() if key != "form"}
        nets.append(CompactSwapEncoder(**second))
        width = second["identity"] + second["attributes"]
        nets.append(CodeMapper([width, *zhou["mapper"]["hidden"], 512], rows=rows, rank=64))
    assert nitzan["mapper"]["rank"] == zhou["mapper"]["rank"] == 64
    total = megabytes(*nets)
    print(f"{total:.2f} MiB")
    assert total < 8
