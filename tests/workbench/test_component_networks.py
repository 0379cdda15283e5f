"""Edits of face parts with the published files: their classes, containers and keys behind the commands and the engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import cli
from data import container
from data.datasets import load_faces
from iafaces.editing import edit_mask
from iafaces.official import PublishedDecoder
from tests.iafaces import published
from tests.iafaces.published import ALL, CAM, CAM_1024, PLAIN, PLAIN_1024, Published
from tests.tiny_family import write_family
from tests.training import faces
from workbench.editor import EditRequest
from workbench.engine import Engine
from workbench.errors import BadCheckpoint, BadRequest, MissingWeights, WrongSpace
from workbench.export import save_code
from workbench.face import AlignedFace, Detection, Photo, to_tensor, to_uint8
from workbench.images import load_image
from workbench.registry import create

FAMILIES = {"plain": PLAIN, "cam": CAM, "big": PLAIN_1024, "bigcam": CAM_1024}
ROWS = {"eyes": [0, 1], "l_eye": [0], "r_eye": [1], "nose": [2], "mouth": [3]}


def record(family: str, which: Published, *, arch: str = "") -> str:
    """A family of one published file as the list of weights has it, with the tiny family's identity network."""
    directions = f"{Path(which.file).stem}-directions.safetensors"
    return f"""
[{family}]
folders = ["ckpt", "tiny"]
face_size = {which.size}
[{family}.files.{which.kind}]
file = "{which.file}"
format = "torch"
arch = {{ {arch} }}
[{family}.files.directions]
file = "{directions}"
optional = true
[{family}.files.identity]
file = "identity.safetensors"
[{family}.files.judge]
file = "judge.safetensors"
"""


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        published.shrink(patch)
        yield


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory, small: None) -> Path:
    path = write_family(tmp_path_factory.mktemp("published"))
    (path.parent / "ckpt").mkdir()
    for which in ALL:
        published.write(path.parent / "ckpt" / which.file, which)
    text = path.read_text() + "".join(record(name, which) for name, which in FAMILIES.items())
    path.write_text(text + record("righted", CAM, arch="legacy_boxes = false"))
    return path


def draw(path: Path, seed: int, size: int = 256) -> Path:
    noise = torch.randint(0, 256, (8, 8, 3), generator=torch.Generator().manual_seed(seed)).byte()
    Image.fromarray(noise.numpy()).resize((size, size), Image.Resampling.BICUBIC).save(path)
    return path


def read(path: Path) -> Tensor:
    """(1,3,H,W) in [-1, 1] as the release reads it: x / 127.5 - 1."""
    pixels = torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).copy())
    return pixels.permute(2, 0, 1)[None] / 127.5 - 1


def levels(a: Path, b: Tensor) -> int:
    """Largest distance in grey levels of a written picture to (1,3,H,W) in [-1, 1]."""
    return int(np.abs(np.asarray(Image.open(a)).astype(int) - to_uint8(b[0]).astype(int)).max())


def transfer(manifest: Path, family: str, target: Path, reference: Path, out: Path, *more: str) -> int:
    call = ["transfer", "--target", str(target), "--reference", str(reference), "--family", family, "--aligned"]
    return cli.main([*call, "--manifest", str(manifest), "--out", str(out), *more])


@pytest.mark.parametrize("component", ["eyes", "r_eye", "mouth"])
@pytest.mark.parametrize("family", ["plain", "cam"])
def test_a_transfer_is_the_published_one(family: str, component: str, manifest: Path, tmp_path: Path) -> None:
    a, b = (draw(tmp_path / f"{i}.png", i) for i in (1, 2))
    out, which, rows = tmp_path / "out.png", FAMILIES[family], ROWS[component]
    assert transfer(manifest, family, a, b, out, "--component", component, "--output-mode", "decoded") == 0
    wanted = published.transferred(which, read(a), read(b), rows)
    assert levels(out, wanted) <= 1
    assert levels(out, published.transferred(which, read(a), read(b), rows, 0.0)) > 8


@pytest.mark.parametrize("family", ["big", "bigcam"])
def test_the_1024_files_read_faces_of_1024_px(family: str, manifest: Path, tmp_path: Path) -> None:
    a, b = (draw(tmp_path / f"{i}.png", i, 1024) for i in (1, 2))
    out = tmp_path / "out.png"
    more = ("--component", "l_eye", "--blend", "0.5", "--output-mode", "decoded")
    assert transfer(manifest, family, a, b, out, *more) == 0
    assert Image.open(out).size == (1024, 1024)
    assert levels(out, published.transferred(FAMILIES[family], read(a), read(b), [0], 0.5)) <= 1


