"""Every network whose files are known: by which keys it is told, and what its sizes say about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Arch = dict[str, Any]


def nothing(shapes: Shapes) -> Arch:
    """No constructor arguments: the network has one size."""
    return {}


def same(key: str, keys: Mapping[str, Any]) -> str:
    """The name that it has."""
    return key


@dataclass(frozen=True)
class Kind:
    """A network by the keys of its state.

    All of ``marks`` must be there and none of ``never``, behind one of ``prefixes``. ``arch`` reads the constructor
    arguments off the shapes. ``roles`` are the kinds of manifest records it can serve; ``published`` are some shapes of
    the published file; ``drop`` begin keys that belong to no network; ``rename`` gives the name
    that the network has for a key, of those that are there, which other code saved under another name.
    """

    name: str
    title: str
    marks: tuple[str, ...]
    arch: Callable[[Shapes], Arch] = nothing
    roles: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ("",)
    published: Mapping[str, Shape] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    rename: Callable[[str, Mapping[str, Any]], str] = same

    def prefix_in(self, keys: Mapping[str, Any]) -> str | None:
        """The prefix behind which this network lies in ``keys``; None when it does not."""
        for prefix in self.prefixes:
            if all(prefix + m in keys for m in self.marks) and not any(prefix + n in keys for n in self.never):
                return prefix
        return None


def count(shapes: Shapes, pattern: str) -> int:
    """One more than the largest number that the group of ``pattern`` takes in a key; 0 when no key fits.

    A number beyond the count of keys names no layer that is there, and is left out.
    """
    found = [int(m[1]) for key in shapes if (m := re.match(pattern, key)) and len(m[1]) < 6]
    return max((number for number in found if number <= len(shapes)), default=-1) + 1


def at(shapes: Shapes, key: str, axis: int) -> int:
    """Side ``axis`` of the shape of ``key``; 0 when there is none."""
    shape = shapes.get(key, ())
    return shape[axis] if -len(shape) <= axis < len(shape) else 0


def generator_arch(shapes: Shapes) -> Arch:
    """Size, width of a style, depth of the mapping and channels of a StyleGAN2 generator."""
    levels = count(shapes, r"to_rgbs\.(\d+)\.") + 1
    size = 4 << (levels - 1) if levels < 20 else 0
    width = at(shapes, "style.1.weight", 1)
    channels = {4: at(shapes, "conv1.conv.weight", 1)}
    channels |= {8 << i: at(shapes, f"convs.{2 * i + 1}.conv.weight", 1) for i in range(min(levels, 20) - 1)}
    arch: Arch = {"size": size, "style_dim": width, "n_mlp": count(shapes, r"style\.(\d+)\.weight$") - 1}
    for multiplier in (2, 1):
        table = {4: 512, 8: 512, 16: 512, 32: 512} | {64 << i: (256 >> i) * multiplier for i in range(5)}
        if all(table.get(side) == wide for side, wide in channels.items()):
            return arch | {"channel_multiplier": multiplier}
    return arch | {"channels": {str(side): wide for side, wide in channels.items()}}


def discriminator_arch(shapes: Shapes) -> Arch:
    """Size and channels of a StyleGAN2 discriminator."""
    blocks = count(shapes, r"convs\.(\d+)\.conv1\.") - 1
    size = 4 << blocks if 0 < blocks < 20 else 0
    first = at(shapes, "convs.0.0.weight", 0)
    channels = {size: first} | {
        size >> i: at(shapes, f"convs.{i}.conv2.1.weight", 0) for i in range(1, max(blocks, 0) + 1)
    }
    return {"size": size, "channels": {str(side): wide for side, wide in channels.items()}}


def e4e_arch(shapes: Shapes) -> Arch:
    """Size of the generator that a W+ encoder belongs to, by its style heads: 2 log2(size) - 2."""
    heads = count(shapes, r"styles\.(\d+)\.")
    return {"size": 2 ** (heads // 2 + 1) if heads % 2 == 0 and heads < 40 else 0}


def heads(arch: Mapping[str, Any]) -> int:
    """Style heads of the encoder, or rows of W+ of the generator, with this ``size``."""
    return 2 * max(int(arch["size"]).bit_length() - 1, 1) - 2


def resnet_depth(shapes: Shapes, prefix: str) -> int:
    """Depth of the ResNet under ``prefix``: 18, 34, 50 or 101."""
    if f"{prefix}layer1.0.conv3.weight" in shapes:
        return 101 if f"{prefix}layer3.22.conv1.weight" in shapes else 50
    return 34 if f"{prefix}layer3.5.conv1.weight" in shapes else 18


def classifier_arch(shapes: Shapes) -> Arch:
    """Depth of the attribute and age classifier."""
    return {"depth": resnet_depth(shapes, "extractor.")}


def estimator_arch(shapes: Shapes) -> Arch:
    """Attributes, depth and width of SDFlow's estimator."""
    prefix = "backbone."
    attributes, width = at(shapes, f"{prefix}fc.weight", 0), at(shapes, f"{prefix}conv1.weight", 0)
    return {"attributes": attributes, "depth": resnet_depth(shapes, prefix), "width": width, "input_size": 256}


