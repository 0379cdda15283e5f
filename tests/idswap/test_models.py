"""Networks: published keys and files, starts, sizes; the two conventions of InceptionV3."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from encoders.inception import CentredNorm, InceptionEncoder
from encoders.mobilefacenet import LandmarkMobileFaceNet
from idswap.compact import CompactAttributes, CompactSwapEncoder
from idswap.models import CodeMapper, LatentMapper, SwapEncoder, WDiscriminator, mapper_widths
from idswap.starts import imagenet_inception, recogniser_trunk
from workbench import official
from workbench.errors import BadCheckpoint

KEYS = Path(__file__).parents[1] / "golden" / "data" / "keys"


def table(name: str) -> dict[str, list[int]]:
    return json.loads((KEYS / f"{name}.json").read_text())


@pytest.mark.parametrize(
    ("make", "name", "count"),
    [
        (LatentMapper, "idswap_mapper", 8),
        (WDiscriminator, "idswap_wdisc", 8),
        (SwapEncoder, "yugong_swap_encoder", 422),
        (InceptionEncoder, "roich_inception", 564),
        (lambda: InceptionEncoder("keras"), "nitzan_attr_inception", 376),
        (LandmarkMobileFaceNet, "idswap_mobilefacenet", 333),
    ],
)
def test_keys_and_shapes_are_the_published_ones(make: Callable[[], nn.Module], name: str, count: int):
    with torch.device("meta"):
        state = make().state_dict()
    assert len(state) == count
    assert {key: list(value.shape) for key, value in state.items()} == table(name)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (LatentMapper, LatentMapper),
        (WDiscriminator, WDiscriminator),
        (LandmarkMobileFaceNet, LandmarkMobileFaceNet),
    ],
)
def test_a_published_file_becomes_its_network(make: Callable[[], nn.Module], shape: type, tmp_path: Path):
    torch.manual_seed(0)
    net = make()
    body = {"state_dict": net.state_dict()} if make is LandmarkMobileFaceNet else net.state_dict()
    torch.save(body, tmp_path / "file.pt")
    module, _, _ = official.assemble(official.read(tmp_path / "file.pt"))
    assert type(module) is shape
    for key, value in net.state_dict().items():
        assert torch.equal(value, module.state_dict()[key]), key


def test_widths_are_read_off_a_state():
    assert mapper_widths(LatentMapper([7, 6, 5, 4, 3]).state_dict()) == (7, 6, 5, 4, 3)


def shaped(name: str, rename: Callable[[str], str]) -> dict[str, Tensor]:
    return {rename(key): torch.full(shape, i + 1.0) for i, (key, shape) in enumerate(table(name).items())}


def test_imagenet_weights_go_in_by_their_order():
    state = shaped("roich_inception", lambda key: key.replace("model.", "Mixed_"))
    state = {"AuxLogits.conv0.conv.weight": torch.zeros(1), **state, "fc.weight": torch.zeros(1000, 2048)}
    for convention in ("torch", "keras"):
        encoder = InceptionEncoder(convention)
        imagenet_inception(encoder, state)
        for key, value in encoder.state_dict().items():
            if "num_batches" not in key:
                assert torch.equal(value, state[key.replace("model.", "Mixed_")]), key
    with pytest.raises(BadCheckpoint, match="inception_v3_google"):
        imagenet_inception(InceptionEncoder(), {"a": torch.zeros(1)})


def test_the_trunk_may_start_from_the_recogniser():
    with torch.device("meta"):
        encoder = SwapEncoder()
    encoder = encoder.to_empty(device="cpu")
    recogniser = shaped("idswap_irse50", lambda key: key)
    recogniser_trunk(encoder, recogniser)
    assert torch.equal(encoder.state_dict()["body.23.res_layer.1.weight"], recogniser["body.23.res_layer.1.weight"])
    with pytest.raises(BadCheckpoint, match="model_ir_se50"):
        recogniser_trunk(encoder, {k: v for k, v in recogniser.items() if not k.startswith("body.3.")})


def test_norm_without_gain_is_a_batch_norm_with_gain_one():
    torch.manual_seed(0)
    ours, theirs = CentredNorm(4), nn.BatchNorm2d(4, eps=1e-3, momentum=0.01)
    x = torch.randn(3, 4, 5, 5)
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)
    ours.eval(), theirs.eval()
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)
    assert set(ours.state_dict()) == {"bias", "running_mean", "running_var"}


def test_the_conventions_see_the_picture_in_their_own_range():
    image = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)
    with torch.device("cpu"):
        theirs, keras = InceptionEncoder("torch"), InceptionEncoder("keras")
    assert theirs.prepared(image).shape == (1, 3, 299, 299)
    assert 0 <= float(theirs.prepared(image).min()) < 1
    assert 254 < float(theirs.prepared(image).max()) <= 255
    assert float(keras.prepared(image).min()) < -0.99
    with pytest.raises(ValueError, match="convention"):
        InceptionEncoder("tea")


def test_compact_encoders_take_any_size():
    swap = CompactSwapEncoder([4, 8], input_size=16, identity=5, attributes=7).eval()
    nitzan = CompactAttributes([4, 8], input_size=16, dim=6).eval()
    for side in (16, 32, 24):
        image = torch.randn(2, 3, side, side)
        identity, attributes = swap(image)
        assert identity.shape == (2, 5)
        assert attributes.shape == (2, 7)
        assert torch.allclose(identity.norm(dim=1), torch.ones(2), atol=1e-5)
        assert torch.allclose(attributes.norm(dim=1), torch.ones(2), atol=1e-5)
        assert nitzan(image).shape == (2, 6)


def test_gates_scale_the_offsets_of_their_rows():
    torch.manual_seed(0)
    mapper = CodeMapper([8, 6, 6, 6, 4], rows=3, rank=2)
    assert mapper.offsets is not None
    nn.init.normal_(mapper.offsets.heads.weight)
    identity, attributes = torch.randn(2, 3), torch.randn(2, 5)
    w, _ = mapper.parts(identity, attributes)
    with torch.no_grad():
        mapper.offsets.gate[1] = 0
    rows = mapper(identity, attributes)
    assert torch.equal(rows[:, 1], w)
    assert not torch.equal(rows[:, 0], w)
