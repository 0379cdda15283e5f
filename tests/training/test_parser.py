"""Labels without labels, the parser's training task, and the measuring of corrected masks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data import container
from encoders.compact_parser import CompactParser
from encoders.parser import FACE_CLASSES
from evaluation.parser_masks import corrected, main, measure, overlap, packed, parsed, pictures, read
from training import face_regions as regions
from training.distributed import Ranks
from training.ema import Ema
from training.files import load_network
from training.loop import Schedule, run
from training.parser import ParserTask
from workbench.errors import BadRequest, MissingWeights
from workbench.face import to_tensor

SIZE = 64


def points() -> np.ndarray:
    """A frontal face: 68 points in [0, 1] of an aligned picture."""
    made = np.zeros((68, 2))
    angle = np.linspace(np.pi, 0, 17)
    made[:17] = np.stack([0.5 + 0.25 * np.cos(angle), 0.5 + 0.35 * np.sin(angle)], 1)
    made[17:22] = np.stack([np.linspace(0.31, 0.44, 5), np.full(5, 0.41)], 1)
    made[22:27] = np.stack([np.linspace(0.56, 0.69, 5), np.full(5, 0.41)], 1)
    made[27:31] = np.stack([np.full(4, 0.5), np.linspace(0.46, 0.6, 4)], 1)
    made[31:36] = np.stack([np.linspace(0.45, 0.55, 5), np.full(5, 0.63)], 1)
    turn = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    for first, x in ((36, 0.375), (42, 0.625)):
        made[first : first + 6] = np.stack([x + 0.05 * np.cos(turn), 0.475 + 0.02 * np.sin(turn)], 1)
    turn = np.linspace(np.pi, -np.pi, 12, endpoint=False)
    made[48:60] = np.stack([0.5 + 0.1 * np.cos(turn), 0.745 - 0.03 * np.sin(turn)], 1)
    made[60:68] = [0.5, 0.745]
    return made


def picture() -> np.ndarray:
    """Blue ground, dark hair around a light face, red cloth below."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    image = np.full((SIZE, SIZE, 3), (40, 60, 200), np.uint8)
    image[((x - 0.5) / 0.36) ** 2 + ((y - 0.42) / 0.4) ** 2 < 1] = (30, 20, 10)
    image[y > 0.87] = (190, 30, 30)
    image[((x - 0.5) / 0.25) ** 2 + ((y - 0.52) / 0.34) ** 2 < 1] = (225, 180, 150)
    return image


def labels() -> np.ndarray:
    prior = torch.from_numpy(regions.coarse_prior(points(), SIZE)).float()[None]
    coarse = regions.coarse_posterior(picture()[None], prior, np.array([-1]), regions.Palette())
    return regions.assemble(coarse[0].numpy(), points())


def at(found: np.ndarray, x: float, y: float) -> str:
    value = found[int(y * SIZE), int(x * SIZE)]
    return "unsure" if value == regions.IGNORED else FACE_CLASSES[value]


def test_every_part_of_a_drawn_face_gets_its_class() -> None:
    found = labels()
    wanted = {
        "background": (0.05, 0.1), "hair": (0.5, 0.08), "skin": (0.36, 0.62), "mouth": (0.5, 0.745),
        "eyes": (0.375, 0.475), "eyebrows": (0.375, 0.41), "nose": (0.5, 0.58), "belowface": (0.5, 0.95),
    }  # fmt: skip
    assert {name: at(found, *place) for name, place in wanted.items()} == {name: name for name in wanted}


def test_hair_colour_groups_are_single_labels_only() -> None:
    rows = np.zeros((3, 40), np.uint8)
    rows[0, 8] = rows[1, 8] = rows[1, 9] = 1
    assert regions.hair_group(rows).tolist() == [0, -1, -1]


BODY = {
    "data": {"labels": "parser-labels.npz", "held": 4},
    "model": {"widths": [8, 16], "neck": [8], "input_size": SIZE},
    "train": {"batch": 4, "rate": 1e-2, "weights": {"eyes": 2.0}},
}