def flow_arch(shapes: Shapes) -> Arch:
    """Attributes, width, hidden widths and blocks of SDFlow's flow."""
    prefix = "chain.1.odefunc.diffeq.layers."
    layers = count(shapes, re.escape(prefix) + r"(\d+)\._layer\.weight$")
    return {
        "attributes": at(shapes, f"{prefix}0._hyper_gate.weight", 1) - 1,
        "width": at(shapes, "chain.0.weight", 0),
        "hidden": [at(shapes, f"{prefix}{i}._layer.weight", 0) for i in range(layers - 1)],
        "blocks": sum(1 for key in shapes if key.endswith("sqrt_end_time")),
    }


def irse_arch(shapes: Shapes) -> Arch:
    """Layers, mode and input size of an ArcFace IR network."""
    units = count(shapes, r"body\.(\d+)\.")
    cells = at(shapes, "output_layer.3.weight", 1) // 512
    return {
        "num_layers": {24: 50, 49: 100, 50: 152}.get(units, 0),
        "mode": "ir_se" if "body.0.res_layer.5.fc1.weight" in shapes else "ir",
        "input_size": {49: 112, 196: 224}.get(cells, 0),
    }


def mlp_arch(shapes: Shapes) -> Arch:
    """Widths of a chain of linear layers ``model.{0,2,4,..}``."""
    layers = [f"model.{2 * i}.weight" for i in range(count(shapes, r"model\.(\d+)\.weight$") // 2 + 1)]
    return {"widths": [at(shapes, layers[0], 1), *(at(shapes, layer, 0) for layer in layers)]}


def inception_arch(shapes: Shapes) -> Arch:
    """Whether the norms have gains (the PyTorch port) or not (Keras)."""
    return {"convention": "torch" if "model.0.bn.weight" in shapes else "keras"}


def iafaces_arch(shapes: Shapes) -> Arch:
    """Size and variant of an IA-FaceS pair of encoder and decoder."""
    levels = count(shapes, r"g_ema\.to_rgbs\.(\d+)\.")
    wide = "e_ema.stem3.conv1.1.weight" in shapes
    start = 16 if wide else 8
    return {"size": start << levels if levels < 20 else 0, "cam": "g_ema.conv1.conv.layers2.0.weight" in shapes}


def iafaces_name(key: str, keys: Mapping[str, Any]) -> str:
    """The heads of the 1024 px encoder stand under ``layers`` or ``layers2``, by the code that saved the file."""
    wide = "e_ema.stem3.conv1.1.weight" in keys and "e_ema.layers2.0.weight" not in keys
    if wide and key.startswith("e_ema.layers."):
        return f"e_ema.layers2.{key.removeprefix('e_ema.layers.')}"
    return key


def lpips_arch(shapes: Shapes) -> Arch:
    """Which trunk the heads belong to."""
    widths = tuple(at(shapes, f"lin{i}.model.1.weight", 1) for i in range(count(shapes, r"lin(\d+)\.")))
    known: dict[Shape, str] = {(64, 128, 256, 512, 512): "vgg", (64, 192, 384, 256, 256): "alex"}
    return {"trunk": known.get(widths, "squeeze" if len(widths) == 7 else "unknown")}


def landmark_arch(shapes: Shapes) -> Arch:
    """Number of landmarks: the network gives x and y of each."""
    return {"points": at(shapes, "output_layer.linear.weight", 0) // 2}


def embedding_arch(shapes: Shapes) -> Arch:
    """Width of MobileFaceNet's embedding."""
    return {"dim": at(shapes, "linear1.conv.weight", 0)}


def tree_arch(shapes: Shapes) -> Arch:
    """Width of the attribute tree's convolutions and of its dense layers, and the side of its input."""
    width, dense = at(shapes, "conv_layers.01-06.0.0.weight", 0), at(shapes, "fc_layers.15-16.0.0.weight", 1)
    cells = at(shapes, "fc_layers.13-14.0.0.weight", 1) // max(width, 1)
    return {"width": width, "dense": dense, "input_size": 32 * int(cells**0.5)}


def parser_arch(shapes: Shapes) -> Arch:
    """Width of the face parser's trunk and of its head."""
    return {"width": at(shapes, "model.backbone.conv1.weight", 0), "head": at(shapes, "model.classifier.4.weight", 1)}


BODY = ("input_layer.0.weight", "body.0.res_layer.1.weight")
MAPPER = {"model.0.weight": (2048, 2560), "model.2.weight": (1024, 2048), "model.6.weight": (512, 512)}

KINDS: Sequence[Kind] = (
    Kind(
        "iafaces",
        "encoder and decoder of IA-FaceS",
        ("e_ema.stem.0.0.weight", "g_ema.conv1.conv.weight"),
        iafaces_arch,
        ("iafaces_celebahq256", "iafaces_cam_celebahq256", "iafaces_ffhq1024", "iafaces_cam_ffhq1024"),
        rename=iafaces_name,
    ),
    Kind(
        "generator",
        "StyleGAN2 generator",
        ("style.1.weight", "conv1.conv.modulation.weight", "to_rgb1.conv.modulation.weight"),
        generator_arch,
        ("generator",),
    ),
    Kind(
        "e4e",
        "e4e encoder to W+",
        (*BODY, "styles.0.linear.weight", "latlayer1.weight"),
        e4e_arch,
        ("projector", "maskfacegan_e4e"),
        prefixes=("encoder.", ""),
    ),
    Kind(
        "swap_encoder",
        "encoder of the swapping autoencoder (Zhou et al.)",
        (*BODY, "output_layer.7.weight", "output_layer2.1.weight"),
        roles=("swap_encoder",),
        published={"output_layer.7.weight": (512, 8192), "output_layer2.1.weight": (1024, 512, 4, 4)},
    ),
    Kind(
        "arcface",
        "ArcFace identity network",
        (*BODY, "output_layer.3.weight", "output_layer.4.weight"),
        irse_arch,
        ("identity",),
        never=("output_layer2.1.weight",),
    ),
    Kind(
        "attribute_age",
        "classifier of 40 attributes and age (AdaTrans, SDFlow)",
        ("extractor.conv1.weight", "attr_heads.0.0.weight", "age_heads.fc.weight"),
        classifier_arch,
        ("attributes",),
    ),
    Kind(
        "sdflow_estimator",
        "semantic estimator of SDFlow",
        ("backbone.conv1.weight", "backbone.layer1.0.conv1.weight", "backbone.fc.weight"),
        estimator_arch,
        ("sdflow_estimator",),
        published={"backbone.conv1.weight": (64, 3, 7, 7)},
    ),
    Kind(
        "sdflow_flow",
        "flow of SDFlow",
        ("chain.0.running_mean", "chain.1.sqrt_end_time", "chain.1.odefunc.diffeq.layers.0._hyper_gate.weight"),
        flow_arch,
        ("sdflow_flow",),
        published={"chain.0.weight": (512,)},
    ),
    Kind(
        "idswap_mapper",
        "mapper of identity and attribute code to W",
        ("model.0.weight", "model.2.weight", "model.4.weight", "model.6.weight", "model.6.bias"),
        mlp_arch,
        ("swap_mapper", "roich_mapper", "nitzan_mapper"),
        published=MAPPER,
    ),
    Kind(
        "attribute_encoder",
        "attribute encoder (Inception) of the identity disentanglement",
        ("model.0.conv.weight", "model.17.branch_pool.conv.weight"),
        inception_arch,
        ("roich_attr_encoder", "nitzan_attr_encoder"),
        published={"model.0.conv.weight": (32, 3, 3, 3), "model.17.branch_pool.conv.weight": (192, 2048, 1, 1)},
    ),
    Kind(
        "landmarks112",
        "landmark network (MobileFaceNet, 112 px)",
        ("conv_23.conv.conv.weight", "conv_6_sep.conv.weight", "output_layer.linear.weight"),
        landmark_arch,
        ("landmarks112",),
        published={"conv1.conv.weight": (64, 3, 3, 3), "output_layer.linear.weight": (136, 512)},
    ),
    Kind(
        "mobilefacenet",
        "identity network MobileFaceNet",
        ("dw_conv1.conv.weight", "linear7.conv.weight", "linear1.conv.weight", "blocks.0.conv.0.weight"),
        embedding_arch,
    ),
    Kind(
        "maskfacegan_classifier",
        "attribute classifier of MaskFaceGAN",
        ("conv_layers.01-06.0.0.weight", "fc_layers.15-16.0.0.weight"),
        tree_arch,
        ("maskfacegan_classifier",),
        published={"conv_layers.01-06.0.0.weight": (64, 3, 3, 3), "fc_layers.15-16.39.0.weight": (1, 128)},
    ),
    Kind(
        "maskfacegan_parser",
        "face parser of MaskFaceGAN",
        ("model.backbone.conv1.weight", "model.classifier.4.weight"),
        parser_arch,
        ("maskfacegan_parser",),
        published={"model.backbone.conv1.weight": (64, 3, 7, 7), "model.classifier.4.weight": (9, 256, 1, 1)},
        drop=("loss.",),
    ),
    Kind(
        "discriminator",
        "StyleGAN2 discriminator",
        ("convs.0.0.weight", "convs.1.conv1.0.weight", "final_conv.0.weight", "final_linear.1.weight"),
        discriminator_arch,
    ),
    Kind("lpips", "LPIPS, trunk and heads", ("net.slice1.0.weight", "lin0.model.1.weight"), lpips_arch),
    Kind(
        "lpips_heads",
        "heads of LPIPS",
        ("lin0.model.1.weight", "lin4.model.1.weight"),
        lpips_arch,
        ("lpips_vgg_heads",),
        never=("net.slice1.0.weight",),
    ),
    Kind(
        "vgg16",
        "VGG16 trained on ImageNet",
        ("features.0.weight", "features.28.weight"),
        roles=("lpips_vgg_trunk",),
        never=("features.30.weight",),
        published={"features.0.weight": (64, 3, 3, 3), "features.28.weight": (512, 512, 3, 3)},
        drop=("classifier.",),
    ),
    Kind(
        "alexnet",
        "AlexNet trained on ImageNet",
        ("features.0.weight", "features.3.weight", "features.10.weight"),
        roles=("lpips_alex_trunk",),
        never=("features.28.weight", "features.5.weight"),
        published={"features.0.weight": (64, 3, 11, 11), "features.10.weight": (256, 256, 3, 3)},
        drop=("classifier.",),
    ),
    Kind(
        "inception_fid",
        "Inception for FID",
        ("Conv2d_1a_3x3.conv.weight", "Mixed_7c.branch_pool.conv.weight", "fc.weight"),
        roles=("inception_fid",),
        published={"Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3), "fc.weight": (1008, 2048)},
    ),
    Kind(
        "s3fd",
        "face detector S3FD",
        ("conv1_1.weight", "conv3_3_norm.weight", "conv3_3_norm_mbox_conf.weight"),
        roles=("s3fd",),
        published={"conv1_1.weight": (64, 3, 3, 3)},
    ),
    Kind(
        "fan2d",
        "landmark network 2DFAN",
        ("m0.b1_4.conv1.weight", "l0.weight", "conv2.conv1.weight"),
        roles=("fan2d",),
        published={"l0.weight": (68, 256, 1, 1)},
    ),
)


def w_discriminator(arch: Arch) -> bool:
    """Whether a chain of linear layers judges codes (one output) instead of making them."""
    return arch["widths"][-1:] == [1]


W_DISCRIMINATOR = Kind("w_discriminator", "discriminator of W", (), mlp_arch)
OWN = Kind("facet", "weights file of this program", ())


def by_name(name: str) -> Kind | None:
    """The kind called ``name``."""
    return next((kind for kind in (*KINDS, W_DISCRIMINATOR) if kind.name == name), None)


def recognise(shapes: Shapes) -> tuple[Kind, str, Arch] | None:
    """Which network a table of tensors is: its kind, the prefix it lies behind, and its arguments."""
    for kind in KINDS:
        prefix = kind.prefix_in(shapes)
        if prefix is None:
            continue
        inner = {key[len(prefix) :]: shape for key, shape in shapes.items() if key.startswith(prefix)}
        arch = kind.arch(inner)
        judges = kind.name == "idswap_mapper" and w_discriminator(arch)
        return (W_DISCRIMINATOR if judges else kind), prefix, arch
    return None


def role_of(kind: Kind, arch: Mapping[str, Any], container: str) -> tuple[str, ...]:
    """Kinds of manifest records that a file of ``kind`` with this ``arch`` can serve."""
    keras = container == "keras"
    if kind.name == "iafaces":
        sets = {256: "celebahq256", 1024: "ffhq1024"}.get(arch["size"])
        return (f"iafaces_{'cam_' if arch['cam'] else ''}{sets}",) if sets else ()
    if kind.name in ("idswap_mapper", "attribute_encoder"):
        return tuple(role for role in kind.roles if role.startswith("nitzan") == keras)
    if kind.name == "lpips_heads" and arch["trunk"] != "vgg":
        return ()
    return kind.roles
