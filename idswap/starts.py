"""Weights that the published trainings start from, put into our classes."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from encoders.inception import InceptionEncoder
from idswap.models import SwapEncoder
from workbench.errors import BadCheckpoint


def imagenet_inception(encoder: InceptionEncoder, state: Mapping[str, Tensor]) -> None:
    """Give ``encoder`` the ImageNet weights of torchvision's ``inception_v3`` file, in place. Raises BadCheckpoint.

    The entries stand in the same order everywhere; the older file has no counters of batches, the Keras form no gains.
    """
    kept = {k: v for k, v in state.items() if not k.startswith(("AuxLogits.", "fc.")) and "num_batches" not in k}
    if encoder.convention == "keras":
        kept = {k: v for k, v in kept.items() if not k.endswith("bn.weight")}
    whole = dict(encoder.state_dict())
    names = [key for key in whole if "num_batches" not in key]
    if len(names) != len(kept) or any(whole[n].shape != v.shape for n, v in zip(names, kept.values(), strict=True)):
        raise BadCheckpoint(
            f"This is no InceptionV3 trained on ImageNet: its {len(kept)} entries do not fit the {len(names)} needed; "
            "give torchvision's 'inception_v3_google' file."
        )
    encoder.load_state_dict(whole | dict(zip(names, kept.values(), strict=True)))


def recogniser_trunk(encoder: SwapEncoder, recogniser: Mapping[str, Tensor]) -> None:
    """Give the trunk of ``encoder`` the weights of ``model_ir_se50.pth``, in place; the published training starts from scratch.

    Raises BadCheckpoint.
    """
    trunk = {key: value for key, value in recogniser.items() if key.startswith(("input_layer.", "body."))}
    whole = encoder.state_dict()
    wanted = {key for key in whole if not key.startswith("output_layer")}
    if set(trunk) != wanted or any(whole[key].shape != value.shape for key, value in trunk.items()):
        raise BadCheckpoint("This is no IR-SE50 recogniser: its trunk does not fit; give 'model_ir_se50.pth'.")
    encoder.load_state_dict(whole | trunk)
