"""Golden items of ``iafaces``: regions, networks as published, reconstruction, transfer and attribute edits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from evaluation import reference, registry
from iafaces.official import PublishedDecoder, PublishedDiscriminator, PublishedEncoder
from iafaces.regions import COMPONENTS, GROUPS, PIXELS, grid_boxes
from tests.golden.items import Adapter, Context, Outputs

SIDES = (8, 16, 32, 64, 128, 256, 512, 1024)


def _owner(side: int) -> Tensor:
    """Which component's gate acts on each cell, read off a published convolution with heads that name themselves."""
    decoder = PublishedDecoder(side, (4,), content=4, cam=True, style="none", feats_dim=4)
    heads = decoder.conv1.conv.layers2
    assert heads is not None
    with torch.no_grad():
        for head in heads:
            head.weight.copy_(torch.eye(4) * 2)  # type: ignore[union-attr]
    nodes = torch.arange(2.0, 6.0)[None, :, None].expand(1, 4, 4)
    gates = decoder.conv1.conv.gates(torch.zeros(1, 4, side, side), nodes)[0, 0]
    values = [heads[0](nodes[:, i])[0, 0].item() for i in range(4)]
    out = torch.full((side, side), -1)
    for index, value in enumerate(values):
        out[gates == value] = index
    return out


def _read_input(size: int, component: str) -> Tensor:
    """The positions (channel, row, column) that a head of the published encoder reads off a map of two channels."""
    encoder = PublishedEncoder(size, (1, 1, 1, 1, 2) if size == 256 else (1, 1, 1, 1, 1, 2), content=1, feats_dim=1)
    side = 16 if size == 256 else 32
    seen: list[Tensor] = []
    for head in encoder.layers:
        head.forward = lambda x: (seen.append(x[0]), x[:, :1])[1]  # type: ignore[method-assign]
    encoder.read(torch.arange(2.0 * side * side).reshape(1, 2, side, side))
    return seen[COMPONENTS.index(component)]


@torch.inference_mode()
def regions(context: Context) -> Outputs:
    outputs: dict[str, object] = {"boxes_pixels_1024": np.array(PIXELS), "other_sides": context.stored("other_sides")}
    for side in SIDES:
        boxes = grid_boxes(side)
        outputs[f"boxes_{side}"] = np.array(boxes)
        member = torch.zeros(4, side, side)
        for index, (x0, y0, x1, y1) in enumerate(boxes):
            member[index, y0:y1, x0:x1] = 1
        outputs[f"membership_{side}"] = member
        if side <= 256:
            outputs[f"gate_owner_{side}"] = _owner(side)
    for index, side in enumerate(context.stored("other_sides")):
        outputs[f"boxes_other_{index}"] = np.array(grid_boxes(int(side)))
    for size in (256, 1024):
        outputs |= {f"head_input_{size}_{name}": _read_input(size, name) for name in COMPONENTS}
    for name, start, levels, legacy in (
        ("256_released", 8, 5, True),
        ("256_corrected", 8, 5, False),
        ("1024", 16, 6, False),
    ):
        decoder = PublishedDecoder(start, (1,) * (levels + 1), content=1, cam=True, style="none", legacy_boxes=legacy)
        sides = decoder.gate_sides()
        outputs[f"gate_boxes_cam_{name}"] = np.array([grid_boxes(side) for side in sides])
        if not legacy:
            outputs[f"gate_side_cam_{start * 2**levels}"] = np.array(sides)
    return outputs


