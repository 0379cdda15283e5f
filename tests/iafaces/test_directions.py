from __future__ import annotations

import pytest
import torch

import training.directions
from data import container
from iafaces import directions as d
from tests.iafaces import tiny
from tests.training import faces
from training.directions import without
from workbench.errors import BadCheckpoint, BadRequest

DIM = 12
MOUTH = d.Recipe("Smiling", ("mouth",))


def planted(count: int = 900, *, overlap: float = 0.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Embeddings whose mouth row carries label a along one axis, and label b along another that a partly shares."""
    generator = torch.Generator().manual_seed(0)
    nodes = torch.randn(count, 4, DIM, generator=generator) * torch.linspace(0.2, 3, DIM)
    a = (torch.rand(count, generator=generator) < 0.4).float()
    b = torch.where(
        torch.rand(count, generator=generator) < overlap, a, (torch.rand(count, generator=generator) < 0.5).float()
    )
    nodes[:, 3, 2] += 2.0 * a
    nodes[:, 3, 5] += 4.0 * b
    return nodes, a, b, torch.eye(DIM)[2]


def test_the_planted_direction_is_found_with_its_accuracy() -> None:
    nodes, a, _, axis = planted()
    found = d.fit(nodes, a, "smile", MOUTH)
    assert found.accuracy > 0.8
    assert torch.nn.functional.cosine_similarity(found.normal[3], axis, dim=0) > 0.8
    assert found.normal[:3].abs().sum() == 0
    assert found.step[:3].abs().sum() == 0
    assert d.fit(nodes, a, "smile", MOUTH).step.equal(found.step)


def test_a_step_is_one_standard_deviation_and_zero_is_nothing() -> None:
    nodes, a, _, _ = planted()
    found = d.fit(nodes, a, "smile", MOUTH)
    scores = found.score(nodes)
    assert float(scores.std()) == pytest.approx(found.deviation, rel=0.1)
    assert torch.allclose(found.score(found.moved(nodes, 1.0)) - scores, torch.tensor(found.deviation), rtol=1e-3)
    assert found.moved(nodes, 0) is nodes


def test_edit_to_target_arrives_and_stays_in_the_data() -> None:
    nodes, a, _, _ = planted()
    found = d.fit(nodes, a, "smile", MOUTH)
    strength = found.strength_to(nodes, 1.0)
    there = found.score(found.moved(nodes, strength))
    assert torch.allclose(there, torch.tensor(found.center + found.deviation), atol=1e-3)
    far = found.score(found.moved(nodes, found.strength_to(nodes, 50.0)))
    assert torch.allclose(far, torch.tensor(found.high), atol=1e-3)


def test_a_removed_confounder_is_left_alone() -> None:
    nodes, a, b, _ = planted(overlap=0.7)
    other = d.fit(nodes, b, "b", MOUTH)
    plain = d.fit(nodes, a, "a", MOUTH)
    clean = d.fit(nodes, a, "a", MOUTH, confounders={"b": b})

    def drift(direction: d.Direction) -> float:
        return abs(float((other.score(direction.moved(nodes, 1.0)) - other.score(nodes)).mean()) / other.deviation)

    assert drift(plain) > 0.2
    assert drift(clean) < 0.02
    assert clean.removed == ("b",)


def test_too_few_faces_are_refused() -> None:
    nodes, a, _, _ = planted(60)
    with pytest.raises(BadRequest, match="ten"):
        d.fit(nodes, torch.zeros_like(a), "smile", MOUTH)


def test_the_file_comes_back_and_belongs_to_one_network(tmp_path) -> None:
    nodes, a, b, _ = planted()
    labels = torch.stack([a, b], 1)
    recipes = {"smile": MOUTH, "no": d.Recipe("Young", ("mouth",), inverted=True, remove=("smile",))}
    made = d.fit_all(nodes, labels, ["Smiling", "Young"], recipes)
    state, header = d.to_state(made)
    container.save(tmp_path / "d.safetensors", state, {**header, "encoder": "abc"}, half=False)
    state, header = container.load(tmp_path / "d.safetensors")
    back = d.from_state(state, header, "abc")
    assert torch.equal(back["smile"].step, made["smile"].step)
    assert back["no"].removed == ("smile",)
    assert back["no"].strength_to(nodes[:1], 0.0) == made["no"].strength_to(nodes[:1], 0.0)
    with pytest.raises(BadCheckpoint, match="xyz"):
        d.from_state(state, header, "xyz")
    del state["no.step"]
    with pytest.raises(BadCheckpoint, match="incomplete"):
        d.from_state(state, header, "abc")


def test_every_ready_attribute_has_a_label() -> None:
    from encoders.attributes import CELEBA_ATTRIBUTES

    for recipe in d.RECIPES.values():
        assert recipe.label in CELEBA_ATTRIBUTES
        assert d.rows_of(recipe.components)


def test_removals_are_named_in_words() -> None:
    found = without(d.RECIPES, ["beard:male", "beard:young"])
    assert found["beard"].remove == ("male", "young")
    assert found["male"] == d.RECIPES["male"]
    for words in ("beard", "beard:beard", "beard:hat"):
        with pytest.raises(BadRequest, match="removal"):
            without(d.RECIPES, [words])


def test_faces_read_a_batch_at_a_time_give_the_directions_of_faces_kept_in_memory(tmp_path, monkeypatch) -> None:
    faces.write(tmp_path, 300)
    config = tmp_path / "config.toml"
    config.write_text(faces.DATA)
    header = {"kind": "components", "arch": tiny.ARCH, "licence": "none"}
    container.save(tmp_path / "components.safetensors", tiny.model().state_dict(), header)
    monkeypatch.setattr(training.directions, "batch_of", lambda model: 7)
    call = (config, tmp_path / "components.safetensors", tmp_path)
    streamed = training.directions.run(*call, limit=250)
    assert (tmp_path / "directions.safetensors").is_file()
    kept = training.directions.run(*call, tmp_path / "other.safetensors", limit=250, cache=tmp_path / "cache")
    for name, direction in kept.items():
        assert torch.allclose(streamed[name].step, direction.step, rtol=1e-3, atol=1e-5)
        assert streamed[name].accuracy == direction.accuracy
    headers = [container.read_header(tmp_path / f"{n}.safetensors") for n in ("directions", "other")]
    assert headers[0]["source"] == headers[1]["source"]
    assert headers[0]["faces"] == 250
