"""The metric registry: traps of the released formulas, what is left out, networks named."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from encoders.compact import AttributeNet
from evaluation import reference, registry
from evaluation.features import Features, kernel_distance, precision_recall
from workbench.errors import BadImage, BadRequest


def pictures(seed: int, count: int = 4, size: int = 32) -> torch.Tensor:
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")


def features() -> Features:
    torch.manual_seed(0)
    return Features("tiny", AttributeNet([4, 8], input_size=16).eval())


def test_the_released_psnr_does_not_see_a_lost_contrast() -> None:
    image = pictures(0)
    assert registry.run("psnr", image, 0.6 * image).value < 25
    assert registry.run("psnr_ref", image, 0.6 * image).value > 100


def test_the_released_psnr_depends_on_the_grouping_and_ours_does_not() -> None:
    image = pictures(1)
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    worse = image + noise * torch.tensor([0.01, 0.02, 0.1, 0.4]).reshape(4, 1, 1, 1)
    together, alone = reference.psnr_ref(image, worse, 4), reference.psnr_ref(image, worse, 1)
    assert abs(float(together - alone)) > 1
    means = [registry.run("psnr", image, worse, batch=n).value for n in (1, 2, 4)]
    assert means == pytest.approx([means[0]] * 3)


def test_mse_irr_counts_the_irrelevant_pixels_only() -> None:
    source = pictures(2, size=64)
    mask = registry.irrelevant(64, "mouth")
    edited = source + 0.1
    context = registry.Context(component="mouth")
    ours, theirs = (registry.run(n, source, edited, context).value for n in ("mse_irr", "mse_irr_ref"))
    assert ours == pytest.approx(0.01, rel=1e-4)
    assert theirs == pytest.approx(ours * float(mask.mean()), rel=1e-4)
    inside = torch.where(mask > 0, source, source + 0.5)
    assert registry.run("mse_irr", source, inside, context).value == 0


def test_ifg_is_negative_when_edits_score_worse_and_ignores_the_batch() -> None:
    source = pictures(3)
    context = registry.Context(score=("mean", lambda x: x.mean().reshape(1, 1) - x.std()))
    worse = source - 0.3
    values = [registry.run("ifg", source, worse, context, batch=n).value for n in (1, 4)]
    assert values[0] == pytest.approx(values[1])
    assert values[0] < 0


def test_the_interval_holds_the_mean_and_narrows() -> None:
    values = np.random.default_rng(0).normal(5, 1, 400)
    low, high = registry.interval(values)
    assert low < values.mean() < high
    few = registry.interval(values[:20])
    assert few[1] - few[0] > 2 * (high - low)


def test_networks_and_files_left_out_are_named(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for index, image in enumerate(pictures(4, 3)):
            pixels = ((image + 1) * 127.5).clamp(0, 255).permute(1, 2, 0).numpy().astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{index}.png")
    (tmp_path / "a" / "broken.png").write_bytes(b"no picture")
    data = io.BytesIO()
    Image.new("RGB", (16, 16)).save(data, "PNG")
    (tmp_path / "b" / "small.png").write_bytes(data.getvalue())
    context = registry.Context(features=features())
    results = registry.run_folders(["mse", "percept_own", "fd_own"], tmp_path / "a", tmp_path / "b", context)
    assert [r.value for r in results] == pytest.approx([0, 0, 0], abs=1e-5)
    line = json.loads(results[1].to_json())
    assert (line["n"], line["resolution"], line["backbone"], line["judge"]) == (3, 32, "tiny", None)
    assert any("broken" in reason for reason in line["left_out"])
    assert any("small" in reason for reason in line["left_out"])
    (tmp_path / "c").mkdir()
    with pytest.raises(BadImage):
        registry.read_folder(tmp_path / "c")
    (tmp_path / "c" / "small.png").write_bytes(data.getvalue())
    with pytest.raises(BadImage, match="16x16 instead of 32x32"):
        registry.run_folders(["mse"], tmp_path / "a", tmp_path / "c", context)
    (tmp_path / "a" / "zsmall.png").write_bytes(data.getvalue())
    (again, *_) = registry.run_folders(["mse"], tmp_path / "a", tmp_path / "b", context)
    assert any("zsmall" in reason for reason in json.loads(again.to_json())["left_out"])


def test_what_is_missing_is_said() -> None:
    image = pictures(5)
    with pytest.raises(BadRequest, match="no metric 'lpips_fake'"):
        registry.run("lpips_fake", image, image)
    with pytest.raises(BadRequest, match="component"):
        registry.run("mse_irr", image, image)
    with pytest.raises(BadRequest, match="pair"):
        registry.run("mse", image, image[:2])


def test_accuracy_and_unintended_change_by_a_judge() -> None:
    def judge(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([(x[:, 0].mean([1, 2]) > 0).float(), x[:, 1].mean([1, 2]).sigmoid()], 1)

    dark, red = torch.full((4, 3, 8, 8), -0.5), torch.full((4, 3, 8, 8), -0.5)
    red[:3, 0] = 0.5
    context = registry.Context(judge=("toy", judge), attribute=0)
    result = registry.run("accuracy", dark, red, context)
    assert (result.value, result.judge) == (0.75, "toy")
    assert registry.run("unintended", dark, red, context).value == 0


def test_set_distances_of_known_sets() -> None:
    a = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    b = torch.randn(200, 8, generator=torch.Generator().manual_seed(1))
    assert abs(float(kernel_distance(a, b))) < 0.1
    assert float(kernel_distance(a, b + 1)) > 1
    assert float(precision_recall(a, a)[0]) == 1
    assert float(precision_recall(a, b + 20)[0]) == 0
    narrow = a[:1] + 0.01 * b
    precision, recall = precision_recall(a, narrow)
    assert precision > 0.9
    assert recall < 0.2
