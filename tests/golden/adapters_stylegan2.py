"""Golden items of ``stylegan2``: operators, generator and discriminator, in the reference and the fast form."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from stylegan2 import ops
from stylegan2.discriminator import Discriminator
from stylegan2.generator import Generator
from tests.golden.items import Adapter, Context, Outputs

UPFIRDN = {
    "upfirdn2d_0": (1.0, 1, 1, (2, 1)),
    "upfirdn2d_1": (4.0, 2, 1, (2, 1)),
    "upfirdn2d_2": (1.0, 1, 2, (1, 1)),
    "upfirdn2d_3": (4.0, 1, 1, (1, 1)),
    "upfirdn2d_4": (1.0, 2, 3, (3, 2)),
    "upfirdn2d_5": (1.0, 3, 2, (-1, 2)),
}
BOTH_FORMS_UP_TO = 256
Form = Literal["fast", "reference"]


def operators(context: Context) -> Outputs:
    x = context.input("x")

    def both(kernel: Tensor, up: int, down: int, pad: tuple[int, int]) -> tuple[Tensor, Tensor]:
        return ops.upfirdn2d(x, kernel, up, down, pad), ops.upfirdn2d_reference(x, kernel, up, down, pad)

    outputs: dict[str, object] = {
        name: both(ops.make_kernel([1, 3, 3, 1], gain), up, down, pad)
        for name, (gain, up, down, pad) in UPFIRDN.items()
    }
    outputs["upfirdn2d_asymmetric"] = both(ops.make_kernel([1, 2, 3, 4]), 2, 1, (2, 1))
    outputs["lrelu4"] = ops.bias_leaky_relu(context.input("act4"), context.input("bias4"))
    outputs["lrelu2"] = ops.bias_leaky_relu(context.input("act2"), context.input("bias2"))
    outputs["lrelu_no_bias"] = ops.bias_leaky_relu(context.input("act4"))
    return outputs


@torch.inference_mode()
def _render(context: Context, generator: Generator, form: Form) -> dict[str, Tensor]:
    generator.set_form(form)
    names = {output.name for output in context.item.outputs}
    w, middle = context.input("w"), context.input("truncation_latent")
    outputs = {
        "mapping": generator.map(context.input("z")),
        "image": generator(context.input("codes"), latent=True),
        "image_truncated": generator(w, latent=True, truncation=0.7, center=middle),
    }
    if "image_mixed" in names:
        outputs["image_mixed"] = generator([w, context.input("w2")], latent=True, mix_at=4)
    if "image_from_z" in names:
        outputs["image_from_z"] = generator(context.input("z")[:2], truncation=0.7, center=middle)
    return outputs


def generator(context: Context) -> Outputs:
    arguments = context.network().constructor
    network = Generator(arguments["size"], arguments["style_dim"], arguments["n_mlp"], arguments["channel_multiplier"])
    context.fill(network)
    fast = _render(context, network, "fast")
    if network.size > BOTH_FORMS_UP_TO:
        return fast
    reference = _render(context, network, "reference")
    return {name: (value, reference[name]) for name, value in fast.items()}


@torch.inference_mode()
def discriminator(context: Context) -> Outputs:
    """Scores in float64: they are small sums of large terms, and the float32 convolutions of some CPUs lose a digit.

    oneDNN on AVX2 alone is 7e-6 away from the exact scores, which is above the tolerance.
    """
    arguments = context.network().constructor
    network = context.fill(Discriminator(arguments["size"], arguments["channel_multiplier"])).double()
    outputs = {"scores": network(context.input("images").double())}
    if "images8" in context.item.inputs:
        outputs["scores8"] = network(context.input("images8").double())
    return outputs


ADAPTERS: dict[str, Adapter] = {
    "stylegan2_ops": operators,
    "stylegan2_generator_64": generator,
    "stylegan2_generator_256": generator,
    "stylegan2_generator_1024": generator,
    "stylegan2_discriminator_64": discriminator,
    "stylegan2_discriminator_256": discriminator,
}
