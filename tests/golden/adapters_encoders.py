"""Golden items of ``encoders``: e4e, ArcFace IR-SE50, the attribute and age classifier."""

from __future__ import annotations

import torch

from encoders.attributes import AttributeAgeClassifier
from encoders.e4e import Encoder4Editing
from encoders.identity import IdentityEncoder, crop_face
from encoders.irse import Backbone
from tests.golden.items import Adapter, Context, Outputs


@torch.inference_mode()
def e4e(context: Context) -> Outputs:
    constructor = context.network().constructor
    encoder = context.fill(Encoder4Editing(constructor["opts.stylegan_size"], num_layers=constructor["num_layers"]))
    image = context.input("image")
    codes = encoder(image)
    with_average = encoder.encode(image, context.input("latent_avg"))
    encoder.set_stage(2)
    return {"codes": codes, "codes_plus_average": with_average, "codes_stage_2": encoder(image)}


@torch.inference_mode()
def arcface(context: Context) -> Outputs:
    constructor = context.network().constructor
    backbone = context.fill(
        Backbone(constructor["input_size"], constructor["num_layers"], constructor["mode"], constructor["drop_ratio"])
    )
    identity = IdentityEncoder()
    identity.load_state_dict(backbone.state_dict())
    image = context.input("image")
    embedding = identity.eval()(image)
    return {
        "embedding": embedding,
        "embedding_112": backbone(image[:, :, 72:184, 72:184]),
        "cosine": embedding @ embedding.T,
    }


@torch.inference_mode()
def identity_loss(context: Context) -> Outputs:
    identity = context.fill(IdentityEncoder())
    first, second = context.input("image_a"), context.input("image_b")
    features_a, features_b = identity(first), identity(second)
    return {
        "features_a": features_a,
        "features_b": features_b,
        "id_loss": (1 - (features_a * features_b).sum(1)).mean(),
        "pooled_a": crop_face(first),
    }


@torch.inference_mode()
def attribute_age(context: Context) -> Outputs:
    classifier = context.fill(AttributeAgeClassifier(34))
    image = context.input("image")
    logits = classifier(image)
    classifier.stack_heads()
    stacked = classifier(image)
    return {
        "logits": (logits, stacked),
        "probabilities": (logits.sigmoid(), stacked.sigmoid()),
        "source": (classifier.decisions(logits), classifier.decisions(stacked)),
        "features": classifier.features(image),
    }


ADAPTERS: dict[str, Adapter] = {
    "e4e_encoder_18": e4e,
    "e4e_encoder_14": e4e,
    "arcface_ir_se50": arcface,
    "idswap_irse50": identity_loss,
    "sdflow_classifier_r34": attribute_age,
}
