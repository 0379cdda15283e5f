"""The networks of a swapping run beside its generator: recogniser, landmarks, perceptual distance, and new encoders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data import container
from encoders.compact import AttributeNet
from encoders.inception import InceptionEncoder
from encoders.landmarks import LandmarkNet
from encoders.mobilefacenet import LandmarkMobileFaceNet
from idswap.compact import CompactAttributes, CompactSwapEncoder
from idswap.guides import FeatureDistance, InnerPoints, VGGFaceIdentity
from idswap.models import SwapEncoder
from idswap.starts import imagenet_inception, recogniser_trunk
from training.files import Loaded, find, frozen
from workbench import official
from workbench.errors import BadCheckpoint, BadRequest


def identity(table: Mapping[str, Any], runs: Path, device: str) -> Loaded:
    """The recogniser: ``identity`` names its file; ``identity_form = "vggface2"`` an untouched ResNet-50 state of that method."""
    name = table["identity"]
    if table.get("identity_form") == "vggface2":
        net = VGGFaceIdentity()
        state, header = container.load(find(name, runs))
        try:
            net.net.load_state_dict(state)
        except RuntimeError as error:
            raise BadCheckpoint(f"'{name}' holds no VGGFace2 ResNet-50 with 512 outputs.") from error
        return Loaded(net.to(device).eval().requires_grad_(False), str(header["id"]))
    return frozen(name, "identity", runs, device)


def landmarks(table: Mapping[str, Any], runs: Path, device: str) -> InnerPoints | None:
    """The landmark network, where the settings name one."""
    if "landmarks" not in table:
        return None
    net = frozen(table["landmarks"], "landmarks", runs, device).net
    if not isinstance(net, LandmarkNet | LandmarkMobileFaceNet):
        raise BadCheckpoint(f"'{table['landmarks']}' holds no landmark network; name one in the settings.")
    return InnerPoints(net)


def perceptual(table: Mapping[str, Any], runs: Path, device: str) -> nn.Module | None:
    """The perceptual distance: LPIPS from a published file, or the features of our attribute classifier."""
    if "perceptual" not in table:
        return None
    net = frozen(table["perceptual"], "attributes", runs, device).net
    return FeatureDistance(net) if isinstance(net, AttributeNet) else net


def attribute_encoder(table: Mapping[str, Any], runs: Path) -> tuple[nn.Module, dict[str, Any], int]:
    """A new attribute encoder of Nitzan's method, its arguments, and the width of its code.

    ``form``: "compact" (other entries are its arguments) or "inception" with ``convention`` and ``start``, an ImageNet file.
    """
    arch = {k: v for k, v in table.items() if k not in ("form", "start")}
    if table["form"] == "compact":
        net = CompactAttributes(**arch)
        return net, arch, net.dim
    if table["form"] != "inception":
        raise BadRequest(f"There is no attribute encoder '{table['form']}'; there are: compact, inception.")
    net = InceptionEncoder(**arch)
    if "start" in table:
        imagenet_inception(net, torch_state(find(table["start"], runs)))
    return net, arch, net.dim


def swap_encoder(table: Mapping[str, Any], runs: Path) -> tuple[nn.Module, dict[str, Any], tuple[int, int]]:
    """A new encoder of Zhou's method, its arguments, and the widths of its codes.

    ``form``: "compact" (other entries are its arguments) or "irse50", with ``start`` the recogniser its trunk starts from.
    """
    arch = {k: v for k, v in table.items() if k not in ("form", "start")}
    if table["form"] == "compact":
        net = CompactSwapEncoder(**arch)
        return net, arch, net.dims
    if table["form"] != "irse50":
        raise BadRequest(f"There is no swapping encoder '{table['form']}'; there are: compact, irse50.")
    net = SwapEncoder()
    if "start" in table:
        recogniser_trunk(net, official.read(find(table["start"], runs)).tensors())
    return net, arch, net.dims


def torch_state(path: Path) -> dict[str, Tensor]:
    """The plain table of tensors in a torch file. Raises BadCheckpoint."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    except Exception as error:  # torch raises whatever the broken file makes it raise
        reason = " ".join(str(error).split())[:200]
        raise BadCheckpoint(f"'{path}' is no plain table of tensors ({reason}); fetch it again.") from error
