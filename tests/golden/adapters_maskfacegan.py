"""Golden items of ``maskfacegan`` and its networks: classifier tree, parser, masks, losses, LPIPS."""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.attribute_tree import AttributeTree
from encoders.lpips import LPIPS
from encoders.parser import FACE_CLASSES, FaceParser
from maskfacegan import losses
from maskfacegan.regions import at_size, mask_classes, soft_mask
from tests.golden.data.fill import fill_input, fill_state
from tests.golden.items import Adapter, Context, Outputs

SIZES = (4, 8, 8, 16, 16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024)
NAMES = {
    "smiling": "Smiling",
    "big_nose": "Big_Nose",
    "blond_hair": "Blond_Hair",
    "wavy_hair": "Wavy_Hair",
    "narrow_eyes": "Narrow_Eyes",
    "male": "Male",
}


@torch.inference_mode()
def classifier(context: Context) -> Outputs:
    tree = context.fill(AttributeTree(64))
    whole = {name: context.input(name) * 2 - 1 for name in ("image", "image224")}
    some = [14, 3, 39]
    # The pruned tree must give the same numbers as the whole one.
    part = tree.tree_logits(whole["image"])
    part[:, some] = tree.tree_logits(whole["image"], some)
    celeba = torch.empty_like(part)
    celeba[:, tree.order] = tree(whole["image"])
    return {
        "logits": (tree.tree_logits(whole["image"]), part, celeba),
        "logits224": tree.tree_logits(whole["image224"]),
    }


@torch.inference_mode()
def parser(context: Context) -> Outputs:
    network = context.fill(FaceParser())
    logits = network(context.input("image") * 2 - 1)
    softmax = logits.softmax(1)
    classes = mask_classes(["Smiling"])
    return {
        "logits": logits,
        "softmax": softmax,
        "shape_mask": soft_mask(softmax, classes.shape),
        "blend_mask": at_size(soft_mask(softmax, classes.blend), 1024),
    }


def masks(context: Context) -> Outputs:
    parsing = context.input("logits").softmax(1)
    outputs: dict[str, Tensor] = {}
    for name, attribute in NAMES.items():
        classes = mask_classes([attribute])
        outputs[f"{name}_recon"] = soft_mask(parsing, classes.recon)
        outputs[f"{name}_blend"] = soft_mask(parsing, classes.blend)
        outputs[f"{name}_shape"] = soft_mask(parsing, classes.shape)
        outputs[f"{name}_blend_no_skin"] = soft_mask(parsing, mask_classes([attribute], skin=False).blend)
    outputs["smiling_blend_256"] = at_size(outputs["smiling_blend"], 256)
    assert parsing.shape[1] == len(FACE_CLASSES)
    return outputs


def terms(context: Context) -> Outputs:
    def maps(name: str, count: int, batch: int) -> list[Tensor]:
        made = (fill_input(f"golden.maskfacegan_losses.{name}_{i}", (batch, 1, s, s), seed=context.seed)
                for i, s in enumerate(SIZES[:count]))  # fmt: skip
        return [torch.as_tensor(noise) for noise in made]

    small = maps("small_noise", 9, 2)
    logits, many = 2 * context.input("logits"), 2 * context.input("logits_many")
    mask, start = context.input("mask"), context.input("mask_start")
    return {
        "noise_regularize": losses.noise_regularize(maps("noise", 17, 1)),
        "noise_regularize_batch": losses.noise_regularize(small),
        "noise_normalized": losses.noise_normalized(small[3]),
        "classifier_loss": torch.stack([losses.classifier_loss(logits, torch.tensor(t)) for t in (0.95, 0.05, 0.6)]),
        "classifier_loss_many": losses.classifier_loss(many, torch.tensor(0.95)),
        "portion": losses.portion(mask),
        "size_loss": torch.stack([losses.size_loss(mask, start, factor) for factor in (1.3, 0.6)]),
    }


def _distances(network: LPIPS, context: Context) -> Outputs:
    """In float64: the distances are means of many small differences, and float32 convolutions of some CPUs lose a digit."""
    network = network.eval().double()
    a, b = (context.input(name).double() * 2 - 1 for name in ("image0", "image1"))
    mask = context.input("mask").double().repeat_interleave(32, 2).repeat_interleave(32, 3)
    one, other = network.features(a), network.features(b)
    plain, levels = network.distances(one, other), network.distances(one, other, mask)
    return {
        "distance": plain.sum(1).view(-1, 1, 1, 1),
        "distance_masked": levels.sum(1).view(-1, 1, 1, 1),
        "distance_levels": levels[..., None, None],
    }


@torch.inference_mode()
def lpips_given(context: Context) -> Outputs:
    network = context.fill(LPIPS("vgg"))
    for index, head in enumerate(network.lins):
        head.load_state_dict({"model.1.weight": torch.as_tensor(context.stored(f"heads_{index}"))})
    return _distances(network, context)


@torch.inference_mode()
def lpips_filled(context: Context) -> Outputs:
    network = context.fill(LPIPS("vgg"))
    state = fill_state(network.state_dict(), seed=context.seed, keep=("scaling_layer.shift", "scaling_layer.scale"))
    for index, head in enumerate(network.lins):
        head.load_state_dict({"model.1.weight": state[f"lin{index}.model.1.weight"].abs()})
    return _distances(network, context)


@torch.inference_mode()
def lpips_alex(context: Context) -> Outputs:
    network = LPIPS("alex")
    context.fill(network)
    filled = fill_state(network.state_dict(), seed=context.seed, keep=("shift", "scale"))
    for index, head in enumerate(network.lins):
        head.load_state_dict({"model.1.weight": filled[f"lin{index}.model.1.weight"]})
    network = network.double()
    a, b = context.input("a").double(), context.input("b").double()
    levels = network.levels(a, b)
    return {"distance": network(a, b), "per_layer": levels.T}


ADAPTERS: dict[str, Adapter] = {
    "maskfacegan_classifier": classifier,
    "maskfacegan_parser": parser,
    "maskfacegan_masks": masks,
    "maskfacegan_losses": terms,
    "maskfacegan_lpips_given_heads": lpips_given,
    "maskfacegan_lpips_filled_heads": lpips_filled,
    "lpips_alex": lpips_alex,
}
