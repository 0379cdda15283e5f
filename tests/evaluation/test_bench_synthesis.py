"""The fields of the synthesis benchmark, on a size that takes no time."""

from __future__ import annotations

from evaluation import bench_synthesis


def test_fields_of_one_short_run(monkeypatch):
    result = bench_synthesis.run(2, sizes=(8,), peak=False)
    assert result["repeats"] == 2
    assert result["threads"] >= 1
    assert 0 < result["error_8"] <= 1e-4
    assert result["error_8"] < result["bf16_error_8"] < 0.1
    assert result["ratio_8"] > 0
    assert abs(result["floor_8"] * result["bare_ms_8"] / result["fast_ms_8"] - 1) < 0.2


def test_bare_convolutions_are_those_of_the_picture():
    generator, _ = bench_synthesis.network(16)
    shapes = bench_synthesis.bare_shapes(generator)
    sides = [(side, up) for _, side, up in shapes]
    assert sorted(sides) == sorted(
        [(4, False)] * 2 + [(4, True), (8, False), (8, False), (8, True), (16, False), (16, False)]
    )