@pytest.mark.parametrize("family", ["plain", "cam"])
def test_residual_and_difference_come_from_both_decodings(family: str, manifest: Path, tmp_path: Path) -> None:
    a, b = (draw(tmp_path / f"{i}.png", i) for i in (1, 2))
    which = FAMILIES[family]
    edited = published.transferred(which, read(a), read(b), [3])
    recon = published.transferred(which, read(a), read(b), [3], 0.0)
    out = tmp_path / "out.png"
    assert transfer(manifest, family, a, b, out, "--component", "mouth", "--as-drawn") == 0
    mask = edit_mask([3], 256)
    assert levels(out, (read(a) + mask * (edited - recon)).clamp(-1, 1)) <= 1
    beyond = (mask[0] == 0).numpy()
    assert beyond.mean() > 0.8
    assert (np.asarray(Image.open(out))[beyond] == np.asarray(Image.open(a))[beyond]).all()
    other = tmp_path / "difference.png"
    assert transfer(manifest, family, a, b, other, "--component", "mouth", "--output-mode", "difference") == 0
    grey = 2 * (edited - recon).abs().mean(1, keepdim=True).clamp(0, 1) - 1
    assert levels(other, grey.expand(-1, 3, -1, -1)) <= 1


@pytest.mark.parametrize("family", ["plain", "cam"])
def test_reconstruct_writes_what_encoder_and_decoder_make(family: str, manifest: Path, tmp_path: Path) -> None:
    photo, out = draw(tmp_path / "1.png", 1), tmp_path / "out.png"
    call = ["reconstruct", str(photo), "--aligned", "--family", family, "--manifest", str(manifest), "--out", str(out)]
    assert cli.main(call) == 0
    encoder, decoder = published.networks(FAMILIES[family])
    with torch.inference_mode():
        assert levels(out, decoder(*encoder(read(photo)))) <= 1


def test_the_released_cam_file_gates_in_its_own_boxes_unless_told(manifest: Path, tmp_path: Path) -> None:
    a, b = (draw(tmp_path / f"{i}.png", i) for i in (1, 2))
    out = tmp_path / "out.png"
    assert transfer(manifest, "righted", a, b, out, "--component", "nose", "--output-mode", "decoded") == 0
    encoder, decoder = published.networks(CAM)
    right = PublishedDecoder.published(256, cam=True, legacy_boxes=False)
    right.load_state_dict(decoder.state_dict())
    assert decoder.gate_sides() == [8, 8, 8, 8, 16, 16, 32, 32, 64, 64, 128]
    assert right.gate_sides() == [8, 8, 16, 16, 32, 32, 64, 64, 128, 128, 256]
    with torch.inference_mode():
        content, nodes = encoder(read(a))
        nodes[:, 2] = encoder(read(b))[1][:, 2]
        assert levels(out, right(content, nodes)) <= 1
        assert levels(out, decoder(content, nodes)) > 1


@pytest.mark.parametrize("heads", ["layers", "layers2"])
def test_heads_and_containers_of_every_kind_are_one_network(heads: str, manifest: Path, tmp_path: Path) -> None:
    """Saved by the training or the evaluation code, and converted to safetensors."""
    (tmp_path / "ckpt").mkdir()
    (tmp_path / "tiny").symlink_to(manifest.parent / "tiny")
    (tmp_path / "weights.toml").write_text(manifest.read_text())
    raw = tmp_path / "raw.pth"
    published.write(raw, CAM_1024, heads=heads)
    assert cli.main(["weights", "add", str(raw), "--manifest", str(tmp_path / "weights.toml")]) == 0
    engine = Engine("bigcam", family_file=tmp_path / "weights.toml")
    ids = [create("iafaces", Engine("bigcam", family_file=m).store) for m in (manifest, tmp_path / "weights.toml")]
    assert len({editor.weights for editor in ids}) == 1  # type: ignore[attr-defined]
    file = tmp_path / "ckpt" / CAM_1024.file
    assert cli.main(["weights", "convert", str(file), "--out", str(file.with_suffix(".safetensors"))]) == 0
    file.unlink()
    assert create("iafaces", engine.store).weights == ids[0].weights  # type: ignore[attr-defined]


