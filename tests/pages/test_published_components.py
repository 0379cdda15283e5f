"""Pages with a published network, whose family edits photos as they are: borrowing, keeping, what is said without directions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from iafaces.editing import edit_mask
from tests import tiny_family
from tests.iafaces import published
from tests.iafaces.published import CAM
from tests.pages.conftest import ALIGN, calm, texts, upload, work
from ui import borrowing, components, state
from workbench.engine import Engine

PAGE = "pages/components.py"


@pytest.fixture(scope="module")
def tiny_manifest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tiny family with a published file in place of a network of ours."""
    manifest = tiny_family.write_family(tmp_path_factory.mktemp("family"))
    lines = f"""
[starter.files.{CAM.kind}]
file = "{CAM.file}"
format = "torch"
[starter.files.directions]
file = "directions.safetensors"
optional = true
"""
    manifest.write_text(manifest.read_text().replace('title = "Tiny"', "face_size = 256") + lines)
    with pytest.MonkeyPatch.context() as patch:
        published.shrink(patch)
        published.write(manifest.parent / "tiny" / CAM.file, CAM)
        yield manifest


def test_parts_are_borrowed_with_the_published_network(app: AppTest, machine: Engine) -> None:
    page = calm(app.switch_page(PAGE).run())
    assert "no attribute directions yet" in texts(page)
    assert not [s for s in page.slider if s.key and s.key.startswith("control/")]
    page.segmented_control(key=components.MODE).set_value("borrow")
    calm(page.run())
    pills(page).set_value(["mouth"])
    calm(page.run())
    calm(page.toggle(key="switch/seam").set_value(False).run())  # as published: the change as it is drawn
    found, face = work(page).history.current, work(page).face
    assert found is not None
    assert face is not None
    assert dict(found.request.values) == {"borrow_mouth": 1.0, "seam": 1.0}
    image = machine.edit(face, found.request).image
    other = machine.references.find(found.request.reference)
    pair = face.target[None], other[None]
    edited, recon = (published.transferred(CAM, *pair, [3], blend) for blend in (1.0, 0.0))
    wanted = (face.image + edit_mask([3], 256) * (edited - recon)[0]).clamp(-1, 1)
    torch.testing.assert_close(image, wanted, atol=2e-4, rtol=0)
    calm(page.button(key="keep").click().run())
    kept = page.session_state[state.WORKSPACE].face
    assert not torch.equal(kept.target, face.target)
    assert torch.equal(kept.target, kept.image)


def test_a_photo_is_taken_as_it_is(app: AppTest, photo_bytes: Callable[..., bytes]) -> None:
    page = calm(upload(calm(app.switch_page(ALIGN).run()), photo_bytes()))
    face = work(page).face
    assert face is not None
    assert torch.equal(face.image, face.target)
    assert face.image.shape == (3, 256, 256)
    assert "nothing is projected" in texts(page)
    assert "refine" not in {button.key for button in page.button}
    for other in (
        "pages/semantic_edit.py",
        "pages/masked_edit.py",
        "pages/identity_and_attributes.py",
        "pages/compare_methods.py",
        PAGE,
    ):
        calm(page.switch_page(other).run())
    borrow = page.segmented_control(key=components.MODE).set_value("borrow")
    calm(borrow.run())
    pills(page).set_value(["l_eye", "nose"])
    calm(page.run())
    assert "no pixel" in texts(page)


def pills(page: AppTest) -> Any:
    return page.pills(key=borrowing.PILLS) if hasattr(page, "pills") else page.button_group(key=borrowing.PILLS)
    calm(page.toggle(key="keep_detail").set_value(False).run())
    shown = " ".join(one.value for one in page.caption) + texts(page)
    assert "The face, 256 × 256 pixels" in shown
    assert "generator's own" not in shown
