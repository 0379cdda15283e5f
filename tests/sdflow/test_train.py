"""The training step: what learns, what stays, exact resume, and the published preset."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdflow.solver import Solver
from sdflow.train import DEFAULT, FAITHFUL, PRESETS, SDFlowConfig, SDFlowTask, Usual
from tests.sdflow.tiny import ATTRIBUTES, WIDTH, estimator, flow, generator

SMALL = replace(DEFAULT, attributes=ATTRIBUTES, steps=2, learning_rate=1e-3)


class Labels(nn.Module):
    """A stand-in for a 40-attribute classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3 * 16, 40)

    def forward(self, image: Tensor) -> Tensor:
        return self.net(F.adaptive_avg_pool2d(image, 4).flatten(1))


class Embedding(Labels):
    """A stand-in for a face embedding."""

    def forward(self, image: Tensor) -> Tensor:
        return F.normalize(super().forward(image), dim=1)


def batch(size: int = 4) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(9)
    image = torch.rand(size, 3, 32, 32, generator=draw) * 2 - 1
    code = torch.randn(size, 6, WIDTH, generator=draw) * 2 + 1
    return {"image": image, "code": code, "labels": (torch.rand(size, 40, generator=draw) > 0.5).float()}


def task(config: SDFlowConfig = SMALL, view: Callable[[Tensor], Tensor] | None = None) -> SDFlowTask:
    torch.manual_seed(0)
    usual = Usual(torch.eye(WIDTH), torch.randn(len(ATTRIBUTES), WIDTH))
    guides = {"classifier": Labels(), "embedder": Embedding()}
    return SDFlowTask(config, estimator(), flow(), generator(), **guides, usual=usual, view=view)


def train(one: SDFlowTask, optimizer: torch.optim.Optimizer, steps: range) -> list[dict[str, float]]:
    logs: list[dict[str, float]] = []
    for index in steps:
        loss, numbers = one.step(batch(), index, torch.Generator().manual_seed(index))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        logs.append({name: float(value) for name, value in numbers.items()})
    return logs


def test_training_lowers_the_losses_and_moves_only_its_networks() -> None:
    one = task()
    assert one.generator is not None
    before = copy.deepcopy(one.generator.state_dict())
    logs = train(one, one.optimizer(), range(15))
    assert {"kd", "nll", "mi", "reg", "loss", "nfe"} == set(logs[0])
    assert logs[-1]["nll"] < logs[0]["nll"] - 0.05
    assert logs[-1]["kd"] < 0.7 * logs[0]["kd"]
    for name, value in one.generator.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(p.grad is None for p in one.generator.parameters())


def test_every_loss_reaches_the_network_it_should() -> None:
    def reached(config: SDFlowConfig) -> tuple[bool, bool]:
        one = task(config)
        loss, _ = one.step(batch(), 0, torch.Generator().manual_seed(0))
        loss.backward()
        networks = (one.estimator, one.flow)
        a, b = (any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in n.parameters()) for n in networks)
        return a, b

    none = replace(SMALL, kd=0.0, nll=0.0, mi=0.0, reg=0.0)
    assert reached(replace(none, kd=1.0)) == (True, False)
    for name in ("nll", "mi", "reg", "attr", "keep", "identity", "natural"):
        assert reached(replace(none, **{name: 1.0})) == (True, True), name


def test_goals_reach_beyond_the_ends_and_the_losses_on_pictures_stay_within() -> None:
    one = task(replace(SMALL, reach=0.2, attr=1.0))
    draws = one.draw((4000, 6, WIDTH), torch.Generator().manual_seed(0))
    assert (float(draws.value.min()), float(draws.value.max())) == pytest.approx((-0.2, 1.2))
    # Each end is drawn by itself: reach / (1 + 4 reach).
    assert float((draws.value == draws.value.max()).float().mean()) == pytest.approx(0.111, abs=0.02)
    few = one.draw((4, 6, WIDTH), torch.Generator().manual_seed(0))
    beyond = replace(few, value=torch.full((4,), 1.2))
    _, logs = one.loss(batch(), 0, beyond)
    assert float(logs["attr"]) >= 0  # a goal above 1 would make the cross-entropy fall without end


def test_guides_see_the_edit_and_the_original_from_the_same_place() -> None:
    seen: list[Tensor] = []

    def view(both: Tensor) -> Tensor:
        seen.append(both)
        return both.flip(3)

    one = task(replace(SMALL, attr=1.0, keep=1.0, identity=1.0), view)
    _, logs = one.loss(batch(), 0, one.draw((4, 6, WIDTH), torch.Generator().manual_seed(0)))
    assert [tuple(s.shape[:2]) for s in seen] == [(4, 6)]
    plain = task(one.config)
    _, without = plain.loss(batch(), 0, plain.draw((4, 6, WIDTH), torch.Generator().manual_seed(0)))
    assert float(logs["attr"]) != float(without["attr"])