def test_a_photo_is_aligned_and_gets_its_edit_back_without_a_generator(manifest: Path) -> None:
    engine = Engine("plain", family_file=manifest)
    pixels = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    points = np.array([(210.0, 180), (290, 180), (250, 220), (222, 260), (278, 260)])
    detection = Detection((150, 100, 350, 300), points, None, 0.9)
    aligned = engine.align(Photo(pixels), detection)
    assert aligned.image.shape == (256, 256, 3)
    face = engine.project(aligned)
    assert torch.equal(face.image, to_tensor(aligned.image))
    editor = create("iafaces", engine.store)
    request = EditRequest("iafaces", "1", {"borrow_mouth": 1.0})
    result = editor.edit(face, request, reference=-face.target)  # type: ignore[call-arg]
    inverse = AlignedFace(Photo(255 - aligned.image), 255 - aligned.image, aligned.transform)
    lent = engine.references.lend(inverse)
    whole = engine.compose(face, result)
    assert whole.pixels.shape == pixels.shape
    assert (whole.pixels != pixels).any()
    assert (whole.pixels[:60] == pixels[:60]).all()
    edited = engine.edit(face, request=EditRequest("iafaces", "1", {"borrow_mouth": 1.0}, reference=lent))
    torch.testing.assert_close(edited.image, result.image, atol=1e-4, rtol=0)
    neutral = engine.compose(face, editor.edit(face, EditRequest("iafaces", "1", {})))
    assert (neutral.pixels == pixels).all()


def labelled(folder: Path, count: int = 400) -> Path:
    faces.write(folder, count)
    config = folder / "config.toml"
    config.write_text(faces.DATA)
    return config


