"""Weights that trainings start from, put into our classes: those of the published trainings, and ours."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from encoders.compact import CompactE4E, IdentityNet
from encoders.inception import InceptionEncoder
from idswap.compact import AttributeHead, CompactSwapEncoder
from idswap.models import CodeMapper, SwapEncoder
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


@torch.no_grad()
def from_projector(
    head: AttributeHead, mapper: CodeMapper, projector: CompactE4E, codes: Tensor, *, unit: bool
) -> None:
    """Make ``mapper`` of ``head`` nearly the ``projector``, in place, whatever the identity code is: training then teaches what
    the identity changes.

    ``codes`` (N,L,D) are the projector's for photos. The attribute code becomes the leading principal components of the base
    code, read off the thumbnail; ``unit`` says that codes are unit rows. Raises BadCheckpoint when the parts do not fit.
    """
    if head.linear is None or mapper.skip is None or head.thumbnail != projector.thumbnail:
        raise BadCheckpoint(
            f"A start from the projector needs thumbnails of {projector.thumbnail} px in the encoder and a mapper with 'skip'."
        )
    base = codes[:, 0]
    mean = base.mean(0)
    dim = head.linear.out_features
    _, _, axes = torch.svd_lowrank(base - mean, dim, niter=4)
    head.linear.weight.copy_(axes.t() @ projector.linear.weight)
    # The projector's convolutions add little but a constant, which its mean code holds.
    head.linear.bias.zero_()
    nn.init.zeros_(head.features[-1].weight)  # pyright: ignore[reportArgumentType]
    nn.init.zeros_(head.features[-1].bias)  # pyright: ignore[reportArgumentType]
    along = (base - mean) @ axes
    length = along.norm(dim=1).mean() if unit else torch.ones(())
    mapper.skip.weight.copy_(axes * length)
    mapper.center.copy_(mean)
    first, last = mapper.mapper.model[0], mapper.mapper.model[-1]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    # Inputs of about unit size each: identity rows have unit length, attribute codes the length of base codes.
    identity = first.in_features - dim
    first.weight[:, :identity].mul_((first.in_features / 4) ** 0.5)
    first.weight[:, identity:].mul_((first.in_features / 4) ** 0.5 if unit else 0.5)
    last.weight.mul_(0.1)
    if mapper.offsets is not None:
        mapper.offsets.heads.bias.copy_((codes - codes[:, :1]).mean(0).flatten())


@torch.no_grad()
def centred_thumbnails(head: AttributeHead, thumbnails: Tensor) -> None:
    """Set the bias of the linear part so that ``thumbnails`` (N,3,T,T) have codes of mean zero."""
    assert head.linear is not None
    head.linear.bias.copy_(-(thumbnails.flatten(1) @ head.linear.weight.t()).mean(0))


def compact_recogniser(encoder: CompactSwapEncoder, recogniser: IdentityNet) -> None:
    """Give the trunk and the identity head of ``encoder`` the weights of the compact ``recogniser``, in place.

    ``encoder``'s canvas must show the recogniser's crop at the recogniser's scale on whole cells: see the starter settings.
    Raises BadCheckpoint.
    """
    try:
        encoder.trunk.load_state_dict(recogniser.trunk.state_dict())
        encoder.identity.load_state_dict(recogniser.head.state_dict())
    except RuntimeError as error:
        raise BadCheckpoint("The swapping encoder and the recogniser have other widths; give them the same.") from error
