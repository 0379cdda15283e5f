"""IR-SE50 body and the ArcFace backbone: keys, sizes, unit rows, and what they refuse."""

from __future__ import annotations

import pytest
import torch

from encoders.irse import Backbone, Unit, body, stem
from tests.encoders.keys import ours, published


@pytest.mark.parametrize("name", ["arcface_ir_se50", "idswap_irse50"])
def test_keys_and_shapes_are_the_published_ones(name: str):
    with torch.device("meta"):
        assert ours(Backbone()) == published(name)


def test_the_body_is_the_one_of_e4e():
    with torch.device("meta"):
        found = {f"body.{key}": shape for key, shape in ours(body()).items()}
        found |= {f"input_layer.{key}": shape for key, shape in ours(stem()).items()}
    wanted = {k: v for k, v in published("e4e_encoder_18").items() if k.startswith(("body.", "input_layer."))}
    assert found == wanted


@pytest.mark.parametrize("mode", ["ir", "ir_se"])
@pytest.mark.parametrize(("num_layers", "units"), [(50, 24), (100, 49), (152, 50)])
def test_body_reduces_sixteen_times(num_layers: int, units: int, mode: str):
    with torch.device("meta"):
        network = body(num_layers, mode)
        assert len(network) == units
        assert network(torch.empty(1, 64, 32, 48)).shape == (1, 512, 2, 3)
    assert any(".fc1." in key for key in network.state_dict()) == (mode == "ir_se")


def test_a_unit_of_equal_width_passes_its_input_on():
    unit = Unit(32, 32, 2, se=True).eval()
    with torch.no_grad():
        for parameter in unit.res_layer.parameters():
            parameter.zero_()
    x = torch.rand(1, 32, 8, 8)
    assert torch.equal(unit(x), x[:, :, ::2, ::2])


def test_embedding_has_unit_rows_and_ignores_contrast_free_batches():
    network = Backbone().eval()
    with torch.inference_mode():
        faces = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 2 - 1
        rows = network(faces)
        alone = network(faces[1:])
    assert rows.shape == (2, 512)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(rows[1:], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Backbone(128), "input size"),
        (lambda: Backbone(112, 51), "number of layers"),
        (lambda: Backbone(112, 50, "se"), "mode"),
    ],
)
def test_other_variants_are_refused(build, message: str):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        build()


def test_another_face_size_is_refused():
    with torch.device("meta"), pytest.raises(ValueError, match="112x112"):
        Backbone()(torch.empty(1, 3, 128, 128))