def test_directions_are_fitted_for_the_published_network_and_move_its_embeddings(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = labelled(tmp_path)
    fit = ["directions", "fit", str(config), "--faces", str(tmp_path), "--manifest", str(manifest), "--json"]
    place = manifest.parent / "ckpt" / "iafaces-celebahq-256-directions.safetensors"
    try:
        assert cli.main([*fit, "--family", "plain"]) == 0
        told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert {line["attribute"] for line in told} >= {"mouth_open", "bushy", "male"}
        state, header = container.load(place)
        photo, out = draw(tmp_path / "photo.png", 5), tmp_path / "out.png"
        call = ["attr", str(photo), "--aligned", "--family", "plain", "--manifest", str(manifest), "--out", str(out)]
        asked = ["--attribute", "bushy", "--strength", "3", "--component", "l_eye", "--output-mode", "decoded"]
        assert cli.main([*call, *asked]) == 0
        encoder, decoder = published.networks(PLAIN)
        with torch.inference_mode():
            content, nodes = encoder(read(photo))
            nodes[:, 0] += 3 * state["bushy.step"][0]
            assert levels(out, decoder(content, nodes)) <= 1
        # The same network by its file: the same id, and the name the family looks for.
        file = manifest.parent / "ckpt" / PLAIN.file
        other = tmp_path / file.name
        other.write_bytes(file.read_bytes())
        assert cli.main([*fit, "--components", str(other)]) == 0
        again, second = container.load(tmp_path / place.name)
        assert second["encoder"] == header["encoder"]
        assert all(torch.equal(again[key], value) for key, value in state.items())
        # Another network's directions are refused with the file's name.
        place.rename(place.with_name("iafaces_cam-celebahq-256-directions.safetensors"))
        capsys.readouterr()
        assert cli.main([*call[:4], "cam", *call[5:], *asked]) == 1
        assert "iafaces_cam-celebahq-256-directions.safetensors': These attribute" in capsys.readouterr().err
    finally:
        for path in place.parent.glob("*-directions.safetensors"):
            path.unlink()


def test_the_protocol_measures_a_published_network(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled(tmp_path, 10)
    call = ["evaluate", "iafaces", "--zip", str(tmp_path / "val.zip"), "--labels", str(tmp_path / "val.csv"), "--json"]
    assert cli.main([*call, "--count", "4", "--family", "plain", "--manifest", str(manifest)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["faces"], told["size"], told["curves"]) == (4, 256, {})
    encoder, decoder = published.networks(PLAIN)
    photos = load_faces([tmp_path / "val.zip"], tmp_path / "val.csv", 256).batch(np.arange(4)).contiguous()
    with torch.inference_mode():
        error = (decoder(*encoder(photos)).clamp(-1, 1) - photos).square().mean()
    assert told["reconstruction"]["mse"]["value"] == pytest.approx(float(error), rel=1e-3)


def test_a_family_with_a_generator_of_its_own_projects_and_edits_the_rendering(manifest: Path, tmp_path: Path) -> None:
    text = tmp_path / "weights.toml"
    folders = f'folders = ["{manifest.parent / "tiny"}", "{manifest.parent / "ckpt"}"]'
    added = f'''
[starter.files.{CAM_1024.kind}]
file = "{CAM_1024.file}"
format = "torch"
optional = true
'''
    text.write_text(manifest.read_text().replace('folders = ["tiny"]', folders, 1) + added)
    engine = Engine("starter", family_file=text)
    face = engine.project(engine.use_aligned(load_image(draw(tmp_path / "photo.png", 3, 32))))
    assert face.latent.generator == engine.generator_id
    assert not torch.equal(face.image, face.target)
    editor = create("iafaces", engine.store)
    result = editor.edit(face, EditRequest("iafaces", "1", {"borrow_nose": 1.0, "seam": 1.0}), reference=-face.target)  # type: ignore[call-arg]
    large = torch.nn.functional.interpolate(face.target[None], (1024, 1024), mode="bilinear", align_corners=False)
    edited, recon = (published.transferred(CAM_1024, large, -large, [2], blend) for blend in (1.0, 0.0))
    change = torch.nn.functional.avg_pool2d(edited - recon, 32)[0]
    torch.testing.assert_close(result.image, (face.image + edit_mask([2], 32) * change).clamp(-1, 1), atol=1e-4, rtol=0)


def test_without_directions_attributes_are_refused_and_transfers_are_not(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = draw(tmp_path / "photo.png", 5)
    call = ["attr", str(photo), "--aligned", "--family", "cam", "--manifest", str(manifest), "--strength", "1"]
    assert cli.main([*call, "--attribute", "mouth_open"]) == 1
    assert "directions fit CONFIG --family cam" in capsys.readouterr().err
    assert cli.main(["directions", "list", "--family", "cam", "--manifest", str(manifest)]) == 1
    assert "no attribute directions yet" in capsys.readouterr().err
    assert transfer(manifest, "cam", photo, photo, tmp_path / "out.png", "--component", "nose") == 0


def test_what_cannot_be_used_is_a_sentence(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ckpt").mkdir()
    (tmp_path / "tiny").symlink_to(manifest.parent / "tiny")
    text = tmp_path / "weights.toml"
    text.write_text(manifest.read_text())
    with pytest.raises(MissingWeights, match=rf"put it to '{tmp_path}/ckpt/{PLAIN.file}'"):
        Engine("plain", family_file=text).spec("iafaces")
    (tmp_path / "ckpt" / PLAIN.file).write_bytes((manifest.parent / "ckpt" / CAM.file).read_bytes())
    with pytest.raises(BadCheckpoint, match=r"is no iafaces_celebahq256: .*\(iafaces_cam_celebahq256\)"):
        Engine("plain", family_file=text).spec("iafaces")
    (tmp_path / "ckpt" / PLAIN.file).write_bytes(b"<html><title>Quota exceeded</title></html>")
    with pytest.raises(BadCheckpoint, match="web page"):
        Engine("plain", family_file=text).spec("iafaces")
    with pytest.raises(MissingWeights, match="no component network"):
        Engine("starter", family_file=text).spec("iafaces")
    engine = Engine("plain", family_file=manifest)
    face = engine.project(engine.use_aligned(Photo(np.zeros((300, 300, 3), np.uint8))))
    with pytest.raises(BadRequest, match="nothing to refine"):
        engine.project(face.aligned, "refined")
    with pytest.raises(WrongSpace, match="generator none"):
        Engine("starter", family_file=manifest).edit(face, EditRequest("sdflow", "1", {}))
    with pytest.raises(BadRequest, match="no code to save"):
        save_code(tmp_path / "code.safetensors", face.latent)
    with pytest.raises(MissingWeights, match="needs another family"):
        engine.spec("sdflow")
    photo = draw(tmp_path / "photo.png", 5)
    assert transfer(text, "strange", photo, photo, tmp_path / "out.png", "--component", "nose") == 1
    assert "no family of weights called 'strange'" in capsys.readouterr().err
    config = labelled(tmp_path, 30)
    fit = ["directions", "fit", str(config), "--faces", str(tmp_path), "--manifest", str(manifest)]
    for more, said in (
        ([], "--components FILE, or --family NAME"),
        (["--components", str(manifest.parent / "tiny" / "generator.safetensors")], "'components' is needed"),
        (["--components", str(tmp_path / "nothing.pth")], "nothing.pth"),
        (["--family", "plain"], "ten faces"),
        (["--family", "plain", "--faces", str(tmp_path / "nowhere")], "are not there"),
    ):
        assert cli.main([*fit, *more]) == 1
        assert said in capsys.readouterr().err


def test_an_own_family_is_as_before(manifest: Path) -> None:
    with pytest.raises(BadRequest, match="no family"):
        Engine("nothing", family_file=manifest)
    assert Engine("starter", family_file=manifest).size == 32
