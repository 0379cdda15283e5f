"""The conditional flow: published numbers, inverse, independence of rows and samples, statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sdflow.estimator import SemanticEstimator, estimator_arch
from sdflow.model import ConditionalFlow, MovingBatchNorm, Pending, flow_arch, log_likelihood
from sdflow.solver import OFFICIAL, Solver
from workbench.errors import BadCheckpoint

EXACT = Solver("rk4", steps=16, check=False)


def wave(count: int, position: int) -> np.ndarray:
    """Deterministic numbers of unit variance."""
    i = np.arange(count, dtype=np.float64)
    turn = np.sin(12.9898 * i + 78.233 * position) * 43758.5453
    return np.sqrt(3) * (2 * (turn - np.floor(turn)) - 1)


def fixture_flow() -> ConditionalFlow:
    """The 3-attribute flow of the published size with deterministic weights, in float64."""
    flow = ConditionalFlow(3).double().eval()
    state = flow.state_dict()
    for position, key in enumerate(sorted(state)):
        shape = tuple(state[key].shape)
        h = torch.from_numpy(wave(int(np.prod(shape, dtype=int)), position)).reshape(shape)
        if key.endswith("sqrt_end_time"):
            h = torch.full_like(h, 0.9)
        elif key.endswith(("step", "_num_evals")):
            h = torch.zeros_like(h)
        elif key.endswith("running_var"):
            h = 0.5 + 0.2 * h
        elif key.endswith("running_mean"):
            h = 0.2 * h
        elif key.startswith(("chain.0", "chain.2")):
            h = 0.1 * h
        elif key.endswith("_layer.weight"):
            h = 1.5 / 512**0.5 * h
        else:
            h = 0.3 * h
        state[key] = h
    flow.load_state_dict(state)
    return flow


def summary(x: Tensor) -> list[float]:
    flat = x.flatten()
    return [float(flat.mean()), float(flat.std(correction=0)), *flat[:4].tolist(), float(flat[-1])]


@torch.no_grad()
def test_numbers_of_the_published_code() -> None:
    flow = fixture_flow()
    w = 0.5 * torch.from_numpy(wave(9216, 1000)).view(1, 18, 512)
    a = torch.tensor([[0.97, 0.05, 0.88]]).double()
    b = torch.tensor([[-0.2, 0.05, 0.88]]).double()
    z = flow(w, a, solver=EXACT).x
    edited = flow(z, b, reverse=True, solver=EXACT).x
    exact_z = [0.014657, 1.520228, 0.768421, 0.842699, -0.505469, 2.683263, -1.592309]
    exact_w = [-0.008408, 0.561889, -0.030522, 0.289572, 0.228703, 0.897753, -0.585700]
    assert summary(z) == pytest.approx(exact_z, abs=2e-6)
    assert summary(edited) == pytest.approx(exact_w, abs=2e-6)
    quick = flow.float()(w.float(), a.float())
    assert float((quick.x - z).abs().max()) < 2e-3
    assert float((quick.x - z).square().mean().sqrt()) < 2e-4


def small(attributes: int = 2, width: int = 16, **rest: int) -> ConditionalFlow:
    torch.manual_seed(0)
    flow = ConditionalFlow(attributes, width=width, hidden=(16, 16), **rest).eval()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for name, buffer in flow.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(0.3 * torch.randn_like(buffer))
            elif name.endswith("running_var"):
                buffer.mul_(0.5 + torch.rand_like(buffer))
    return flow


def codes(batch: int = 3, rows: int = 5, width: int = 16) -> Tensor:
    return torch.randn(batch, rows, width, generator=torch.Generator().manual_seed(1))


CONDITION = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, -0.2]])


@pytest.mark.parametrize("blocks", [1, 2])
@torch.no_grad()
def test_reverse_undoes_forward_and_densities_cancel(blocks: int) -> None:
    flow = small(blocks=blocks)
    probe = flow.probe((5, 16), torch.Generator().manual_seed(2))
    there = flow(codes(), CONDITION, probe=probe, solver=EXACT, density="solve")
    back = flow(there.x, CONDITION, there.logp, reverse=True, probe=probe, solver=EXACT)
    torch.testing.assert_close(back.x, codes(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(back.logp, torch.zeros(3, 5, 1), atol=1e-4, rtol=0)
    assert int(there.nfe[0]) == 64 * blocks


@torch.no_grad()
def test_density_of_an_affine_flow_is_that_of_a_normal() -> None:
    flow = ConditionalFlow(1, width=4, hidden=(8,)).double().eval()
    for name, parameter in flow.named_parameters():
        if "odefunc" in name:
            parameter.zero_()
    mean, var = torch.randn(4).double(), torch.rand(4).double() + 0.5
    flow.get_buffer("chain.0.running_mean").copy_(mean)
    flow.get_buffer("chain.0.running_var").copy_(var - 1e-4)
    flow.get_buffer("chain.2.running_var").fill_(1 - 1e-4)
    x = torch.randn(2, 3, 4).double()
    out = flow(x, torch.zeros(2, 1), probe=torch.randn(3, 4), density="solve")
    normal = torch.distributions.Normal(mean, var.sqrt())
    torch.testing.assert_close(log_likelihood(out.x, out.logp), normal.log_prob(x).mean(2))


@torch.no_grad()
def test_each_code_has_the_same_bits_alone_and_in_a_batch() -> None:
    flow = small()
    probe = flow.probe((5, 16), torch.Generator().manual_seed(2))
    together = flow(codes(), CONDITION, probe=probe, density="quadrature")
    for n in range(3):
        alone = flow(codes()[n : n + 1], CONDITION[n : n + 1], probe=probe, density="quadrature")
        assert torch.equal(alone.x[0], together.x[n])
        torch.testing.assert_close(alone.logp[0], together.logp[n])


@torch.no_grad()
def test_rows_are_moved_on_their_own() -> None:
    flow = small()
    whole = flow(codes(), CONDITION).x
    torch.testing.assert_close(flow(codes()[:, 1:3], CONDITION).x, whole[:, 1:3], atol=1e-6, rtol=1e-5)
    moved = codes()
    moved[:, 4] += 1
    assert torch.equal(flow(moved, CONDITION).x[:, :4], whole[:, :4])


def test_the_flow_runs_in_inference_mode_with_its_density() -> None:
    flow = small()
    probe = flow.probe((5, 16), torch.Generator().manual_seed(2))
    with torch.inference_mode():
        assert flow(codes(), CONDITION, probe=probe, density="solve").logp.shape == (3, 5, 1)
        assert flow(codes(), CONDITION, probe=probe, solver=OFFICIAL).nfe[0] >= 14


def test_bf16_autocast_does_not_reach_the_solver() -> None:
    flow = small()
    plain = flow(codes(), CONDITION).x
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(flow(codes(), CONDITION).x, plain)


def test_statistics_move_in_training_only_and_pending_ones_when_applied() -> None:
    x = codes() * 2 + 1
    norm = MovingBatchNorm(16).eval()
    norm(x)
    assert torch.equal(norm.running_mean, torch.zeros(16))
    norm.train()
    first, _ = norm(x)
    assert torch.equal(first, MovingBatchNorm(16).eval()(x)[0])
    rows = x.reshape(-1, 16)
    torch.testing.assert_close(norm.running_mean, 0.1 * rows.mean(0))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * rows.var(0))
    assert norm.step.item() == 1
    later, pending = MovingBatchNorm(16).train(), Pending()
    forward, _ = later(x, pending=pending)
    torch.testing.assert_close(later(forward, reverse=True)[0], x)
    assert torch.equal(later.running_mean, torch.zeros(16))
    pending.apply()
    assert torch.equal(later.running_mean, norm.running_mean)
    pending.apply()
    assert later.step.item() == 1


def test_wrong_shapes_are_refused() -> None:
    flow = small()
    with pytest.raises(ValueError, match="codes must be"):
        flow(torch.zeros(3, 16), CONDITION)
    with pytest.raises(ValueError, match="condition must be"):
        flow(codes(), CONDITION[:2])
    with pytest.raises(ValueError, match="probe"):
        flow(codes(), CONDITION, density="solve")


def test_arguments_are_read_off_a_state() -> None:
    flow = small(attributes=4, blocks=2)
    arch = flow_arch(flow.state_dict())
    assert arch == {"attributes": 4, "width": 16, "hidden": [16, 16], "blocks": 2}
    assert set(ConditionalFlow(**arch).state_dict()) == set(flow.state_dict())
    for depth in (18, 34, 50):
        state = SemanticEstimator(3, depth=depth, width=8).state_dict()
        assert estimator_arch(state) == {"attributes": 3, "depth": depth, "width": 8, "input_size": 256}
    with pytest.raises(BadCheckpoint, match="flow"):
        flow_arch({"weight": torch.zeros(1)})
    with pytest.raises(BadCheckpoint, match="estimator"):
        estimator_arch({"weight": torch.zeros(1)})


@torch.no_grad()
def test_the_estimator_takes_pictures_of_any_size() -> None:
    torch.manual_seed(0)
    estimator = SemanticEstimator(3, depth=18, width=8, input_size=32).eval()
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    values = estimator(image)
    assert values.shape == (2, 3)
    assert bool(((values > 0) & (values < 1)).all())
    assert torch.equal(torch.sigmoid(estimator.logits(image)), values)
