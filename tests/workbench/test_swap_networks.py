"""Swaps with the published files: other classes, containers and input forms behind the same interface."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import cli
from encoders.identity import IdentityEncoder
from encoders.inception import InceptionEncoder
from encoders.irse import Backbone
from idswap.models import LatentMapper, SwapEncoder
from stylegan2.generator import Generator
from tests.tiny_family import write_family
from workbench.engine import Engine
from workbench.errors import BadCheckpoint, MissingWeights
from workbench.images import load_image
from workbench.swapping import METHODS, Swapping

FILES = {
    "generator": "550000.pt",
    "identity": "model_ir_se50.pth",
    "roich_attr_encoder": "attr_encoder.pt",
    "roich_mapper": "maper.pt",
    "swap_encoder": "swap_encoder.pt",
    "swap_mapper": "mlp.pt",
}
SMALL = {"size": 32, "style_dim": 512, "n_mlp": 2, "channels": {4: 8, 8: 8, 16: 8, 32: 8}}


def published() -> dict[str, nn.Module]:
    """Networks of the published sizes with random weights, but for the generator, which is small."""
    torch.manual_seed(0)
    made = {
        "generator": Generator(**SMALL),
        "identity": Backbone(112),
        "roich_attr_encoder": InceptionEncoder(),
        "roich_mapper": LatentMapper(),
        "swap_encoder": SwapEncoder(),
        "swap_mapper": LatentMapper(),
    }
    return {kind: module.eval() for kind, module in made.items()}


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    return published()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory, networks: dict[str, nn.Module]) -> Path:
    folder = tmp_path_factory.mktemp("published")
    path = write_family(folder)
    lines = ["", "[ffhq256]", 'title = "Published"', 'folders = ["tiny"]']
    for kind, file in FILES.items():
        state = networks[kind].state_dict()
        torch.save({"g_ema": state} if kind == "generator" else state, folder / "tiny" / file)
        lines += [f"[ffhq256.files.{kind}]", f'file = "{file}"', 'format = "torch"', "arch = {}"]
    path.write_text(path.read_text() + "\n".join(lines) + "\n")
    return path


def picture(path: Path, seed: int) -> Path:
    noise = torch.randint(0, 256, (6, 6, 3), generator=torch.Generator().manual_seed(seed)).byte()
    Image.fromarray(noise.numpy()).resize((64, 64)).save(path)
    return path


def by_hand(name: str, nets: dict[str, nn.Module], a: Tensor, b: Tensor) -> Tensor:
    """The published procedure: codes side by side, identity first, one w in every row."""
    if name == "zhou":
        encode = nets["swap_encoder"]
        w = nets["swap_mapper"](torch.cat([encode(a)[0], encode(b)[1]], 1))
    else:
        identity = IdentityEncoder()
        identity.load_state_dict(nets["identity"].state_dict())
        who = F.normalize(identity.eval()(a), dim=1)
        w = nets["roich_mapper"](torch.cat([who, nets["roich_attr_encoder"](b)], 1))
    generator = nets["generator"]
    assert isinstance(generator, Generator)
    return generator.synthesis(w[:, None].expand(-1, generator.n_latent, -1))


@pytest.mark.parametrize("name", METHODS)
def test_published_files_swap_as_their_authors_do(
    name: str, manifest: Path, networks: dict[str, nn.Module], tmp_path: Path
) -> None:
    engine = Engine("ffhq256", family_file=manifest)
    a, b = (engine.use_aligned(load_image(picture(tmp_path / f"{i}.png", i))) for i in (1, 2))
    result = Swapping(engine).swap(name, a, b)
    pictures = [torch.from_numpy(face.image.copy()).permute(2, 0, 1)[None] / 127.5 - 1 for face in (a, b)]
    with torch.inference_mode():
        wanted = by_hand(name, networks, *pictures)[0].clamp(-1, 1)
    torch.testing.assert_close(result.image, wanted, atol=2e-4, rtol=0)
    assert result.code is not None
    assert bool((result.code == result.code[:1]).all())
    assert len(result.weights) == (4 if name == "nitzan" else 3)


def test_the_command_takes_the_published_family(manifest: Path, tmp_path: Path) -> None:
    a, b = (picture(tmp_path / f"{i}.png", i) for i in (1, 2))
    out = tmp_path / "out.png"
    options = ["--family", "ffhq256", "--manifest", str(manifest), "--aligned", "--crop", "--out", str(out)]
    assert cli.main(["swap", "--identity", str(a), "--attributes", str(b), *options]) == 0
    assert Image.open(out).size == (32, 32)


def test_files_that_do_not_belong_together_are_named(
    manifest: Path, networks: dict[str, nn.Module], tmp_path: Path
) -> None:
    other = tmp_path / "tiny"
    other.mkdir()
    for file in (manifest.parent / "tiny").iterdir():
        (other / file.name).symlink_to(file)
    (other / "maper.pt").unlink()
    torch.save(LatentMapper([40, 32, 512]).state_dict(), other / "maper.pt")
    text = tmp_path / "weights.toml"
    text.write_text(manifest.read_text())
    swapping = Swapping(Engine("ffhq256", family_file=text))
    with pytest.raises(BadCheckpoint, match=r"maper\.pt"):
        swapping.method("nitzan")
    with pytest.raises(MissingWeights, match="no networks for swaps"):
        Swapping(Engine(family_file=manifest)).method("nitzan")
