"""The common interface: both back-ends, strengths, anchoring, sheets, determinism; the guides' geometry."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.compact import AttributeNet, IdentityNet
from encoders.landmarks import LandmarkNet, Landmarks
from idswap import codes as arithmetic
from idswap.compact import CompactAttributes, CompactSwapEncoder
from idswap.guides import FeatureDistance, InnerPoints, VGGFaceIdentity
from idswap.models import CodeMapper
from idswap.swap import Codes, IdSwap, NitzanSwap, Strengths, ZhouSwap, anchored_codes, sheet, swap_codes
from tests.tiny_family import network


def method(name: str) -> IdSwap:
    generator = network("generator")
    torch.manual_seed(1)
    mapper = CodeMapper([16 + 12, 24, 24, 24, 512], rows=8, rank=3).eval()
    assert mapper.offsets is not None
    nn.init.normal_(mapper.offsets.heads.weight, std=0.1)
    if name == "nitzan":
        attributes = CompactAttributes([4, 8], input_size=16, dim=12).eval()
        return NitzanSwap(generator, network("identity"), attributes, mapper)  # pyright: ignore[reportArgumentType]
    encoder = CompactSwapEncoder([4, 8], input_size=16, identity=16, attributes=12).eval()
    return ZhouSwap(generator, encoder, mapper)  # pyright: ignore[reportArgumentType]


def faces(count: int) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(4)) * 2 - 1


@pytest.mark.parametrize("name", ["nitzan", "zhou"])
@torch.inference_mode()
def test_both_back_ends_speak_the_interface(name: str):
    swap = method(name)
    image = faces(3)
    both = swap.encode(image)
    assert swap.name == name
    assert torch.allclose(swap.encode_id(image), both.identity, atol=1e-6)
    assert torch.allclose(swap.encode_attr(image), both.attributes, atol=1e-6)
    assert torch.allclose(both.identity.norm(dim=1), torch.ones(3), atol=1e-5)
    codes = swap.map(both.identity, both.attributes)
    assert codes.shape == (3, 8, 512)
    picture = swap.synth(codes)
    assert picture.shape == (3, 3, 32, 32)
    assert torch.equal(picture, swap.synth(codes))
    alone = swap.encode(image[1:2])
    assert torch.allclose(alone.identity, both.row(1).identity, atol=1e-5)
    assert torch.allclose(alone.attributes, both.row(1).attributes, atol=1e-5)


@pytest.mark.parametrize("name", ["nitzan", "zhou"])
@torch.inference_mode()
def test_strengths_run_from_one_source_to_the_other(name: str):
    swap = method(name)
    both = swap.encode(faces(2))
    a, b = both.row(0), both.row(1)
    assert torch.equal(swap_codes(swap, a, b), swap.map(a.identity, b.attributes))
    assert torch.equal(swap_codes(swap, a, b, Strengths(0.0, 1.0)), swap.map(b.identity, b.attributes))
    assert torch.equal(swap_codes(swap, a, b, Strengths(1.0, 0.0)), swap.map(a.identity, a.attributes))
    half = swap_codes(swap, a, b, Strengths(0.5, 1.0))
    assert not torch.equal(half, swap_codes(swap, a, b))


@pytest.mark.parametrize("name", ["nitzan", "zhou"])
@torch.inference_mode()
def test_a_gain_lengthens_the_way_to_the_other_identity_and_nothing_else(name: str):
    swap = method(name)
    both = swap.encode(faces(2))
    a, b = both.row(0), both.row(1)
    further = swap_codes(swap, a, b, Strengths(1.25))
    assert isinstance(swap, NitzanSwap | ZhouSwap)
    swap.mapper.identity_gain.fill_(1.25)
    assert torch.equal(swap_codes(swap, a, b), further)
    assert not torch.allclose(further, swap.map(a.identity, b.attributes))
    assert torch.allclose(swap_codes(swap, a, b, Strengths(0.8)), swap.map(a.identity, b.attributes), atol=1e-5)
    assert torch.equal(swap_codes(swap, a, b, Strengths(0.0)), swap.map(b.identity, b.attributes))
    assert torch.allclose(swap_codes(swap, a, a), swap.map(a.identity, a.attributes), atol=1e-4)
    cells = sheet(swap, both, both)
    assert torch.allclose(cells[1, 0], swap.synth(further)[0], atol=1e-4)


@torch.inference_mode()
def test_an_anchored_swap_of_strength_zero_is_the_projection():
    swap = method("nitzan")
    both = swap.encode(faces(2))
    a, b = both.row(0), both.row(1)
    projection = torch.randn(1, 8, 512)
    kept = anchored_codes(swap, a, b, projection, Strengths(0.0, 1.0))
    assert torch.allclose(kept, projection, atol=1e-6)
    full = anchored_codes(swap, a, b, projection)
    change = swap.map(a.identity, b.attributes) - swap.map(b.identity, b.attributes)
    assert torch.allclose(full - projection, change, atol=1e-5)


@dataclass
class Counter:
    """Counts what a method is asked for."""

    inner: IdSwap
    encoded: int = 0
    drawn: int = 0

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def unit_attributes(self) -> bool:
        return self.inner.unit_attributes

    @property
    def identity_gain(self) -> float:
        return self.inner.identity_gain

    def encode(self, image: Tensor) -> Codes:
        self.encoded += len(image)
        return self.inner.encode(image)

    def encode_id(self, image: Tensor) -> Tensor:
        self.encoded += len(image)
        return self.inner.encode_id(image)

    def encode_attr(self, image: Tensor) -> Tensor:
        self.encoded += len(image)
        return self.inner.encode_attr(image)

    def map(self, identity: Tensor, attributes: Tensor) -> Tensor:
        return self.inner.map(identity, attributes)

    def synth(self, codes: Tensor) -> Tensor:
        self.drawn += len(codes)
        return self.inner.synth(codes)


def test_a_sheet_encodes_once_and_draws_each_cell_once():
    counter = Counter(method("zhou"))
    who, what = counter.encode(faces(3)), counter.encode(faces(2))
    cells = sheet(counter, who, what, batch=2)
    assert cells.shape == (2, 3, 3, 32, 32)
    assert (counter.encoded, counter.drawn) == (5, 6)
    with torch.inference_mode():
        alone = counter.synth(counter.map(who.row(2).identity, what.row(1).attributes))
    assert torch.allclose(cells[1, 2], alone[0], atol=1e-5)


def test_slerp_keeps_its_ends_and_the_sphere():
    torch.manual_seed(0)
    a, b = F.normalize(torch.randn(4, 6), dim=1), F.normalize(torch.randn(4, 6), dim=1)
    assert torch.equal(arithmetic.slerp(a, b, 0.0), a)
    assert torch.equal(arithmetic.slerp(a, b, 1.0), b)
    middle = arithmetic.slerp(a, b, 0.5)
    assert torch.allclose(middle.norm(dim=1), torch.ones(4), atol=1e-5)
    assert torch.allclose((middle * a).sum(1), (middle * b).sum(1), atol=1e-5)
    assert torch.allclose(arithmetic.slerp(a, a, 0.3), a, atol=1e-5)
    beyond = arithmetic.slerp(a, b, 1.5)
    assert bool(((beyond * a).sum(1) < (a * b).sum(1)).all())
    assert bool(arithmetic.slerp(a, -a, 0.25).isfinite().all())


def test_rotation_and_nearest_donors():
    a = F.normalize(torch.randn(2, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    turned = arithmetic.rotated(a, 60, seed=5)
    assert torch.allclose((turned * a).sum(1), torch.full((2,), 0.5), atol=1e-5)
    assert torch.equal(turned, arithmetic.rotated(a, 60, seed=5))
    assert not torch.allclose(turned, arithmetic.rotated(a, 60, seed=6))
    gallery = torch.eye(8)
    near = arithmetic.mean_of_nearest(gallery[:1] * 0.9 + gallery[1:2] * 0.4, gallery, 2)
    assert torch.allclose(near, F.normalize(gallery[:1] + gallery[1:2], dim=1))


class Fixed(LandmarkNet):
    """Says that every point is in the middle of what it sees, and keeps what that was."""

    def __init__(self) -> None:
        super().__init__(input_size=48, channels=[4] * 5, depths=[0] * 4, neck=4)
        self.seen: Tensor | None = None

    def forward(self, crop: Tensor) -> Landmarks:
        self.seen = crop
        return Landmarks(torch.full((len(crop), 68, 2), 0.5), torch.zeros(len(crop), 5, 2), torch.zeros(len(crop)))


def test_points_come_back_in_coordinates_of_the_picture():
    net = Fixed()
    # Colour says where a pixel is: red the column, green the row, as fractions of the side.
    line = (torch.arange(64) + 0.5) / 64
    image = torch.stack([line.expand(64, 64), line[:, None].expand(64, 64), torch.zeros(64, 64)])[None]
    points = InnerPoints(net)(image)
    assert points.shape == (1, 51, 2)
    assert torch.allclose(points[0, 0], torch.tensor([0.5, 0.52]), atol=1e-6)
    assert net.seen is not None
    corner = net.seen[0, :2, 0, 0]
    assert torch.allclose(corner, torch.tensor([0.125, 0.145]) + 0.75 / 96, atol=2e-3)


def test_guides_pass_gradients_and_know_equal_pictures():
    image = faces(2).requires_grad_()
    net = LandmarkNet(input_size=32, channels=[4] * 5, depths=[0] * 4, neck=4).eval()
    InnerPoints(net)(image).sum().backward()
    assert image.grad is not None
    assert float(image.grad.abs().sum()) > 0
    distance = FeatureDistance(AttributeNet([4, 8], input_size=16).eval())
    assert torch.allclose(distance(faces(2), faces(2)), torch.zeros(2), atol=1e-6)
    assert bool((distance(faces(2), -faces(2)) > 0.01).all())


@torch.inference_mode()
def test_the_vggface_code_has_no_negative_entries():
    torch.manual_seed(0)
    code = VGGFaceIdentity().eval()(faces(2))
    assert code.shape == (2, 512)
    assert float(code.min()) >= 0
    assert torch.allclose(code.norm(dim=1), torch.ones(2), atol=1e-5)


def test_the_identity_network_is_the_familys():
    assert isinstance(network("identity"), IdentityNet)
