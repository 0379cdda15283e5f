"""Align & project: the ways in, and what is said when there is no way."""

from __future__ import annotations

import numpy as np
from streamlit.testing.v1 import AppTest

from tests.pages.conftest import ALIGN, EDIT, calm, errors, texts, upload, work
from ui import state
from workbench.editor import EditRequest
from workbench.export import png_bytes
from workbench.face import to_uint8


def test_a_first_visitor_sees_a_sample_face(app):
    calm(app)
    assert work(app).origin == "sample"
    assert len(app.image) == 1
    assert "no real person" in texts(app)


def test_privacy_and_consent_are_said(app):
    said = texts(app)
    assert "sent nowhere" in said
    assert "memory" in said
    assert "agreed" in said
    assert "do not pass them off as real" in said


def test_an_upload_is_projected_and_shown_beside_the_photo(app, photo_bytes):
    calm(upload(app, photo_bytes(), "anna.png"))
    assert work(app).origin == "upload"
    assert work(app).photo.name == "anna.png"
    assert work(app).face.mode == "encoder"
    assert len(app.image) == 2
    assert "Identity" in texts(app)
    assert state.INCOMING not in app.session_state


def test_one_of_several_faces_can_be_chosen(app, photo_bytes):
    calm(upload(app, photo_bytes(200, 100)))
    first = work(app).face.hash
    assert len(work(app).detections) == 2
    calm(app.segmented_control(key="face_number").set_value(1).run())
    assert work(app).chosen == 1
    assert work(app).face.hash != first


def test_a_photo_without_a_face_gets_the_sentence_and_points_by_hand(app, photo_bytes):
    calm(upload(app, photo_bytes(flat=True), "wall.png"))
    assert "No face was found in 'wall.png'" in errors(app)
    assert work(app).face is None
    app.text_input(key="typed_points").input("40 40 70 40 55 55 44 70 66 70").run()
    calm(app.button(key="use_points").click().run())
    assert work(app).face is not None
    assert not app.error


def test_points_that_are_no_face_are_refused_with_a_sentence(app, photo_bytes):
    upload(app, photo_bytes(flat=True))
    app.text_input(key="typed_points").input("40 40 40 40 40 40 40 40 40 40").run()
    calm(app.button(key="use_points").click().run())
    assert len(app.error) == 2
    assert work(app).face is None
    calm(app.text_input(key="typed_points").input("one two").run())
    assert "pairs of numbers" in errors(app)


def test_the_edit_page_says_why_there_is_no_face(app, photo_bytes):
    upload(app, photo_bytes(flat=True), "wall.png")
    calm(app.switch_page(EDIT).run())
    assert "No face was found in 'wall.png'" in errors(app)


def test_a_broken_file_gets_a_sentence_and_leaves_the_face_alone(app):
    before = work(app).face.hash
    calm(upload(app, b"this is no picture", "broken.png"))
    assert "broken.png" in errors(app)
    assert work(app).face.hash == before


def test_an_aligned_picture_is_used_as_it_is(app, photo_bytes):
    app.toggle(key="treat_as_aligned").set_value(True).run()
    calm(upload(app, photo_bytes(64, 64)))
    assert work(app).treated_as_aligned
    assert not work(app).detections
    calm(app.toggle(key="treat_as_aligned").set_value(False).run())
    assert len(work(app).detections) == 1


def test_samples_and_random_faces_come_on_the_table(app):
    app.segmented_control(key="source_kind").set_value("samples").run()
    first = work(app).face.hash
    calm(app.button(key="sample/2").click().run())
    assert work(app).face.hash != first
    app.segmented_control(key="source_kind").set_value("random").run()
    calm(app.button(key="make_random").click().run())
    assert work(app).origin == "random"
    made = work(app).face.hash
    calm(app.button(key="next_random").click().run())
    assert work(app).face.hash != made
    assert app.number_input(key="seed").value == 2


def test_the_camera_works_like_an_upload(app, photo_bytes):
    app.segmented_control(key="source_kind").set_value("camera").run()
    app.camera_input(key="camera").upload("shot.jpg", photo_bytes(form="JPEG"), "image/jpeg")
    calm(app.run())
    assert work(app).origin == "camera"


def test_refining_runs_beside_the_page_and_can_go_back(app, photo_bytes, machine, monkeypatch):
    whole = machine.project
    monkeypatch.setattr(
        machine, "project", lambda aligned, mode="encoder", **kwargs: whole(aligned, mode, **{**kwargs, "steps": 2})
    )
    upload(app, photo_bytes())
    app.button(key="refine").click().run()
    if state.JOB in app.session_state:
        assert app.session_state[state.JOB].wait(60)
        app.run()
    calm(app)
    assert work(app).face.mode == "refined"
    calm(app.button(key="unrefine").click().run())
    assert work(app).face.mode == "encoder"


def test_an_export_brings_its_sliders_back(app, machine):
    face = machine.sample_faces()[0]
    request = EditRequest("sdflow", machine.spec("sdflow").version, {"smiling": 0.5, "young": -0.25})
    upload(app, png_bytes(np.ascontiguousarray(to_uint8(face.image)), request, "starter"), "export.png")
    calm(app)
    assert any("settings are back" in note.value for note in app.info)
    calm(app.switch_page(EDIT).run())
    assert app.slider(key="control/sdflow/smiling").value == 0.5
    assert app.slider(key="control/sdflow/young").value == -0.25
    assert app.slider(key="control/sdflow/male").value == 0.0


def test_an_export_with_settings_of_a_stranger_is_still_opened(app, machine):
    request = EditRequest("other-method", "1", {"x": 1.0})
    pixels = to_uint8(machine.sample_faces()[0].image)
    calm(upload(app, png_bytes(pixels, request, "starter"), "export.png"))
    assert work(app).face is not None
    assert any("left out" in note.value for note in app.info)


def test_forgetting_everything_leaves_nothing_of_the_photo(app, machine, photo_bytes):
    upload(app, photo_bytes())
    kept = len(machine._faces)
    calm(app.sidebar.button(key="wipe").click().run())
    assert work(app).origin == "sample"
    assert state.INCOMING not in app.session_state
    assert len(machine._faces) < kept


def test_leaving_and_coming_back_keeps_the_photo(app, photo_bytes):
    upload(app, photo_bytes())
    kept = work(app).face.hash
    app.switch_page(EDIT).run()
    calm(app.switch_page(ALIGN).run())
    assert work(app).face.hash == kept
    assert len(app.image) == 2


def test_who_came_to_a_pages_own_address_before_anyone_else_gets_there(app: AppTest) -> None:
    # What ``through_router`` leaves behind when it sends a visitor of a server that nobody has used yet to the router.
    app.session_state[state.WANTED] = "pages/models.py"
    app.run()
    assert [title.value for title in app.title] == ["Models"]
    assert state.WANTED not in app.session_state
