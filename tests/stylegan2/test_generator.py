"""Mapping, synthesis, truncation, mixing, noise, features and the doors of the generator."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch

from stylegan2.compiled import compiled_synthesis
from stylegan2.generator import Generator
from tests.stylegan2.small import apart, codes, generator

KEYS = Path(__file__).parents[1] / "golden" / "data" / "keys"


@pytest.mark.parametrize("size", [64, 256, 1024])
def test_keys_and_shapes_are_the_published_ones(size):
    with torch.device("meta"):
        state = Generator(size).state_dict()
    published = json.loads((KEYS / f"stylegan2_generator_{size}.json").read_text())
    assert {name: list(value.shape) for name, value in state.items()} == shapes(published)


def shapes(published) -> dict[str, list[int]]:
    entries = published.get("keys", published)
    return {name: list(entry["shape"] if isinstance(entry, dict) else entry) for name, entry in entries.items()}


@torch.no_grad()
def test_fast_and_reference_form_agree_without_gradients():
    made = generator()
    w = codes(made)
    fast, reference = made.synthesis(w), made.set_form("reference").synthesis(w)
    assert apart(fast, reference) < 1e-5


def test_fast_and_reference_form_agree_in_gradients():
    made = generator(16).requires_grad_(True)
    w = codes(made).requires_grad_()
    weight = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    wanted = [w, *made.conv1.parameters(), *made.convs.parameters(), *made.to_rgbs.parameters()]
    both = []
    for form in ("fast", "reference"):
        image = made.set_form(form).synthesis(w)
        both.append(torch.autograd.grad((image * weight).sum(), wanted))
    for ours, theirs in zip(*both, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


@torch.no_grad()
def test_wide_layers_take_every_short_cut():
    # At 64 px with few channels the up-convolutions meet Winograd's form, with 96 channels the plain ones as well.
    made = generator(64, {4: 8, 8: 8, 16: 96, 32: 96, 64: 8})
    w = codes(made)
    fast, prepared = made.synthesis(w), made.prepare().synthesis(w)
    reference = made.set_form("reference").synthesis(w)
    assert apart(fast, reference) < 1e-5
    assert apart(prepared, reference) < 1e-5


@torch.no_grad()
def test_alone_and_in_a_batch():
    made = generator()
    w = codes(made, 3)
    together = made.synthesis(w)
    for i in range(3):
        assert apart(made.synthesis(w[i : i + 1]), together[i : i + 1]) < 1e-5


@torch.no_grad()
def test_preparation_is_dropped_when_weights_change():
    made = generator().prepare()
    w = codes(made, 1)
    other = copy.deepcopy(made)
    for value in other.parameters():
        value.mul_(1.1)
    made.load_state_dict(other.state_dict())
    assert apart(made.synthesis(w), made.set_form("reference").synthesis(w)) < 1e-5
    assert apart(other.synthesis(w), made.synthesis(w)) < 1e-5


@torch.no_grad()
def test_a_kernel_from_a_file_that_cannot_be_separated_is_used_as_it_is():
    made = generator(16)
    state = made.state_dict()
    for name in state:
        if name.endswith("kernel"):
            state[name] = torch.rand(4, 4, generator=torch.Generator().manual_seed(len(name)))
    made.load_state_dict(state)
    w = codes(made)
    fast, reference = made.synthesis(w), made.set_form("reference").synthesis(w)
    assert apart(fast, reference) < 1e-5
    assert apart(fast, generator(16).synthesis(w)) > 1e-3


def test_truncation_pulls_chosen_rows_towards_the_centre():
    made = generator()
    w, centre = codes(made), torch.ones(16)
    pulled = made.codes(w, latent=True, truncation=0.25, center=centre, truncate_rows=range(2, 4))
    torch.testing.assert_close(pulled[:, 2:4], 1 + 0.25 * (w[:, 2:4] - 1))
    assert torch.equal(pulled[:, :2], w[:, :2])
    assert torch.equal(pulled[:, 4:], w[:, 4:])
    whole = made.codes(w, latent=True, truncation=0.0, center=centre)
    torch.testing.assert_close(whole, torch.ones_like(w))


def test_truncation_towards_rows_of_a_code():
    made = generator()
    w, centre = codes(made), torch.randn(made.n_latent, 16)
    pulled = made.codes(w, latent=True, truncation=0.0, center=centre)
    torch.testing.assert_close(pulled, centre.expand(2, -1, -1))


def test_truncation_without_a_centre_is_refused():
    made = generator()
    with pytest.raises(ValueError, match="latent_avg"):
        made.codes(codes(made), latent=True, truncation=0.5)


def test_mixing_takes_the_second_style_from_the_row_on():
    made = generator()
    one, two = torch.zeros(2, 16), torch.ones(2, 16)
    rows = made.codes([one, two], latent=True, mix_at=3)
    assert rows[:, :3].abs().max() == 0
    assert (rows[:, 3:] == 1).all()


@torch.no_grad()
def test_z_and_its_w_give_one_picture():
    made = generator()
    z = torch.randn(2, 16, generator=torch.Generator().manual_seed(1))
    assert torch.equal(made(z), made(made.map(z), latent=True))
    torch.testing.assert_close(made.map(z), made.map(5 * z), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_noise_registered_seeded_drawn_and_given():
    made = generator()
    w = codes(made)
    registered = made.synthesis(w)
    assert torch.equal(registered, made.synthesis(w, made.noise_maps(None, 2)))
    assert torch.equal(made.synthesis(w, 7), made.synthesis(w, 7))
    assert apart(made.synthesis(w, 7), made.synthesis(w, 8)) > 1e-3
    assert apart(made.synthesis(w, 7), registered) > 1e-3
    drawn = made.synthesis(w[:1].expand(2, -1, -1), torch.Generator().manual_seed(1))
    assert apart(drawn[:1], drawn[1:]) > 1e-3


def test_a_wrong_number_of_noise_maps_is_refused():
    made = generator()
    with pytest.raises(ValueError, match="noise maps"):
        made.synthesis(codes(made), [torch.zeros(1, 1, 4, 4)])


@pytest.mark.parametrize("shape", [(2, 3, 16), (2, 16), (2, 8, 15)])
def test_codes_of_the_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError, match="codes must be"):
        generator().synthesis(torch.zeros(shape))


@pytest.mark.parametrize("size", [4, 48, 100])
def test_sizes_other_than_powers_of_two_are_refused(size):
    with pytest.raises(ValueError, match="power of two"):
        Generator(size)


@torch.no_grad()
def test_features_come_with_the_same_picture():
    made = generator()
    w = codes(made)
    result = made.synthesis_features(w, (4, 16))
    assert isinstance(result, tuple)
    image, kept = result
    assert torch.equal(image, made.synthesis(w))
    assert {side: tuple(f.shape) for side, f in kept.items()} == {4: (2, 12, 4, 4), 16: (2, 8, 16, 16)}


@torch.no_grad()
def test_bfloat16_keeps_the_picture_in_float32():
    made = generator()
    w = codes(made)
    image = made.set_precision(torch.bfloat16).synthesis(w)
    assert image.dtype == torch.float32
    exact = made.set_precision(torch.float32).synthesis(w)
    assert 0 < (image - exact).norm() / exact.norm() < 0.05


def test_nothing_in_a_generator_is_float64():
    # MPS has no float64.
    made = generator()
    assert {t.dtype for t in (*made.parameters(), *made.buffers())} == {torch.float32}
    with torch.inference_mode():
        assert made.synthesis(codes(made)).dtype == torch.float32


def test_mean_code_is_a_mean_of_mapped_codes():
    made = generator()
    one = made.mean_latent(64, torch.Generator().manual_seed(0))
    z = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(one, made.map(z).mean(0))


@torch.no_grad()
def test_compiled_synthesis_draws_the_same_picture():
    made = generator(8)
    w = codes(made, 1)
    assert apart(compiled_synthesis(made, backend="eager")(w), made.synthesis(w)) < 1e-5


@torch.no_grad()
def test_without_a_compiler_it_warns_and_renders():
    made = generator(8)
    w = codes(made, 1)
    with pytest.warns(UserWarning, match="rendering without it"):
        render = compiled_synthesis(made, backend="there is no such compiler")
    assert torch.equal(render(w), made.synthesis(w))


@torch.no_grad()
def test_synthesis_stops_at_a_level_of_the_skip_network():
    made = generator()
    w = codes(made)
    image = made.synthesis(w, until=16)
    assert isinstance(image, torch.Tensor)
    assert image.shape == (2, 3, 16, 16)
    other = w.clone()
    other[:, 6:] += 1
    # Rows after the level's RGB layer (number 5) have no part in it.
    assert torch.equal(image, made.synthesis(other, until=16))
