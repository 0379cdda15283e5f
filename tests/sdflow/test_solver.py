"""The solvers on problems with a known answer: a flow without hidden layers is a linear ODE."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sdflow.model import CNF
from sdflow.solver import ADJOINT, CHECKED, OFFICIAL, Density, Solution, Solver, solve
from sdflow.velocity import Field, ODEFunction

D = 6
EXACT = Solver("rk4", steps=64, check=False)


def linear(scale: float = 1.0) -> tuple[ODEFunction, Tensor]:
    """dx/dt = A x with a gate that ignores time but not the condition; returns A for condition 0."""
    torch.manual_seed(3)
    function = ODEFunction(D, (), 1).double()
    layer = function.get_submodule("diffeq.layers.0")
    with torch.no_grad():
        matrix = scale * torch.randn(D, D, dtype=torch.double) / D**0.5
        layer.get_parameter("_layer.weight").copy_(matrix)
        layer.get_parameter("_layer.bias").zero_()
        layer.get_parameter("_hyper_bias.weight").zero_()
        # Condition c multiplies the speed by sigmoid(c) / sigmoid(0).
        layer.get_parameter("_hyper_gate.weight").copy_(torch.tensor([[0.0, 1.0]]).expand(D, 2))
        layer.get_parameter("_hyper_gate.bias").zero_()
    return function, 0.5 * matrix


def run(
    function: ODEFunction, x: Tensor, solver: Solver, density: Density = "none", condition: Tensor | None = None
) -> Solution:
    condition = x.new_zeros(x.shape[0], 1) if condition is None else condition
    probe = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=x.dtype)
    start, end = x.new_tensor(0.0), x.new_tensor(1.0)
    return solve(Field(function, condition, probe), x, start, end, solver, density=density)


def codes(batch: int = 2, rows: int = 3) -> Tensor:
    return torch.randn(batch, rows, D, generator=torch.Generator().manual_seed(7), dtype=torch.double)


def test_rk4_is_of_fourth_order_on_a_linear_problem() -> None:
    function, matrix = linear()
    x = codes()
    exact = x @ torch.linalg.matrix_exp(matrix).T
    errors = [float((run(function, x, Solver(steps=n, check=False)).x - exact).abs().max()) for n in (4, 8, 16)]
    assert 12 < errors[0] / errors[1] < 20
    assert 12 < errors[1] / errors[2] < 20


@pytest.mark.parametrize("solver", [CHECKED, OFFICIAL, EXACT])
def test_every_solver_meets_the_matrix_exponential(solver: Solver) -> None:
    function, matrix = linear()
    x = codes()
    exact = x @ torch.linalg.matrix_exp(matrix).T
    torch.testing.assert_close(run(function, x, solver).x, exact, atol=2e-4, rtol=0)


@pytest.mark.parametrize("density", ["solve", "quadrature"])
def test_log_density_of_a_linear_problem_is_the_probed_trace(density: Density) -> None:
    function, matrix = linear()
    x = codes()
    probe = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=x.dtype)
    wanted = -torch.einsum("bld,de,ble->bl", probe, matrix, probe).unsqueeze(2)
    found = run(function, x, CHECKED, density).logp
    assert found is not None
    torch.testing.assert_close(found, wanted)


def test_quadrature_agrees_with_the_integrated_density() -> None:
    torch.manual_seed(0)
    function = ODEFunction(D, (16, 16), 1).double()
    solver = Solver("rk4", steps=16, check=False)
    solved, quick = run(function, codes(), solver, "solve"), run(function, codes(), solver, "quadrature")
    assert solved.logp is not None
    assert quick.logp is not None
    torch.testing.assert_close(quick.logp, solved.logp, atol=1e-6, rtol=1e-5)
    assert int(quick.nfe[0]) == 4 * 16 + 17


def test_divergence_summed_over_a_basis_is_the_trace_of_the_jacobian() -> None:
    torch.manual_seed(1)
    function = ODEFunction(D, (8, 8), 2).double()
    x, condition = codes(1, 1), torch.rand(1, 2, dtype=torch.double)
    time = torch.tensor([0.3], dtype=torch.double)
    jacobian = torch.autograd.functional.jacobian(
        lambda flat: function.velocity(flat.view(1, 1, D), modulations(function, time, condition))[0, 0], x[0, 0]
    )
    assert isinstance(jacobian, Tensor)
    basis = torch.eye(D, dtype=torch.double).view(D, 1, D)
    field = Field(function, condition.expand(D, -1), basis)
    _, divergence = field.prepare(time).velocity_and_divergence(x.expand(D, -1, -1), (0,))
    torch.testing.assert_close(divergence.sum(), jacobian.diagonal().sum())


def modulations(function: ODEFunction, time: Tensor, condition: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(gate[:, :1], shift[:, :1]) for gate, shift in function.modulations(time, condition)]


def test_only_the_sample_that_fails_the_check_takes_more_steps() -> None:
    function, matrix = linear(scale=8.0)
    x = codes()
    # Sigmoid(-5) makes the first sample almost still, the second runs at full speed.
    condition = torch.tensor([[-5.0], [5.0]], dtype=torch.double)
    together = run(function, x, CHECKED, condition=condition)
    assert together.steps[0] == CHECKED.steps
    assert together.steps[1] > 8
    assert together.nfe[1] > together.nfe[0]
    with torch.no_grad():
        both = run(function, x, CHECKED, condition=condition)
        for n in (0, 1):
            alone = run(function, x[n : n + 1], CHECKED, condition=condition[n : n + 1])
            assert torch.equal(alone.x[0], both.x[n])
            assert alone.nfe[0] == both.nfe[n]
    speed = torch.sigmoid(torch.tensor(5.0, dtype=torch.double))
    exact = x[1] @ torch.linalg.matrix_exp(2 * matrix * speed).T
    assert together.error is not None
    assert together.error[1] <= CHECKED.tolerance
    assert float((together.x[1] - exact).abs().max()) < 10 * CHECKED.tolerance


def test_the_check_gives_up_at_max_steps_and_says_how_far_it_is() -> None:
    function, _ = linear(scale=60.0)
    found = run(function, codes(), Solver(max_steps=8, tolerance=1e-9))
    assert found.steps.tolist() == [8, 8]
    assert found.error is not None
    assert float(found.error.min()) > 1e-9


def gradients(solver: Solver) -> list[Tensor]:
    torch.manual_seed(2)
    flow = CNF(D, (12, 12), 2).double()
    x = codes().requires_grad_()
    condition = torch.tensor([[0.2, 0.9], [0.7, 0.1]], dtype=torch.double, requires_grad=True)
    probe = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=x.dtype)
    out = flow(x, Field(flow.odefunc, condition, probe), torch.zeros_like(x[..., :1]), False, solver, "solve")
    (out.x.square().mean() + out.logp.mean()).backward()
    found = [x.grad, condition.grad, *(p.grad for p in flow.parameters())]
    return [g for g in found if g is not None]


@pytest.mark.parametrize("other", [Solver("dopri5", tolerance=1e-9), Solver("dopri5", tolerance=1e-9, adjoint=True)])
def test_gradients_through_steps_and_by_adjoint_agree(other: Solver) -> None:
    unrolled, others = gradients(EXACT), gradients(other)
    assert len(unrolled) == len(others) == 2 + 1 + 3 * 5
    for mine, theirs in zip(unrolled, others, strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=2e-3)


def test_gradients_of_eight_steps_pass_the_numeric_check() -> None:
    torch.manual_seed(4)
    flow = CNF(3, (4,), 1).double()
    probe = torch.randn(1, 1, 3, dtype=torch.double)

    def both(x: Tensor, condition: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        field = Field(flow.odefunc, condition, probe)
        found = solve(field, x, torch.zeros_like(end), end, Solver("rk4", steps=4, check=False), density="solve")
        assert found.logp is not None
        return found.x, found.logp

    inputs = (torch.randn(1, 1, 3), torch.rand(1, 1), torch.tensor(0.8))
    assert torch.autograd.gradcheck(both, tuple(t.double().requires_grad_() for t in inputs))


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        Solver(steps=3)
    with pytest.raises(ValueError, match="adjoint"):
        Solver("rk4", adjoint=True)
    with pytest.raises(ValueError, match="tolerance"):
        Solver(tolerance=0.0)
    function, _ = linear()
    with pytest.raises(ValueError, match="probe"):
        solve(Field(function, torch.zeros(2, 1).double()), codes(), torch.zeros(()), torch.ones(()), ADJOINT)


def test_a_tick_stops_a_solve_at_once() -> None:
    function, _ = linear()
    count = 0

    def tick() -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt

    field = Field(function, codes()[:, 0, :1] * 0, None, tick)
    with pytest.raises(KeyboardInterrupt):
        solve(field, codes(), torch.zeros(()).double(), torch.ones(()).double())
    assert count == 3