def test_a_resumed_run_repeats_the_uninterrupted_one() -> None:
    whole = task()
    train(whole, whole.optimizer(), range(4))
    first = task()
    optimizer = first.optimizer()
    train(first, optimizer, range(2))
    saved = copy.deepcopy({name: module.state_dict() for name, module in first.modules.items()})
    kept = copy.deepcopy(optimizer.state_dict())
    second = task()
    for name, module in second.modules.items():
        module.load_state_dict(saved[name])
    optimizer = second.optimizer()
    optimizer.load_state_dict(kept)
    train(second, optimizer, range(2, 4))
    for name, module in second.modules.items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, whole.modules[name].state_dict()[key]), key


def test_steps_without_pictures_use_some_rows_only() -> None:
    one = task(replace(SMALL, render_every=3, rows=2))
    assert [one.renders(i) for i in range(4)] == [True, False, False, True]
    draws = one.draw((4, 6, WIDTH), torch.Generator().manual_seed(0))
    assert draws.rows.shape == (2,)
    _, rendered = one.loss(batch(), 0, draws)
    _, plain = one.loss(batch(), 1, draws)
    assert "mi" in rendered
    assert "mi" not in plain
    other = batch()
    unused = [row for row in range(6) if row not in draws.rows.tolist()]
    other["code"][:, unused] += 5
    again, spoiled = task(one.config), task(one.config)
    assert torch.equal(again.loss(batch(), 1, draws)[0], spoiled.loss(other, 1, draws)[0])


def test_both_passes_see_the_same_statistics_and_photos_alone_move_the_estimators() -> None:
    one = task(replace(SMALL, reg=1.0, steps=8))
    draws = one.draw((4, 6, WIDTH), torch.Generator().manual_seed(0))
    unchanged = replace(
        draws, value=one.estimator.train()(batch()["image"]).detach().gather(1, draws.chosen[:, None])[:, 0]
    )
    one = task(replace(SMALL, steps=8))
    _, logs = one.loss(batch(), 0, unchanged)
    assert float(logs["reg"]) < 1e-8
    counts = [m.num_batches_tracked for m in one.estimator.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {int(c) for c in counts if c is not None} == {1}
    assert one.flow.get_buffer("chain.0.step").item() == 1
    habit = task(replace(SMALL, steps=8, same_statistics=False))
    _, logs = habit.loss(batch(), 0, unchanged)
    assert float(logs["reg"]) > 1e-4
    counts = [m.num_batches_tracked for m in habit.estimator.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {int(c) for c in counts if c is not None} == {2}


def test_the_share_of_a_process_is_a_slice_of_the_whole_draw() -> None:
    draws = task().draw((4, 6, WIDTH), torch.Generator().manual_seed(0))
    part = draws.part(slice(2, 4))
    assert torch.equal(part.value, draws.value[2:])
    assert part.probe.shape == (2, 6, WIDTH)
    assert torch.equal(part.rows, draws.rows)


def test_the_published_preset() -> None:
    assert PRESETS == {"default": DEFAULT, "faithful": FAITHFUL}
    assert FAITHFUL.solver == Solver("dopri5", tolerance=1e-5, adjoint=True)
    assert (FAITHFUL.kd, FAITHFUL.nll, FAITHFUL.mi, FAITHFUL.reg, FAITHFUL.attr, FAITHFUL.identity) == (
        1,
        1,
        1,
        1,
        0,
        0,
    )
    one = task(replace(FAITHFUL, attributes=ATTRIBUTES))
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(one.shrink(image), image[:, :, ::2, ::2])
    torch.testing.assert_close(task().shrink(image), F.avg_pool2d(image, 2))
    loss, logs = one.step(batch(2), 0, torch.Generator().manual_seed(0))
    loss.backward()
    end = one.flow.get_parameter("chain.1.sqrt_end_time").grad
    assert end is not None
    assert float(end) != 0
    assert float(logs["nfe"]) > 20


def test_evaluation_moves_nothing() -> None:
    one = task()
    before = copy.deepcopy({n: m.state_dict() for n, m in one.modules.items()})
    numbers = one.evaluate(batch(), torch.Generator().manual_seed(0))
    assert {"kd", "accuracy", "nll", "round_trip"} == set(numbers)
    assert numbers["round_trip"] < 1e-3
    for name, module in one.modules.items():
        assert all(torch.equal(value, before[name][key]) for key, value in module.state_dict().items())


def test_missing_networks_are_named() -> None:
    with pytest.raises(ValueError, match="generator"):
        SDFlowTask(SMALL, estimator(), flow())
    with pytest.raises(ValueError, match="classifier"):
        SDFlowTask(replace(SMALL, attr=1.0), estimator(), flow(), generator())
    with pytest.raises(ValueError, match="embedder"):
        SDFlowTask(replace(SMALL, identity=1.0), estimator(), flow(), generator())
    with pytest.raises(ValueError, match="usual"):
        SDFlowTask(replace(SMALL, natural=1.0), estimator(), flow(), generator())
    with pytest.raises(ValueError, match="outputs"):
        SDFlowTask(replace(SMALL, attributes=ATTRIBUTES[:1]), estimator(), flow(), generator())
    SDFlowTask(replace(SMALL, mi=0.0), estimator(), flow())
