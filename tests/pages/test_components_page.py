"""Components: parts, borrowing with consent, outputs, going on in another method, forgetting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests import tiny_family
from tests.iafaces import tiny
from tests.pages.conftest import EDIT, calm, errors, texts, upload, work
from ui import borrowing, component_view, components, consent, export, reference, state
from ui.viewer import ViewOptions
from workbench.editor import EditRequest, EditResult
from workbench.engine import Engine
from workbench.errors import BadRequest
from workbench.export import read_request
from workbench.face import Face

PAGE = "pages/components.py"
OPEN, BUSHY, BUSHY_LEFT = (f"control/iafaces/{name}" for name in ("mouth_open", "bushy", "bushy@l_eye"))


@pytest.fixture(scope="module")
def tiny_manifest(tmp_path_factory):
    """The tiny family, with a component network."""
    return tiny.add_to_family(tiny_family.write_family(tmp_path_factory.mktemp("family")))


@pytest.fixture
def page(app):
    return calm(app.switch_page(PAGE).run())


def request(app) -> EditRequest:
    entry = work(app).history.current
    assert entry is not None
    return entry.request


def face_of(app) -> Face:
    found = work(app).face
    assert found is not None
    return found


def borrow(page, *names):
    page.segmented_control(key=components.MODE).set_value("borrow")
    calm(page.run())
    pills(page, borrowing.PILLS).set_value(list(names))
    return calm(page.run())


def pills(page, key):
    return page.pills(key=key) if hasattr(page, "pills") else page.button_group(key=key)


def test_a_first_visitor_sees_the_mouth_and_can_move_it_at_once(page, machine):
    face = face_of(page)
    assert {s.key for s in page.slider if s.key.startswith("control/")} == {OPEN}
    calm(page.slider(key=OPEN).set_value(2.0).run())
    assert dict(request(page).values) == {"mouth_open": 2.0}
    result = machine.edit(face, request(page))
    beyond = (result.mask == 0).expand_as(result.image)
    assert torch.equal(result.image[beyond], face.image[beyond])
    assert not torch.equal(result.image, face.image)
    assert "no pixel" in texts(page)


def test_one_eye_has_its_own_slider_and_leaves_the_other_alone(page, machine):
    pills(page, components.PART).set_value("l_eye")
    calm(page.run())
    assert {s.key for s in page.slider if s.key.startswith("control/")} == {BUSHY_LEFT}
    calm(page.slider(key=BUSHY_LEFT).set_value(3.0).run())
    face, order = face_of(page), request(page)
    result = machine.edit(face, order)
    change = (result.image - face.image).abs().sum([0, 1])
    assert change[: tiny.SIZE // 2 - 1].sum() > 0
    assert change[tiny.SIZE // 2 + 2 :].sum() == 0
    values = machine.spec("iafaces").validate(order)
    touched = [n for n in components.COMPONENTS if components.touched(machine.spec("iafaces"), values, n)]
    assert touched == ["l_eye"]


def test_the_whole_face_has_every_attribute_and_a_click_chooses_a_part(page):
    components_keys = {OPEN, BUSHY}
    pills(page, components.PART).set_value(components.WHOLE)
    calm(page.run())
    assert {s.key for s in page.slider if s.key.startswith("control/")} == components_keys
    page.session_state[components.PART] = "nose"
    calm(page.run())
    assert not [s for s in page.slider if s.key.startswith("control/")]


def test_borrowing_a_part_of_a_sample_blending_it_and_giving_it_back(page, machine):
    face = face_of(page)
    borrow(page, "mouth")
    assert dict(request(page).values) == {"borrow_mouth": 1.0}
    assert request(page).reference == "sample:2"
    whole = machine.edit(face, request(page)).image
    assert not torch.equal(whole, face.image)
    calm(page.slider(key="control/iafaces/borrow_mouth").set_value(0.5).run())
    assert request(page).reference == "sample:2"
    half = machine.edit(face, request(page)).image
    assert (half - face.image).abs().sum() < (whole - face.image).abs().sum()
    calm(page.button(key="reference_sample/2").click().run())
    assert request(page).reference == "sample:3"
    assert not torch.equal(machine.edit(face, request(page)).image, half)
    pills(page, borrowing.PILLS).set_value([])
    calm(page.run())
    assert not request(page).values
    assert request(page).reference == ""
    for _ in range(2):
        calm(page.button(key="undo").click().run())
    assert request(page).reference == "sample:2"


def test_an_uploaded_reference_waits_for_consent_and_wiping_takes_everything_back(page, machine, photo_bytes):
    page.segmented_control(key=components.MODE).set_value("borrow")
    calm(page.run())
    page.segmented_control(key="reference_kind").set_value("photo")
    calm(page.run())
    page.file_uploader(key="reference_upload").upload("friend.png", photo_bytes(seed=4), "image/png")
    calm(page.run())
    assert consent.WAIT in texts(page)
    assert pills(page, borrowing.PILLS).disabled
    calm(page.checkbox(key="consent/reference").check().run())
    name = page.session_state[reference.REFERENCE].name
    pills(page, borrowing.PILLS).set_value(["nose", "l_eye"])
    calm(page.run())
    assert name.startswith("photo:")
    assert request(page).reference == name
    borrowed = request(page)
    machine.edit(face_of(page), borrowed)
    calm(page.checkbox(key="consent/reference").uncheck().run())
    assert consent.WAIT in " ".join(e.value for e in page.info)
    calm(page.sidebar.button(key="wipe").click().run())
    assert reference.REFERENCE not in page.session_state
    with pytest.raises(BadRequest, match="no longer in memory"):
        machine.references.find(name)
    assert consent.AGREED not in page.session_state


def test_a_reference_without_a_face_is_a_sentence_and_the_old_one_stays(page, photo_bytes):
    page.segmented_control(key=components.MODE).set_value("borrow")
    calm(page.run())
    page.segmented_control(key="reference_kind").set_value("photo")
    calm(page.run())
    page.file_uploader(key="reference_upload").upload("wall.png", photo_bytes(flat=True), "image/png")
    calm(page.run())
    assert "wall.png" in errors(page)
    assert page.session_state[reference.REFERENCE].name == "sample:2"


def test_outputs_are_steps_and_the_kept_face_is_never_a_difference_picture(page, machine):
    calm(page.slider(key=OPEN).set_value(2.0).run())
    face = face_of(page)
    plain = component_view.plain_picture(machine, face, request(page))
    calm(page.segmented_control(key="components_output").set_value(2).run())
    assert request(page).values["output"] == 2.0
    calm(page.button(key="keep").click().run())
    kept = face_of(page)
    assert (kept.aligned.image == plain).all()
    assert not work(page).history.entries


def test_a_result_goes_on_into_sdflow_and_back(page, machine):
    calm(page.slider(key=OPEN).set_value(3.0).run())
    face, order = face_of(page), request(page)
    calm(page.switch_page(EDIT).run())
    assert page.slider(key="control/sdflow/smiling").value == 0
    assert page.button(key="keep").disabled
    calm(page.button(key="handover_keep").click().run())
    kept = face_of(page)
    edited = component_view.plain_picture(machine, face, order)
    assert (kept.aligned.image == edited).all()
    assert not torch.equal(kept.latent.code, face.latent.code)
    calm(page.slider(key="control/sdflow/smiling").set_value(0.6).run())
    calm(page.switch_page(PAGE).run())
    assert "SDFlow" in " ".join(e.value for e in page.info)
    calm(page.button(key="handover_keep").click().run())
    assert page.slider(key=OPEN).value == 0
    calm(page.slider(key=OPEN).set_value(-1.0).run())


def test_an_unchanged_face_keeps_its_code_up_to_the_rounding_of_its_pixels(app, machine, photo_bytes):
    upload(app, photo_bytes(150, 130))
    face = face_of(app)
    shifted = replace(face, latent=replace(face.latent, code=face.latent.code + 1))
    same = EditResult(face.image, None, None, machine.spec("iafaces").neutral())
    assert torch.allclose(machine.keep(shifted, same).latent.code, shifted.latent.code, atol=0.01)


def test_whole_photos_and_downloads(app, machine, photo_bytes):
    upload(app, photo_bytes(150, 130))
    calm(app.switch_page(PAGE).run())
    calm(app.slider(key=OPEN).set_value(2.0).run())
    calm(app.segmented_control(key="view_whole").set_value("Whole photo").run())
    now = work(app)
    result = machine.edit(face_of(app), request(app))
    data = export.picture(machine, now, face_of(app), result, ViewOptions(whole=True))
    assert read_request(data) == request(app)
    assert "download_code" not in [b.key for b in app.get("download_button")]
    calm(app.segmented_control(key="components_output").set_value(1).run())


def test_settings_that_borrow_from_a_photo_elsewhere_are_refused_with_a_sentence(page, machine):
    order = EditRequest("iafaces", "1", {"borrow_nose": 1.0}, 0, "photo:0123456789abcdef")
    page.file_uploader(key="settings_upload").upload("s.json", order.to_json().encode(), "application/json")
    calm(page.run())
    assert "reference" in errors(page)
    assert not work(page).history.entries
    there = EditRequest("iafaces", "1", {"borrow_nose": 1.0}, 0, "sample:3")
    page.file_uploader(key="settings_upload").upload("t.json", there.to_json().encode(), "application/json")
    calm(page.run())
    assert request(page) == there


def test_a_family_without_the_network_says_so(app, machine, monkeypatch, tmp_path: Path):
    bare = Engine("starter", "cpu", family_file=tiny_family.write_family(tmp_path))
    monkeypatch.setattr("ui.engine.build", lambda *args: bare)
    del app.session_state[state.WORKSPACE]
    calm(app.switch_page(PAGE).run())
    assert "no component network" in errors(app)


def test_a_slider_move_decodes_once(page, machine, monkeypatch):
    calm(page.slider(key=OPEN).set_value(1.0).run())
    net = machine.store.module("components")
    counts = {"encode": 0, "decode": 0}
    for name in counts:
        inner = getattr(net, name)

        def counted(x, inner=inner, name=name):
            counts[name] += 1
            return inner(x)

        monkeypatch.setattr(net, name, counted)
    calm(page.slider(key=OPEN).set_value(1.5).run())
    assert counts == {"encode": 0, "decode": 1}
