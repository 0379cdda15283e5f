from __future__ import annotations

import pytest
import torch
from torch import Tensor

from iafaces.editing import blended, brought_along, composed, edit_mask
from iafaces.editor import ComponentsEditor
from iafaces.regions import BOXES
from tests.iafaces import tiny
from workbench.editor import EditRequest
from workbench.errors import BadRequest


def order(**values: float) -> EditRequest:
    return EditRequest("iafaces", "1", values)


def test_residual_leaves_every_pixel_beyond_the_feather_alone() -> None:
    editor, face = tiny.editor(), tiny.face()
    result = editor.edit(face, order(mouth_open=2.0))
    assert result.mask is not None
    beyond = (result.mask == 0).expand_as(result.image)
    assert beyond.float().mean() > 0.5
    assert torch.equal(result.image[beyond], face.image[beyond])
    assert not torch.equal(result.image, face.image)


def test_self_transfer_and_blend_zero_are_identities() -> None:
    editor, face = tiny.editor(), tiny.face()
    same = editor.edit(face, order(borrow_mouth=1.0, borrow_nose=1.0), reference=face.target)
    assert torch.equal(same.image, face.image)
    decoded = editor.edit(face, order(output=1))
    assert torch.equal(decoded.image, editor.reconstruct(face.target).clamp(-1, 1))


def test_borrowing_moves_only_the_chosen_rows() -> None:
    a, b = torch.randn(2, 1, 4, 8)
    mixed = blended(a, b, (0, 1, 0.5, 0))
    assert torch.equal(mixed[:, [0, 3]], a[:, [0, 3]])
    assert torch.equal(mixed[:, 1], b[:, 1])
    assert torch.allclose(mixed[:, 2], (a[:, 2] + b[:, 2]) / 2)


def test_borrowing_needs_a_reference() -> None:
    with pytest.raises(BadRequest, match="reference"):
        tiny.editor().edit(tiny.face(), order(borrow_mouth=1.0))


def test_a_switched_off_component_is_kept() -> None:
    editor, face = tiny.editor(), tiny.face()
    one = editor.edit(face, order(bushy=3.0, edit_r_eye=0))
    change = (one.image - face.image).abs().sum([0, 1])
    assert change[: tiny.SIZE // 2].sum() > 0
    assert torch.equal(editor.edit(face, order(bushy=3.0, edit_l_eye=0, edit_r_eye=0)).image, face.image)
    both = editor.edit(face, order(bushy=3.0))
    assert one.mask is not None
    assert both.mask is not None
    assert both.mask.sum() > one.mask.sum()


def test_difference_is_black_where_nothing_changed() -> None:
    editor, face = tiny.editor(), tiny.face()
    assert torch.equal(editor.edit(face, order(output=2)).image, torch.full_like(face.image, -1))
    assert float(editor.edit(face, order(output=2, mouth_open=3.0)).image.max()) > -1


def test_a_larger_face_is_edited_at_its_own_size() -> None:
    photo = torch.rand(3, 64, 64)
    edited, recon = torch.rand(2, 3, 32, 32)
    out = composed(photo, edited, recon, (3,), "residual")
    assert out.shape == photo.shape
    assert torch.equal(out[:, edit_mask((3,), 64)[0] == 0], photo[:, edit_mask((3,), 64)[0] == 0])
    assert composed(photo, edited, recon, (3,), "decoded").shape == photo.shape


def test_what_a_part_brings_along_is_taken_off_and_what_is_inside_stays() -> None:
    size = 64
    patch = torch.full((3, size, size), 0.4)  # the light that came along with a borrowed part
    mask = edit_mask((3,), size)
    left = mask * (patch - brought_along(patch, (3,)))
    assert float((mask * patch).max()) > 0.39
    assert float(left.max()) < 0.03
    spot = torch.zeros(3, size, size)
    x0, y0, x1, y1 = (round(v * size) for v in BOXES[3])
    middle = (slice(None), slice((y0 + y1) // 2 - 1, (y0 + y1) // 2 + 1), slice((x0 + x1) // 2 - 1, (x0 + x1) // 2 + 1))
    spot[middle] = 0.8
    assert torch.allclose((spot + patch - brought_along(spot + patch, (3,)))[middle], spot[middle], atol=0.1)
    assert float(brought_along(patch, (3,))[:, mask[0] == 0].abs().max()) == 0


def test_fitting_leaves_attributes_alone() -> None:
    editor, face, other = tiny.editor(), tiny.face(0), tiny.face(1)

    def edit(**values: float) -> Tensor:
        return editor.edit(face, order(**values), reference=face.target).image

    # Borrowed from the face itself nothing changes, so that there is nothing to fit either.
    assert torch.allclose(edit(mouth_open=2.0, borrow_mouth=1.0), edit(mouth_open=2.0), atol=1e-6)
    # A hundredth of another mouth is a hundredth of the change, fitted or not.
    whole, little = (
        editor.edit(face, order(mouth_open=2.0, borrow_mouth=blend), reference=other.target).image
        for blend in (1.0, 0.01)
    )
    plain = edit(mouth_open=2.0)
    assert float((little - plain).abs().max()) < 0.1 * float((whole - plain).abs().max())


def test_only_what_is_borrowed_is_levelled() -> None:
    editor, face, other = tiny.editor(), tiny.face(0), tiny.face(1)
    fitted, drawn = (
        editor.edit(face, order(borrow_mouth=1.0, seam=seam), reference=other.target).image for seam in (0, 1)
    )
    assert not torch.equal(fitted, drawn)
    moved = [editor.edit(face, order(mouth_open=2.0, seam=seam)).image for seam in (0, 1)]
    assert torch.equal(*moved)
    decoded = [
        editor.edit(face, order(borrow_mouth=1.0, output=1, seam=seam), reference=other.target).image for seam in (0, 1)
    ]
    assert torch.equal(*decoded)


def test_scores_and_edit_to_target_agree() -> None:
    editor, face = tiny.editor(), tiny.face()
    strength = editor.strength_to(face.target, "mouth_open", 0.5)
    assert editor.scores(face.target)["mouth_open"] + strength == pytest.approx(0.5, abs=1e-4)
    with pytest.raises(BadRequest, match="tail"):
        editor.strength_to(face.target, "tail", 1)


def test_a_face_that_is_only_borrowed_from_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model()
    drawn = []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda code: drawn.append(code) or decode(code))
    editor = ComponentsEditor(model, tiny.directions(), tiny.WEIGHTS)
    face, other = tiny.face(0), tiny.face(1)
    editor.edit(face, order(borrow_mouth=1.0), reference=other.target)
    assert len(drawn) == 2  # the face and its edit
    editor.edit(face, order(borrow_mouth=0.5), reference=other.target)
    editor.scores(other.target)
    assert len(drawn) == 3
