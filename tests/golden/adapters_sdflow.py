"""Golden items of ``sdflow``: velocity, flow (official and tight solvers), norm, estimator, edit, training step."""

from __future__ import annotations

import torch
from torch import Tensor

from sdflow import losses
from sdflow.controls import NAME, VERSION, order, spec
from sdflow.estimator import SemanticEstimator
from sdflow.model import ConditionalFlow, MovingBatchNorm, standard_normal_logp
from sdflow.solver import OFFICIAL, Solver
from sdflow.velocity import Field, ODEFunction
from tests.golden.items import Adapter, Context, Outputs
from workbench.editor import EditRequest

TIGHT = Solver("dopri5", tolerance=1e-8)
EXACT = Solver("rk4", steps=16, check=False)


def _flow(context: Context, network: str, attributes: int) -> ConditionalFlow:
    return context.fill(ConditionalFlow(attributes), network)


@torch.inference_mode()
def ode_function(context: Context) -> Outputs:
    function = _flow(context, "sdflow_flow3", 3).get_submodule("chain.1.odefunc")
    assert isinstance(function, ODEFunction)
    field = Field(function, context.input("condition"), context.input("probe"))
    prepared = field.prepare(torch.tensor([0.0, 0.35, 1.0]))
    outputs: dict[str, Tensor] = {}
    for index, time in enumerate(("000", "035", "100")):
        velocity, divergence = prepared.velocity_and_divergence(context.input("x"), (index,))
        outputs[f"velocity_t{time}"] = velocity
        outputs[f"minus_divergence_t{time}"] = -divergence
    return outputs


@torch.inference_mode()
def _both_ways(context: Context, flow: ConditionalFlow, solver: Solver) -> tuple[list[Tensor], Tensor]:
    """z, its logp, codes, and the logp of the way back; and the evaluations of the three solves."""
    kind = flow.get_parameter("chain.0.weight").dtype
    w, z = context.input("w").to(kind), context.input("z").to(kind)
    condition, other = context.input("condition").to(kind), context.input("condition_b").to(kind)
    probe = context.input("probe").to(kind)
    there = flow(w, condition, solver=solver, probe=probe, density="solve")
    back = flow(z, other, reverse=True, solver=solver, probe=probe)
    dense = flow(z, other, reverse=True, solver=solver, probe=probe, density="solve")
    assert there.logp is not None
    assert dense.logp is not None
    return [there.x, there.logp, back.x, dense.logp], torch.stack([there.nfe[0], back.nfe[0], dense.nfe[0]])


def _passes(context: Context, attributes: int) -> Outputs:
    flow = _flow(context, f"sdflow_flow{attributes}", attributes)
    (z, dlogp, w, back), nfe = _both_ways(context, flow, OFFICIAL)
    nll = losses.nll_loss(z, dlogp)
    outputs: dict[str, Tensor] = {
        "z_official": z,
        "dlogp_official": dlogp,
        "w_official": w,
        "dlogp_reverse_official": back,
        "nll_true": nll,
        "nll_as_coded": losses.nll_as_printed(nll),
        "nfe_official": nfe,
        "end_time": flow.get_parameter("chain.1.sqrt_end_time").detach() ** 2,
    }
    double = flow.double()
    (z, dlogp, w, _), nfe = _both_ways(context, double, OFFICIAL)
    outputs |= {"z_official64": z, "dlogp_official64": dlogp, "w_official64": w, "nfe_official64": nfe}
    (z, dlogp, w, back), nfe = _both_ways(context, double, TIGHT)
    outputs |= {"z_tight": z, "dlogp_tight": dlogp, "w_tight": w, "dlogp_reverse_tight": back, "nfe_tight": nfe}
    return outputs


def flow3(context: Context) -> Outputs:
    return _passes(context, 3)


def flow5(context: Context) -> Outputs:
    return _passes(context, 5)


@torch.no_grad()
def moving_norm(context: Context) -> Outputs:
    norm = context.fill(MovingBatchNorm(512))
    x = context.input("x")
    zeros = x.new_zeros(*x.shape[:2], 1)
    forward, forward_logp = norm(x, zeros)
    reverse, reverse_logp = norm(x, zeros, reverse=True)
    norm.train()
    trained, _ = norm(x, zeros)
    after, _ = norm(x, reverse=True)
    return {
        "forward": forward,
        "forward_logp": forward_logp,
        "reverse": reverse,
        "reverse_logp": reverse_logp,
        "train_forward": trained,
        "train_running_mean": norm.running_mean,
        "train_running_var": norm.running_var,
        "train_step": norm.step,
        "train_reverse_after": after,
    }


@torch.inference_mode()
def _estimates(context: Context, depth: int) -> Outputs:
    estimator = context.fill(SemanticEstimator(3, depth=depth))
    image = context.input("image")
    return {"logits": estimator.logits(image), "probabilities": estimator(image)}


def estimator34(context: Context) -> Outputs:
    return _estimates(context, 34)


def estimator50(context: Context) -> Outputs:
    return _estimates(context, 50)


