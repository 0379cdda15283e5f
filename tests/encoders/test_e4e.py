"""e4e: keys of the three published sizes, rows, progressive stages, the mean latent, and what is refused."""

from __future__ import annotations

import pytest
import torch

from encoders.e4e import E4EProjector, Encoder4Editing, mean_rows
from tests.encoders.keys import ours, published


@pytest.mark.parametrize(("size", "name"), [(1024, "e4e_encoder_18"), (256, "e4e_encoder_14")])
def test_keys_and_shapes_are_the_published_ones(size: int, name: str):
    with torch.device("meta"):
        assert ours(Encoder4Editing(size)) == published(name)


@pytest.mark.parametrize(
    ("size", "rows", "parameters"), [(1024, 18, 267_136_704), (512, 16, 238_293_696), (256, 14, 209_450_688)]
)
def test_rows_and_parameters_follow_the_generator(size: int, rows: int, parameters: int):
    with torch.device("meta"):
        encoder = Encoder4Editing(size)
        assert encoder(torch.empty(2, 3, 256, 256)).shape == (2, rows, 512)
    assert encoder.n_latent == rows
    assert sum(p.numel() for p in encoder.parameters()) == parameters


def test_rows_above_the_stage_repeat_the_first(monkeypatch: pytest.MonkeyPatch):
    with torch.device("meta"):
        encoder = Encoder4Editing(1024)
    encoder.input_layer = torch.nn.Identity()  # type: ignore[assignment]
    encoder.body = torch.nn.Sequential(*[torch.nn.Identity()] * 24)
    encoder.latlayer1 = torch.nn.Identity()  # type: ignore[assignment]
    encoder.latlayer2 = torch.nn.Identity()  # type: ignore[assignment]

    class Constant(torch.nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value = value

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full((x.shape[0], 512), self.value)

    encoder.styles = torch.nn.ModuleList(Constant(100.0 if row == 0 else float(row)) for row in range(18))
    image = torch.zeros(1, 3, 256, 256)
    assert encoder(image)[0, :, 0].tolist() == [100.0] + [100.0 + row for row in range(1, 18)]
    for stage in (0, 2, 7):
        encoder.set_stage(stage)
        rows = [100.0 + row if 0 < row <= stage else 100.0 for row in range(18)]
        assert encoder(image)[0, :, 0].tolist() == rows
    mean = torch.arange(18.0)[:, None].expand(18, 512)
    assert encoder.encode(image, mean)[0, 5, 3] == encoder(image)[0, 5, 3] + 5


@pytest.mark.parametrize("shape", [(512,), (1, 512), (18, 512), (1, 18, 512)])
def test_mean_latent_of_any_published_shape_is_read(shape: tuple[int, ...]):
    mean = torch.rand(shape)
    rows = mean_rows(mean, 18)
    assert rows.shape == (18, 512)
    assert torch.equal(rows[-1], mean.reshape(-1, 512)[-1])


@pytest.mark.parametrize("shape", [(), (256,), (14, 512), (18, 256)])
def test_mean_latent_of_another_shape_is_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match="mean latent must be"):
        mean_rows(torch.rand(shape), 18)


def test_projector_takes_any_size():
    with torch.device("meta"):
        projector = E4EProjector(Encoder4Editing(256), torch.empty(512))
        assert projector(torch.empty(1, 3, 300, 300)).shape == (1, 14, 512)
    assert projector.state_dict()["latent_avg"].shape == (14, 512)


def test_wrong_sizes_and_stages_are_refused():
    with pytest.raises(ValueError, match="power of two"):
        Encoder4Editing(1000)
    with torch.device("meta"):
        encoder = Encoder4Editing(256)
        with pytest.raises(ValueError, match="256x256"):
            encoder(torch.empty(1, 3, 128, 128))
    for stage in (-1, 14):
        with pytest.raises(ValueError, match="stage must be"):
            encoder.set_stage(stage)