def test_the_task_learns_and_writes_a_parser(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    with pytest.raises(MissingWeights, match="parser_labels"):
        ParserTask(BODY, tmp_path, tmp_path / "run", "cpu", Ranks())
    images, maps = np.stack([picture()] * 8), np.stack([labels()] * 8)
    np.savez(cache / "parser-labels.npz", images=images, labels=maps, plan="test")
    torch.manual_seed(0)
    task = ParserTask(BODY, tmp_path, tmp_path / "run", "cpu", Ranks())
    before = task.overlaps(task.net.eval())
    assert run(task, Schedule(steps=25, log_every=25, save_every=100, ema=0.5), tmp_path / "run", ranks=Ranks()) == 25
    after = task.overlaps(task.net.eval())
    assert sum(after.values()) > sum(before.values()) + 1
    header = container.read_header(tmp_path / "run" / "parser.safetensors")
    assert (header["kind"], header["classes"]) == ("parser", list(FACE_CLASSES))
    picture_of = task.grid({"net": Ema(task.net, 0.5)})
    assert picture_of.shape[0] == 3 * SIZE


def test_corrections_are_painted_over_the_draft_and_measured() -> None:
    draft = np.zeros((10, 10), np.uint8)
    hair = FACE_CLASSES.index("hair")
    strokes = [{"class": "hair", "polygon": [[0, 0], [1, 0], [1, 0.5], [0, 0.5]]}]
    truth = corrected(draft, strokes)
    assert (truth[:4] == hair).all()
    assert (truth[7:] == 0).all()
    assert corrected(draft, []).tolist() == draft.tolist()
    found = overlap([draft], [truth])
    assert found["hair"] == 0
    assert found["eyes"] is None
    assert 0.3 < (found["background"] or 0) < 0.7
    with pytest.raises(BadRequest, match="no class"):
        corrected(draft, [{"class": "beard", "polygon": []}])


def test_the_corrected_masks_name_their_generator_and_have_a_draft_for_every_face() -> None:
    path = Path(__file__).resolve().parents[2] / "data" / "parser-masks.json"
    head, masks = read(path)
    assert {"generator", "parser", "truncation"} <= set(head)
    # Seeds in sequence: no face was picked or left out.
    assert sorted(masks) == list(range(60))
    faces = json.loads(path.read_text())["faces"]
    with np.load(path.with_suffix(".npz")) as stored:
        drafts = dict(zip(stored["seeds"].tolist(), stored["maps"], strict=True))
    for seed, mask in masks.items():
        assert (mask != drafts[seed]).any() == bool(faces[str(seed)])
        # A brow is a brow: neither painted away nor a whole forehead.
        assert 0.005 < (mask == FACE_CLASSES.index("eyebrows")).mean() < 0.03


def test_the_shipped_parser_is_measured_on_the_pictures_beside_the_masks() -> None:
    root = Path(__file__).resolve().parents[2]
    parser, _ = load_network(CompactParser, root / "data/starter/parser.safetensors", "cpu")
    path = root / "data/parser-masks.json"
    shown = pictures(path)
    assert len(shown) == 60
    assert {picture.shape for picture in shown.values()} == {(128, 128, 3)}
    few = measure(parser, path, [24, 25, 26, 27])
    assert few["faces"] == 4
    assert few["overlap"]["hair"] > 0.7
    # Another face's mask fits worse: picture and mask of a seed belong together.
    _, masks = read(path)
    guess = [parsed(parser, to_tensor(shown[seed])[None]) for seed in (24, 25, 26, 27)]
    wrong = overlap(guess, [masks[seed] for seed in (34, 35, 36, 37)])
    assert (wrong["hair"] or 0) < few["overlap"]["hair"] - 0.1
    with pytest.raises(BadRequest, match="no mask of the seeds"):
        measure(parser, path, [99])


def test_pictures_that_do_not_belong_to_the_drafts_are_refused(tmp_path: Path) -> None:
    path, drafts = tmp_path / "masks.json", {"seeds": np.array([0, 1]), "maps": np.zeros((2, 8, 8), np.uint8)}
    np.savez(path.with_suffix(".npz"), **drafts, pictures=packed([np.zeros((8, 8, 3), np.uint8)]))
    with pytest.raises(BadRequest, match="not 2 squares"):
        pictures(path)
    np.savez(path.with_suffix(".npz"), **drafts)
    with pytest.raises(BadRequest, match="cannot be read"):
        pictures(path)


TRIANGLE = [[0, 0], [1, 0], [1, 1]]


@pytest.mark.parametrize(
    ("strokes", "drafted", "value", "message"),
    [
        ([{"class": "beard", "polygon": TRIANGLE}], 0, 0, "no class"),
        ([{"class": "hair", "polygon": TRIANGLE[:2]}], 0, 0, "A polygon of seed 0"),
        ([{"class": "hair", "polygon": []}], 0, 0, "A polygon of seed 0"),
        ([{"class": "hair", "polygon": [*TRIANGLE, [0, 1.2]]}], 0, 0, "A polygon of seed 0"),
        ([], 1, 0, "differ in the seeds"),
        ([], 0, 9, "draft of seed 0"),
    ],
)
def test_a_malformed_file_of_corrections_is_refused(
    tmp_path: Path, strokes: list[object], drafted: int, value: int, message: str
) -> None:
    path = tmp_path / "masks.json"
    path.write_text(json.dumps({"generator": "g", "parser": "p", "truncation": 0.8, "faces": {"0": strokes}}))
    np.savez(path.with_suffix(".npz"), seeds=np.array([drafted]), maps=np.full((1, 8, 8), value, np.uint8))
    with pytest.raises(BadRequest, match=message):
        read(path)


def test_a_new_sheet_does_not_overwrite_corrections(tmp_path: Path) -> None:
    path = tmp_path / "masks.json"
    path.write_text("kept")
    with pytest.raises(BadRequest, match="already"):
        main(["sheet", "--parser", "none", "--masks", str(path), "--out", str(tmp_path / "sheet.png")])
    assert path.read_text() == "kept"
