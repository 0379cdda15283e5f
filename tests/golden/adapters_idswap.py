"""Golden items of ``idswap``: mapper, W discriminator, encoders, landmark network, and every loss of both methods."""

from __future__ import annotations

import random

import torch
from torch import Tensor
from torch.nn import functional as F

from encoders.inception import InceptionEncoder
from encoders.mobilefacenet import LandmarkMobileFaceNet
from idswap import losses, preprocess
from idswap.models import LatentMapper, SwapEncoder, WDiscriminator
from tests.golden.items import Adapter, Context, Outputs


def signed(image: Tensor) -> Tensor:
    """[0,1] to [-1,1]."""
    return image * 2 - 1


@torch.inference_mode()
def mapper(context: Context) -> Outputs:
    return {"w": context.fill(LatentMapper())(context.input("codes"))}


def discriminator(context: Context) -> Outputs:
    net = context.fill(WDiscriminator())
    real = context.input("real_w").requires_grad_()
    logit = net(real)
    return {
        "real_logit": logit,
        "fake_logit": net(context.input("fake_w")),
        "r1_gamma14": losses.r1(logit, real, 14.0),
    }


@torch.inference_mode()
def inception(context: Context) -> Outputs:
    encoder = context.fill(InceptionEncoder("torch"))
    image = signed(context.input("image"))
    return {"features": encoder(image), "resized": (encoder.resized(image) + 1) / 2}


@torch.inference_mode()
def keras_inception(context: Context) -> Outputs:
    encoder = context.fill(InceptionEncoder("keras"))
    return {"features": encoder(signed(context.input("image")))}


@torch.inference_mode()
def landmark_network(context: Context) -> Outputs:
    net = context.fill(LandmarkMobileFaceNet())
    crop, image = context.input("crop"), signed(context.input("image"))
    return {
        "raw": net(crop),
        "features": net.features(crop),
        "points51_plain": net.points(image)[:, 17:] * 112,
        "points51_antialias": net.points(image, antialias=True)[:, 17:] * 112,
    }


def port_losses(context: Context) -> Outputs:
    a, b = context.input("attr_image"), context.input("generated")
    return {
        "ms_ssim": losses.ms_ssim(a, b).mean(),
        "rec_loss_084": losses.structure(a, b, 0.84),
        "rec_loss_090": losses.structure(a, b, 0.9),
        "l2_loss": (a - b).square().mean(),
        "l1_loss": (a - b).abs().mean(),
        "landmark_loss": losses.landmarks(context.input("landmarks_a"), context.input("landmarks_b")),
    }


def tensorflow_losses(context: Context) -> Outputs:
    a, b = context.input("attr_image"), context.input("generated")
    mask = losses.inverse_gaussian(256)
    uniform = torch.full_like(mask, 1 / mask.numel())
    mix = losses.masked_structure(a, b)
    first, second = (
        F.normalize(F.relu(context.input(name)), dim=-1)[:, 0] for name in ("embeddings", "embeddings_generated")
    )
    points = losses.landmarks(context.input("landmarks_a"), context.input("landmarks_b"))
    return {
        "mask": mask,
        "ms_ssim": losses.ms_ssim(a, b),
        "l1_masked": losses.masked_l1(a, b, mask).sum(),
        "l1_uniform": losses.masked_l1(a, b, uniform).sum(),
        "mix": mix,
        "pixel_loss": 0.02 * mix,
        "id_loss": losses.identity_l1(first, second),
        "landmarks_loss": 0.001 * points,
    }


def adversarial(context: Context) -> Outputs:
    w = context.fill(LatentMapper(), "idswap_mapper")(context.input("codes"))
    net = context.fill(WDiscriminator(), "idswap_wdisc")
    real = context.input("real_w").requires_grad_()
    real_logit, fake_logit = net(real), net(w)
    fool, judge = losses.fool(fake_logit), losses.judge(real_logit, fake_logit)
    return {
        "w": w,
        "fake_logit": fake_logit,
        "real_logit": real_logit,
        "generator_loss": fool,
        "discriminator_loss": judge,
        "r1_gamma10": losses.r1(real_logit, real, 10.0),
        "generator_loss_unified": 0.5 * fool,
        "discriminator_loss_unified": 0.5 * judge,
    }


def inputs(context: Context) -> Outputs:
    image = signed(context.input("image"))
    vgg = preprocess.vggface2(image)
    return {
        "vggface2": vgg,
        "vggface2_corner": vgg[:, :, :6, :6],
        "vggface2_channel_mean": vgg.mean((2, 3)),
        "landmarks160": preprocess.landmarks160(image),
        "inception299": InceptionEncoder("keras").prepared(image),
    }


@torch.inference_mode()
def swap_encoder(context: Context) -> Outputs:
    encoder = context.fill(SwapEncoder(), "yugong_swap_encoder")
    net = context.fill(LatentMapper(), "idswap_mapper")
    a, b = context.input("image"), context.input("image_b")
    identity, attribute = encoder(a)
    identity_b, attribute_b = encoder(b)
    return {
        "identity": identity,
        "attribute": attribute,
        "identity_b": identity_b,
        "attribute_b": attribute_b,
        "body": encoder.trunk(a),
        "w_identity_a_attribute_b": net(torch.cat([identity, attribute_b], 1)),
    }


def high_pass(context: Context) -> Outputs:
    image = context.input("image")
    line = losses.gaussian(21, losses.opencv_sigma(21))
    high = losses.high_pass(image)
    return {
        "kernel": line[:, None] * line,
        "low": losses.blur(image, line, 10),
        "high": high,
        "high_top_rows": high[:, 0, :4, ::4],
        "high_left_columns": high[:, 0, ::4, :4],
        "recogniser_input": (high * 2 - 1)[:, 0, 35:223:8, 32:220:8],
    }


def patches(context: Context) -> Outputs:
    a, b = context.input("a"), context.input("b")
    sides = losses.crop_sides(torch.rand(8, generator=torch.Generator().manual_seed(context.seed)), 256).tolist()
    rng = random.Random(context.seed)
    boxes = torch.tensor([[rng.randrange(256 - side), rng.randrange(256 - side), side, side] for side in sides])
    return {"boxes": boxes, "patches_a": losses.crops(a, boxes), "patches_b": losses.crops(b, boxes)}


ADAPTERS: dict[str, Adapter] = {
    "idswap_mapper": mapper,
    "idswap_wdisc": discriminator,
    "idswap_mobilefacenet": landmark_network,
    "roich_inception": inception,
    "roich_losses": port_losses,
    "nitzan_attr_inception": keras_inception,
    "nitzan_losses": tensorflow_losses,
    "nitzan_gan": adversarial,
    "nitzan_preprocess": inputs,
    "yugong_swap_encoder": swap_encoder,
    "yugong_highpass": high_pass,
    "yugong_patches": patches,
}
