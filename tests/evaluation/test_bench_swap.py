"""The sheet's bench counts what the networks are really asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.manage import benches
from evaluation import bench_swap
from tests.workbench.test_swapping import write_swapping
from workbench.engine import Engine
from workbench.errors import MissingWeights
from workbench.swapping import METHODS, Swapping


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_swapping(tmp_path_factory.mktemp("swapping"))


def test_a_sheet_costs_one_encoding_per_picture_and_one_pass_per_combination(manifest: Path):
    found = bench_swap.run(1, side=3, manifest=manifest)
    assert found["sheet"] == [3, 3]
    for name in METHODS:
        one = found[name]
        assert (one["encodes"], one["passes"]) == (6, 9)
        assert (one["command"]["encodes"], one["command"]["passes"]) == (6, 9)
        # The recogniser reads six sources and nine results once each; Nitzan's identity codes are six more readings.
        assert one["command"]["looks"] == 15 + (6 if name == "nitzan" else 0)
        assert one["looks"] == (6 if name == "nitzan" else 0)
        times = one["milliseconds"]
        assert one["ratio"] == pytest.approx(times["sheet"] / times["parts"], abs=2e-3)
        assert one["swap_ratio"] == pytest.approx(times["swap"] / times["swap_parts"], abs=2e-3)


@pytest.mark.parametrize("name", METHODS)
def test_calls_beyond_what_is_needed_are_counted(name: str, manifest: Path):
    engine = Engine(family_file=manifest)
    swapping = Swapping(engine)
    a, b = engine.random_face(1), engine.random_face(2)
    method = swapping.method(name)
    with bench_swap.counted(method, engine.store.module("identity")) as counts:
        swapping.swap(name, a, b)
        swapping.swap(name, a, b)
        assert (counts.encodes, counts.passes) == (2, 2)
        swapping.forget()
        swapping.swap(name, a, b)
        engine.random_face(3)
        assert (counts.encodes, counts.passes) == (4, 4)
    swapping.swap(name, b, a)
    assert (counts.encodes, counts.passes) == (4, 4)


def test_it_is_a_bench_and_needs_weights(tiny_manifest: Path):
    assert "swap" in benches()
    with pytest.raises(MissingWeights, match="no swapping weights"):
        bench_swap.run(1, side=2, manifest=tiny_manifest)