def _holes(context: Context, size: int) -> Tensor:
    kept = (context.input("holes") < 0.6).float()
    return kept.repeat_interleave(size // 8, 2).repeat_interleave(size // 8, 3)


def _encoder(size: int) -> Adapter:
    @torch.inference_mode()
    def run(context: Context) -> Outputs:
        encoder = context.fill(PublishedEncoder.published(size))
        image = context.input("image")
        content, embeddings = encoder(image)
        content_masked, embeddings_masked = encoder(image, _holes(context, size))
        outputs: dict[str, object] = {
            "content": content,
            "embeddings": embeddings,
            "stem": encoder.stem(image),
            "region_boxes": np.array(encoder.box),
            "content_masked": content_masked,
            "embeddings_masked": embeddings_masked,
        }
        if encoder.separate:
            outputs["component_map"] = outputs["stem3"] = encoder.stem3(encoder.stem(image))
        return outputs

    return run


def _decoder(make: Callable[[], PublishedDecoder], first: int) -> Adapter:
    @torch.inference_mode()
    def run(context: Context) -> Outputs:
        decoder = context.fill(make())
        kept: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[..., None]:
            return lambda module, inputs, output: kept.__setitem__(name, output)

        decoder.conv1.register_forward_hook(keep("first_features"))
        decoder.to_rgb1.register_forward_hook(keep(f"rgb_{first}"))
        decoder.to_rgbs[1].register_forward_hook(keep(f"rgb_{4 * first}"))
        return {"image": decoder(context.input("content"), context.input("embeddings")), **kept}

    return run


@torch.inference_mode()
def discriminator(context: Context) -> Outputs:
    """In float64: a logit is a small sum of large terms."""
    network = context.fill(PublishedDiscriminator.published(256)).double()
    image = context.input("image").double()
    return {"logits": network(image), "features": network.final_conv(network.convs(image))}


def _pair(context: Context, kind: str) -> tuple[PublishedEncoder, PublishedDecoder]:
    encoder = context.fill(PublishedEncoder.published(256), f"encoder_{kind}")
    decoder = PublishedDecoder.published(256, cam=kind == "cam")
    return encoder, context.fill(decoder, f"decoder_{kind}")


@torch.inference_mode()
def fixed_noise(context: Context) -> Outputs:
    content, nodes = context.input("content"), context.input("embeddings")
    plain = context.fill(PublishedDecoder.published(256, cam=False), "decoder_plain")
    given = [context.input(f"noise_{index}") for index in range(11)]
    cam = context.fill(PublishedDecoder.published(256, cam=True), "decoder_cam")
    return {
        "image_plain": plain(content, nodes),
        "image_plain_given_noise": plain(content, nodes, given),
        "image_cam": cam(content, nodes),
    }


@torch.inference_mode()
def reconstruction(context: Context) -> Outputs:
    outputs: dict[str, Tensor] = {}
    for kind in ("plain", "cam"):
        encoder, decoder = _pair(context, kind)
        content, nodes = encoder(context.input("image"))
        outputs |= {f"image_{kind}": decoder(content, nodes), "embeddings": nodes}
    return outputs


@torch.inference_mode()
def component_transfer(context: Context) -> Outputs:
    outputs: dict[str, Tensor] = {}
    for kind in ("plain", "cam"):
        encoder, decoder = _pair(context, kind)
        content, nodes = encoder(context.input("target"))
        other = encoder(context.input("reference"))[1]
        for name in ("mouth", "l_eye", "eyes"):
            mixed = nodes.clone()
            mixed[:, list(GROUPS[name])] = other[:, list(GROUPS[name])]
            outputs[f"embeddings_{name}"] = mixed
            if name != "eyes":
                outputs[f"image_{kind}_{name}"] = decoder(content, mixed)
    return outputs


@torch.inference_mode()
def attribute_edit(context: Context) -> Outputs:
    recipes = {"mouth_open": ((3,), 4.0), "bushy": ((0, 1), 2.5), "male": ((0, 1, 2, 3), 2.5)}
    directions = torch.cat([context.input(f"direction_{name}") for name in COMPONENTS])
    directions = directions / directions.norm(dim=1, keepdim=True)
    outputs: dict[str, Tensor] = {}
    for kind, names in (("plain", ("mouth_open", "bushy")), ("cam", ("mouth_open", "male"))):
        encoder, decoder = _pair(context, kind)
        content, nodes = encoder(context.input("image"))
        for name in names:
            rows, strength = recipes[name]
            edited = nodes.clone()
            edited[:, list(rows)] += strength * directions[list(rows)]
            outputs[f"embeddings_{name}"] = edited
            outputs[f"image_{kind}_{name}"] = decoder(content, edited)
    return outputs


def _u8(values: Tensor) -> Tensor:
    return ((values + 1) * 127.5).round().clamp(0, 255)


@torch.inference_mode()
def released_metrics(context: Context) -> Outputs:
    real8 = _u8(context.input("real"))
    k = torch.arange(6).view(6, 1, 1, 1) * 0.06
    fake8 = _u8((0.95 - k) * context.input("real") + k * context.input("other") + 0.03)
    dull8, source8 = _u8(0.6 * context.input("real")), _u8(context.input("source"))
    edited8 = _u8(0.7 * context.input("source") + 0.3 * context.input("edit"))
    pictures = [real8, fake8, dull8, source8, edited8]
    real, fake, dull, source, edited = (p.double() / 255 * 2 - 1 for p in pictures)
    pairs = list(zip(real.split(4), fake.split(4), strict=True))
    stretched = [reference.stretched(x) for x in (real, fake)]
    parts = list(zip(stretched[0].split(4), stretched[1].split(4), strict=True))
    ones = [(x[None], y[None]) for x, y in zip(*stretched, strict=True)]
    plain = [((x[None] + 1) / 2, (y[None] + 1) / 2) for x, y in zip(real, fake, strict=True)]
    some, flat = real[:4], dull[:4]
    halves = ((some + 1) / 2, (flat + 1) / 2)
    outputs: dict[str, object] = {
        "picture_sums": torch.stack([p.double().sum() for p in pictures]),
        "stretched_real": stretched[0],
        "stretched_fake": stretched[1],
        "mse_batches": torch.stack([(a - b).square().mean() for a, b in pairs]),
        "mse": registry.run("mse", real, fake).value,
        "psnr_ref_batches": torch.stack([reference.batch_psnr(a, b) for a, b in parts]),
        "psnr_ref": registry.run("psnr_ref", real, fake).value,
        "psnr_ref_per_image": torch.stack([reference.batch_psnr(a, b) for a, b in ones]),
        "psnr_plain_per_image": torch.stack([reference.batch_psnr(a, b) for a, b in plain]),
        "ssim_ref_batches": torch.stack([reference.padded_ssim(a, b).mean() for a, b in parts]),
        "ssim_ref": registry.run("ssim_ref", real, fake).value,
        "ssim_plain_per_image": torch.cat([reference.padded_ssim(a, b) for a, b in plain]),
        "ssim_identical": reference.padded_ssim(plain[0][0], plain[0][0]),
        "psnr_contrast_ref": reference.batch_psnr(reference.stretched(some), reference.stretched(flat)),
        "psnr_contrast_plain": reference.batch_psnr(*halves),
        "ssim_contrast_ref": reference.ssim_ref(some, flat).mean(),
        "ssim_contrast_plain": reference.padded_ssim(*halves).mean(),
        "mse_full_per_image": (source - edited).square().mean([1, 2, 3]),
    }
    for name in GROUPS:
        mask = registry.irrelevant(256, name)
        values = reference.mse_irr_ref(source, edited, mask)
        chosen = registry.Context(component=name)
        outputs |= {
            f"mse_irr_{name}_per_image": values,
            f"mse_irr_{name}": registry.run("mse_irr_ref", source, edited, chosen).value,
            f"irrelevant_pixels_{name}": mask.sum(),
        }
    return outputs


ADAPTERS: dict[str, Adapter] = {
    "iafaces_regions": regions,
    "iafaces_encoder_plain_256": _encoder(256),
    "iafaces_encoder_cam_256": _encoder(256),
    "iafaces_encoder_1024": _encoder(1024),
    "iafaces_decoder_plain_256": _decoder(lambda: PublishedDecoder.published(256, cam=False), 8),
    "iafaces_decoder_cam_256_released": _decoder(lambda: PublishedDecoder.published(256, cam=True), 8),
    "iafaces_decoder_cam_256_corrected": _decoder(
        lambda: PublishedDecoder.published(256, cam=True, legacy_boxes=False), 8
    ),
    "iafaces_decoder_cam_1024": _decoder(lambda: PublishedDecoder.published(1024, cam=True), 16),
    "iafaces_discriminator_256": discriminator,
    "iafaces_fixed_noise": fixed_noise,
    "iafaces_reconstruction": reconstruction,
    "iafaces_component_transfer": component_transfer,
    "iafaces_attribute_edit": attribute_edit,
    "iafaces_metrics": released_metrics,
}
