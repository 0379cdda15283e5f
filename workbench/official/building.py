"""Which class a published network is, its expected keys and shapes, and what does not fit in a file.

``BUILDERS`` is the table to extend for a network of a new method: the kind's name from ``kinds`` to the module and the
class (or function) that makes the network from the arguments ``kinds`` read off the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from workbench.errors import BadCheckpoint
from workbench.official.kinds import Kind, Shape, Shapes, heads

BUILDERS: Mapping[str, tuple[str, str]] = {
    "generator": ("stylegan2.generator", "Generator"),
    "iafaces": ("iafaces.checkpoint", "PublishedAutoencoder"),
    "discriminator": ("stylegan2.discriminator", "Discriminator"),
    "e4e": ("encoders.e4e", "Encoder4Editing"),
    "arcface": ("encoders.irse", "Backbone"),
    "attribute_age": ("encoders.attributes", "AttributeAgeClassifier"),
    "sdflow_estimator": ("sdflow.estimator", "SemanticEstimator"),
    "sdflow_flow": ("sdflow.model", "ConditionalFlow"),
    "idswap_mapper": ("idswap.models", "LatentMapper"),
    "w_discriminator": ("idswap.models", "WDiscriminator"),
    "swap_encoder": ("idswap.models", "SwapEncoder"),
    "attribute_encoder": ("encoders.inception", "InceptionEncoder"),
    "inception_fid": ("encoders.inception_fid", "FIDInception"),
    "mobilefacenet": ("encoders.mobilefacenet", "MobileFaceNet"),
    "landmarks112": ("encoders.mobilefacenet", "LandmarkMobileFaceNet"),
    "maskfacegan_classifier": ("encoders.attribute_tree", "AttributeTree"),
    "maskfacegan_parser": ("encoders.parser", "FaceParser"),
    "lpips": ("encoders.lpips", "LPIPS"),
    "lpips_heads": ("encoders.lpips", "Heads"),
    "vgg16": ("encoders.lpips", "VGG16Trunk"),
    "alexnet": ("encoders.lpips", "AlexNetTrunk"),
}
MAX_SIDE = 4096
MAX_WIDTH = 1 << 16


def has_builder(kind: str) -> bool:
    """Whether there is a class for ``kind`` in this program."""
    return kind in BUILDERS


def build(kind: str, arch: Mapping[str, Any]) -> nn.Module:
    """The network of ``kind`` without memory (on the meta device). Raises ValueError when ``arch`` makes no sense."""
    module, name = BUILDERS[kind]
    size = arch.get("size", 4)
    if not isinstance(size, int) or not 4 <= size <= MAX_SIDE or size & (size - 1):
        raise ValueError(f"a size of {size} px")
    widths = [v for v in _numbers(arch) if v is not size]
    if any(not 1 <= v <= MAX_WIDTH for v in widths):
        raise ValueError("widths beyond reason")
    with torch.device("meta"):
        try:
            return getattr(import_module(module), name)(**arch)
        except (KeyError, TypeError, IndexError, ZeroDivisionError, OverflowError, RuntimeError) as error:
            raise ValueError(" ".join(str(error).split())[:200]) from error


def _numbers(value: Any) -> list[int]:
    if isinstance(value, Mapping):
        return [n for v in value.values() for n in _numbers(v)]
    if isinstance(value, list | tuple):
        return [n for v in value for n in _numbers(v)]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else []


def shapes_of(module: nn.Module) -> dict[str, Shape]:
    """Keys and shapes of a network's state."""
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def misfit(kind: Kind, arch: Mapping[str, Any], shapes: Shapes) -> str:
    """Why a state of these ``shapes`` is not the network it resembles, as the end of a sentence; "" when it is."""
    told = _in_words(kind, arch)
    if told:
        return told
    if not has_builder(kind.name):
        return _sizes(shapes, kind.published)
    try:
        expected = shapes_of(build(kind.name, arch))
    except ValueError as error:
        return f"its sizes make no network that exists ({error})"
    return differences(shapes, expected)


def _in_words(kind: Kind, arch: Mapping[str, Any]) -> str:
    if kind.name in ("generator", "e4e") and not arch["size"]:
        return "its number of layers belongs to no size of picture"
    if kind.name == "arcface" and (arch["num_layers"] == 0 or arch["input_size"] == 0):
        return "its layers are those of no ArcFace network (50, 100 or 152 layers, 112 or 224 px)"
    return ""


def _sizes(shapes: Shapes, expected: Mapping[str, Shape]) -> str:
    wrong = [key for key, shape in expected.items() if key in shapes and shapes[key] != shape]
    return "" if not wrong else _size(wrong[0], shapes, expected, len(wrong))


def _size(key: str, shapes: Shapes, expected: Shapes, number: int) -> str:
    more = f" (and {number - 1} more)" if number > 1 else ""
    return (
        f"its sizes are not those of the real network: '{key}' is {shapes[key]} where {expected[key]} is needed{more}"
    )


def differences(shapes: Shapes, expected: Shapes) -> str:
    """First difference between two tables of shapes in words; "" when there is none."""
    missing = [key for key in expected if key not in shapes]
    extra = [key for key in shapes if key not in expected]
    if missing:
        return f"{len(missing)} of {len(expected)} tensors are missing, '{missing[0]}' for one"
    if extra:
        return f"it has {len(extra)} tensors too many, '{extra[0][:100]}' for one"
    wrong = [key for key in expected if shapes[key] != expected[key]]
    return _size(wrong[0], shapes, expected, len(wrong)) if wrong else ""


def unlike(kind: Kind, arch: Mapping[str, Any], wanted: Mapping[str, Any], family: str) -> str:
    """Why a file with ``arch`` is not what a record with the arguments ``wanted`` asks for; "" when it is."""
    for name, value in wanted.items():
        if name not in arch or arch[name] == value:
            continue
        if kind.name == "e4e" and name == "size":
            return (
                f"{heads(arch)} style heads: this e4e belongs to a {arch['size']} px generator, "
                f"and the {family} generator has {value} px ({heads({'size': value})} style rows)"
            )
        if kind.name == "generator" and name == "size":
            return f"this is a generator of {arch['size']} px, and a {value} px one is needed"
        return f"its {name.replace('_', ' ')} is {arch[name]}, and {value} is needed"
    return ""


def fill(module: nn.Module, state: Mapping[str, Tensor], where: str) -> nn.Module:
    """Give a network without memory its tensors, floats as float32. Raises BadCheckpoint."""
    expected = module.state_dict()
    fitted = {
        key: value.float() if value.is_floating_point() else value.to(expected[key].dtype)
        for key, value in state.items()
        if key in expected
    }
    try:
        module.load_state_dict(fitted, strict=True, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise BadCheckpoint(f"{where} does not fit {type(module).__name__}: {reason}.") from error
    left = [name for name, value in [*module.named_parameters(), *module.named_buffers()] if value.is_meta]
    if left:
        raise BadCheckpoint(f"{where} does not fit {type(module).__name__}: nothing fills '{left[0]}'.")
    return module