@torch.inference_mode()
def edit(context: Context) -> Outputs:
    attributes = ("Eyeglasses", "Male", "Young")
    estimator = context.fill(SemanticEstimator(3, depth=34), "sdflow_estimator_r34")
    flow = _flow(context, "sdflow_flow3", 3)
    probe, code = context.input("probe"), context.input("w")
    source = estimator(context.input("image"))
    there = flow(code, source, solver=OFFICIAL, probe=probe, density="solve")
    controls = spec(attributes, code.shape[1])
    targets: list[Tensor] = []
    for sign in (1, -1):
        for slider in (0.2, 0.7, 1.0):
            request = EditRequest(NAME, VERSION, {"absolute": 1, "eyeglasses": sign * slider})
            targets.append(order(attributes, controls.validate(request)).targets(source[0]))
    conditions = torch.stack(targets)
    edits = [flow(there.x, c[None], reverse=True, solver=OFFICIAL, probe=probe) for c in conditions]
    codes = torch.cat([e.x for e in edits])
    double = flow.double()
    exact = double(code, source, solver=TIGHT, probe=probe, density="solve").x
    tight = [double(exact, c[None], reverse=True, solver=TIGHT, probe=probe).x for c in conditions[:3]]
    return {
        "label_dist": source,
        "conditions": conditions,
        "z_official": there.x,
        "edited_official_source0": codes[:3],
        "edited_official_source1": codes[3:],
        "edited_tight_source0": torch.cat(tight),
        "nfe_official": torch.stack([torch.stack([there.nfe[0], e.nfe[0]]) for e in edits]),
    }


def training_step(context: Context) -> Outputs:
    estimator = context.fill(SemanticEstimator(3, depth=34), "sdflow_estimator_r34").train()
    flow = _flow(context, "sdflow_flow3", 3).train()
    code, probe = context.input("latent"), context.input("probe")
    with torch.no_grad():
        estimate = estimator(context.input("image"))
        there = flow(code, estimate, solver=OFFICIAL, probe=probe, density="solve")
        assert there.logp is not None
        chosen = torch.from_numpy(context.stored("modified_index")).long()
        target = losses.change_one(estimate, chosen, torch.from_numpy(context.stored("modified_value")))
        zeros = code.new_zeros(*code.shape[:2], 1)
        back = flow(there.x, target, zeros, reverse=True, solver=OFFICIAL, probe=probe)
        recognised = estimator(context.input("edited_image"))
    kd, nll = losses.kd_loss(estimate, context.input("attributes")), losses.nll_loss(there.x, there.logp)
    mi, reg = losses.mi_loss(recognised, target), losses.reg_loss(back.x, code)
    printed = losses.nll_as_printed(nll)
    # The published log-density counts the constant of a row 512 times.
    prior = standard_normal_logp(there.x) + losses.nll_as_printed(torch.zeros(())) * -512
    outputs: dict[str, Tensor] = {
        "label_dist": estimate,
        "kd_loss": kd,
        "nll_as_coded": printed,
        "nll_true": nll,
        "mi_loss": mi,
        "reg_loss": reg,
        "total_loss": kd + printed + mi + reg,
        "log_prior": prior.sum(1),
        "dlogp": there.logp.sum(1),
        "z": there.x,
        "edited_latents": back.x,
        "recon_label_dist": recognised,
        "chain0_running_mean_after": flow.get_buffer("chain.0.running_mean"),
        "chain2_running_var_after": flow.get_buffer("chain.2.running_var"),
        "estimator_bn1_running_mean_after": estimator.get_buffer("backbone.bn1.running_mean"),
    }
    return {**outputs, **_gradients(context, estimate)}


def _gradients(context: Context, estimate: Tensor) -> dict[str, Tensor]:
    """The exact gradients of the likelihood, through 16 unrolled steps in float64."""
    flow = _flow(context, "sdflow_flow3", 3).double()
    condition = estimate.double().requires_grad_()
    out = flow(context.input("latent"), condition, solver=EXACT, probe=context.input("probe"), density="solve")
    assert out.logp is not None
    nll = losses.nll_loss(out.x, out.logp)
    nll.backward()
    layers = "chain.1.odefunc.diffeq.layers"
    names = {
        "grad_sqrt_end_time": "chain.1.sqrt_end_time",
        "grad_chain0_weight": "chain.0.weight",
        "grad_chain2_bias": "chain.2.bias",
        "grad_layer0_bias": f"{layers}.0._layer.bias",
        "grad_layer3_gate_weight": f"{layers}.3._hyper_gate.weight",
        "grad_layer5_weight_row0": f"{layers}.5._layer.weight",
    }
    found = {ours: flow.get_parameter(name).grad for ours, name in names.items()}
    found["grad_label_dist"] = condition.grad
    given = {name: grad for name, grad in found.items() if grad is not None}
    return {"nll_tight": losses.nll_as_printed(nll.detach()), **given}


ADAPTERS: dict[str, Adapter] = {
    "sdflow_odefunc3": ode_function,
    "sdflow_flow3": flow3,
    "sdflow_flow5": flow5,
    "sdflow_movingbn": moving_norm,
    "sdflow_estimator_r34": estimator34,
    "sdflow_estimator_r50": estimator50,
    "sdflow_edit": edit,
    "sdflow_losses": training_step,
}
