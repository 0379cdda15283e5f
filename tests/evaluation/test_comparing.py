"""Matched success, flips, the figure, folders on the command line, and what a metric needs."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cli
from encoders.inception_fid import FIDInception
from evaluation import circumstances, compare, figure, flips, registry
from evaluation.flips import Point
from tests import tiny_family
from tests.iafaces import tiny
from workbench import contest
from workbench.engine import Engine
from workbench.errors import BadRequest, MissingWeights
from workbench.face import to_uint8


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.add_to_family(tiny_family.write_family(tmp_path_factory.mktemp("family")))


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    for seed in range(4):
        Image.fromarray(to_uint8(tiny.picture(seed))).save(folder / f"{seed}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def point(strength: float, success: float, identity: float = 0.5, unintended: float = 0.1) -> Point:
    return Point(strength, 10, success, identity, unintended, 1.0)


def test_a_level_is_interpolated_between_the_strengths_around_it() -> None:
    curve = [point(1.0, 0.8, 0.4, 0.3), point(0.5, 0.4, 0.8, 0.1)]
    found = flips.at_success(curve, 0.6)
    assert found is not None
    assert (found.strength, found.identity, found.unintended) == pytest.approx((0.75, 0.6, 0.2))
    low = flips.at_success(curve, 0.2)
    assert low is not None
    assert (low.strength, low.identity) == pytest.approx((0.25, 0.9))
    assert flips.at_success(curve, 0.9) is None
    fallen = flips.at_success([point(0.5, 0.7), point(1.0, 0.2)], 0.7)
    assert fallen is not None
    assert fallen.strength == pytest.approx(0.5)


def test_the_level_is_the_highest_that_every_method_reaches() -> None:
    strong, weak = [point(1.0, 0.95)], [point(1.0, 0.42)]
    assert compare.level_of({"a": strong, "b": weak}) == 0.4
    assert compare.level_of({"a": strong}) == 0.9
    assert compare.level_of({"a": strong, "b": [point(1.0, 0.0)]}) is None


def test_a_flip_is_away_from_what_the_judge_sees_and_counts_all_other_attributes(manifest: Path) -> None:
    engine = Engine("starter", "cpu", family_file=manifest)
    face = engine.random_face(3)
    column = flips.column_of("Smiling")

    def attributes(images: torch.Tensor) -> torch.Tensor:
        smile = 0.2 if torch.equal(images[0], face.target) else 0.9
        rows = torch.full((len(images), 40), 0.5)
        rows[:, column] = smile
        if smile > 0.5:
            rows[:, (column + 1) % 40] = 0.5 + 0.39
        return rows

    judges = flips.Judges(("toy", attributes), ("toy", lambda images: torch.ones(len(images), 1)))
    seen = flips.look(judges, face.target)
    request = contest.request_for(engine.spec("sdflow"), "Smiling", True, 0.5)
    assert request.values == {"smiling": 0.5}
    found = flips.attempt(engine, judges, 0, face, seen, request, "Smiling", "photo")
    assert found.success
    assert found.unintended == pytest.approx(0.01)
    assert found.identity == pytest.approx(1.0)
    unseen = flips.Judges(judges.attributes, ("toy", lambda images: torch.full((len(images), 1), torch.nan)))
    lost = flips.attempt(engine, unseen, 0, face, flips.look(unseen, face.target), request, "Smiling", "photo")
    assert lost.identity is None
    mean = flips.mean_of(0.5, [found, replace(found, success=False), lost])
    assert (mean.n, mean.not_found, mean.success) == (3, 1, pytest.approx(2 / 3))


def test_a_method_is_asked_only_for_what_it_edits(manifest: Path) -> None:
    engine = Engine("starter", "cpu", family_file=manifest)
    methods, absent = compare.contenders(engine, None, "preview")
    assert set(methods) == {"sdflow", "iafaces"}
    assert "maskfacegan" in absent
    with pytest.raises(BadRequest, match="in common"):
        compare.shared(methods, None)
    with pytest.raises(BadRequest, match="does not edit"):
        contest.request_for(engine.spec("iafaces"), "Smiling", True, 1.0)


def test_compare_on_the_command_line(manifest: Path, faces: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    call = ["evaluate", "compare", "--faces", str(faces), "--methods", "sdflow", "--attributes", "Smiling", "Young"]
    call += ["--strengths", "0.5", "1", "--out", str(out), "--manifest", str(manifest), "--json"]
    assert cli.main(call) == 1  # a broken picture was left out
    report = json.loads(capsys.readouterr().out)
    assert report["faces"] == 4
    assert "broken.png" in report["left_out"][0]
    assert [p["n"] for p in report["curves"]["sdflow"]] == [8, 8]
    assert set(report["by_attribute"]["sdflow"]) == {"Smiling", "Young"}
    assert json.loads((out / "compare.json").read_text())["curves"] == report["curves"]
    assert Image.open(out / "compare.png").size[0] > 1000
    assert Image.open(out / "sheet-Smiling.png").size == (4 * tiny.SIZE, 2 * tiny.SIZE)


def test_sdflow_on_the_command_line(manifest: Path, faces: Path, capsys) -> None:
    call = [
        "evaluate",
        "sdflow",
        "--faces",
        str(faces),
        "--count",
        "3",
        "--strengths",
        "1",
        "--manifest",
        str(manifest),
    ]
    cli.main([*call, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert set(report["attributes"]) == set(tiny_family.ATTRIBUTES)
    assert report["recogniser_is_the_familys"]


def test_folders_on_the_command_line(manifest: Path, faces: Path, tmp_path: Path, capsys) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in sorted(faces.glob("[0-9].png"))[:3]:
        (other / path.name).write_bytes(path.read_bytes())
    call = ["evaluate", "folders", str(faces), str(other), "--manifest", str(manifest), "--json", "--metrics"]
    assert cli.main([*call, "mse", "percept_own", "fid"]) == 1
    shown = capsys.readouterr()
    lines = [json.loads(text) for text in shown.out.splitlines()]
    assert [(b["metric"], b["value"], b["n"]) for b in lines] == [("mse", 0, 3), ("percept_own", 0, 3)]
    assert "fetch" in shown.err
    assert "broken.png" in shown.err
    assert "3: no partner" in shown.err
    assert cli.main(["evaluate", "folders", str(faces), str(tmp_path / "none")]) == 1
    with pytest.raises(BadRequest, match="no metric"):
        circumstances.needed(["beauty"])


def test_pairs_without_a_face_are_counted_and_named() -> None:
    blank = torch.zeros(3, 3, 16, 16)
    moved = np.stack([np.linspace(0, 1, 68), np.sin(np.arange(68))], 1)

    def points(image: torch.Tensor) -> np.ndarray | None:
        return None if image.mean() > 0.5 else moved + float(image.mean())

    second = blank.clone()
    second[1], second[2] = 0.1, 1.0
    context = registry.Context(points=("toy", points))
    found = registry.run("landmarks", blank, second, context, names=["a", "b", "c"])
    span = float(np.hypot(*(moved[45] - moved[36])))
    assert (found.n, found.not_found) == (2, 1)
    assert found.value == pytest.approx(np.hypot(0.1, 0.1) / span / 2, rel=1e-4)
    assert found.left_out == ("c: no face found",)
    assert found.judge == "toy"
    with pytest.raises(BadRequest, match="none"):
        registry.run("yaw", blank, torch.ones_like(blank), context)


def test_lpips_and_fid_are_named_so_only_through_the_published_networks(manifest: Path) -> None:
    engine = Engine("starter", "cpu", family_file=manifest)
    for name in ("lpips", "fid"):
        with pytest.raises(MissingWeights, match="_own"):
            circumstances.context_of(engine, [name])
    distance = registry.Context(lpips=("lpips v0.1 vgg16", lambda a, b: (a - b).abs().mean([1, 2, 3])))
    a, b = torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 8, 8)
    assert registry.run("lpips", a, b, distance).backbone == "lpips v0.1 vgg16"
    vectors = torch.randn(300, 6, generator=torch.Generator().manual_seed(0))
    table = {0.0: vectors, 1.0: vectors + 1}
    features = registry.Context(inception=("toy", lambda x: table[float(x.mean())][: len(x)]))
    assert registry.run("fid", torch.zeros(16, 3, 4, 4), torch.ones(16, 3, 4, 4), features).value == pytest.approx(
        6, rel=1e-3
    )


def test_the_inception_of_fid_has_the_ports_size_and_leaves_the_padding_out() -> None:
    with torch.device("meta"):
        net = FIDInception()
    # 23,834,568 of InceptionV3 without its second head, and eight classes more.
    assert sum(p.numel() for p in net.parameters()) == 23_834_568 + 8 * 2049
    assert not net.Mixed_5b.counted
    assert net.Mixed_7c.pool == "peak"
    block = FIDInception().Mixed_5b.eval()
    unit = block.get_submodule("branch_pool")
    flat = torch.ones(1, 192, 5, 5)
    assert torch.allclose(block(flat)[:, -32:], unit(flat), atol=1e-6)


def test_the_figure_draws_every_curve_in_its_colour() -> None:
    panels = [
        figure.Panel("a", "x", "y", curves={"one": [(0, 1), (0.5, 0.8)], "two": [(0, 1), (0.9, 0.2)]}),
        figure.Panel("b", "", "", bars={"one": 0.06, "two": 30.0}),
    ]
    pixels = figure.draw(panels, "title", "note")
    for colour in figure.PALETTE[:2]:
        wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        assert (np.abs(pixels.astype(int) - wanted).sum(2) == 0).sum() > 500
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    assert figure.ticks(-0.1, 1.0) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
