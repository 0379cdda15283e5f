"""The starter settings' networks fit their share of the family's budget."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from idswap.compact import CompactAttributes, CompactSwapEncoder
from idswap.models import CodeMapper

ROOT = Path(__file__).parents[2]


def megabytes(*nets: nn.Module) -> float:
    """Size in MiB with two bytes per number."""
    return sum(value.numel() for net in nets for value in net.state_dict().values()) * 2 / 2**20


def settings(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    body = tomllib.loads((ROOT / "configs" / f"{name}.toml").read_text())
    return {key: value for key, value in body["encoder"].items() if key != "form"}, body["mapper"]


def mapper(table: dict[str, Any], identity: int, attributes: int) -> CodeMapper:
    widths = [identity + attributes, *table["hidden"], 512]
    return CodeMapper(widths, rows=14, rank=table["rank"], skip=attributes if table["skip"] else 0)


def test_both_methods_together_stay_below_twenty_mebibytes():
    with torch.device("meta"):
        first, table = settings("starter_nitzan")
        nets: list[nn.Module] = [CompactAttributes(**first), mapper(table, 128, first["dim"])]
        second, table = settings("starter_zhou")
        nets += [CompactSwapEncoder(**second), mapper(table, second["identity"], second["attributes"])]
    assert megabytes(*nets) < 20
