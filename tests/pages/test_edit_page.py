"""Semantic edit: sliders, history, views and downloads."""

from __future__ import annotations

import json

import pytest

import ui.steps
from tests.pages.conftest import ALIGN, EDIT, calm, errors, texts, upload, work
from ui import export, state
from ui.viewer import ViewOptions, view
from workbench.editor import EditRequest
from workbench.export import load_code, read_request

SMILING, YOUNG = "control/sdflow/smiling", "control/sdflow/young"


@pytest.fixture
def page(app):
    """The edit page with the sample face."""
    return calm(app.switch_page(EDIT).run())


def values(app):
    entry = work(app).history.current
    return {} if entry is None else dict(entry.request.values)


def test_a_first_visitor_can_move_a_slider_at_once(page, machine):
    face = work(page).face
    calm(page.slider(key=SMILING).set_value(0.6).run())
    assert values(page) == {"smiling": 0.6}
    result = machine.edit(face, work(page).history.current.request)
    assert not (result.image == face.image).all()
    assert "asked" in texts(page)


def test_every_control_of_the_editor_is_on_the_page(page, machine):
    keys = {slider.key for slider in page.slider} | {box.key for box in page.selectbox}
    for control in machine.spec("sdflow").controls:
        if control.name in ("first_layer", "last_layer"):
            assert "range/sdflow/first_layer" in keys
        else:
            assert f"control/sdflow/{control.name}" in keys


def test_undo_redo_and_reset(page):
    page.slider(key=SMILING).set_value(0.6).run()
    page.slider(key=YOUNG).set_value(-0.5).run()
    calm(page.button(key="undo").click().run())
    assert page.slider(key=YOUNG).value == 0
    assert page.slider(key=SMILING).value == 0.6
    calm(page.button(key="redo").click().run())
    assert page.slider(key=YOUNG).value == -0.5
    calm(page.button(key="reset/sdflow/smiling").click().run())
    assert values(page) == {"young": -0.5}
    assert page.slider(key=SMILING).value == 0
    calm(page.button(key="reset_all").click().run())
    assert values(page) == {}
    assert page.slider(key=YOUNG).value == 0
    calm(page.button(key="undo").click().run())
    assert values(page) == {"young": -0.5}


def test_the_history_goes_back_to_any_step(page):
    for value in (0.2, 0.4, 0.6):
        page.slider(key=SMILING).set_value(value).run()
    calm(page.button(key="history/1").click().run())
    assert page.slider(key=SMILING).value == 0.2
    calm(page.button(key="history/0").click().run())
    assert page.slider(key=SMILING).value == 0


def test_quick_moves_of_one_slider_are_one_step(page, monkeypatch):
    monkeypatch.setattr(ui.steps, "ONE_MOVE", 60.0)
    for value in (0.2, 0.4, 0.6):
        calm(page.slider(key=SMILING).set_value(value).run())
    calm(page.slider(key=YOUNG).set_value(0.5).run())
    calm(page.button(key="undo").click().run())
    assert values(page) == {"smiling": 0.6}
    calm(page.button(key="undo").click().run())
    assert page.slider(key=SMILING).value == 0


def test_a_page_switch_keeps_the_sliders(page):
    page.slider(key=SMILING).set_value(0.6).run()
    calm(page.switch_page(ALIGN).run())
    calm(page.switch_page(EDIT).run())
    assert page.slider(key=SMILING).value == 0.6
    assert values(page) == {"smiling": 0.6}


def test_advanced_settings_are_part_of_the_request(page):
    calm(page.selectbox(key="control/sdflow/absolute").select_index(1).run())
    calm(page.slider(key="range/sdflow/first_layer").set_value((2, 5)).run())
    assert values(page) == {"absolute": 1.0, "first_layer": 2.0, "last_layer": 5.0}


def test_strip_and_grid_are_drawn(page):
    page.slider(key=SMILING).set_value(0.6).run()
    page.session_state["views"] = "Strip"
    calm(page.run())
    assert texts(page).count("facet-cell") >= 7
    page.session_state["views"] = "Grid"
    calm(page.run())
    assert texts(page).count("<figure") == 25


def test_keep_as_new_start_makes_the_edit_the_zero(page):
    before = work(page).face.hash
    page.slider(key=SMILING).set_value(0.6).run()
    calm(page.button(key="keep").click().run())
    assert work(page).face.hash != before
    assert values(page) == {}
    assert page.slider(key=SMILING).value == 0


def test_views_of_a_whole_photo_keep_its_size_and_a_neutral_edit_its_bits(app, machine, photo_bytes):
    upload(app, photo_bytes(150, 130))
    calm(app.switch_page(EDIT).run())
    now = work(app)
    neutral = machine.edit(now.face, machine.spec("sdflow").neutral())
    shown = view(machine, now, now.face, neutral, ViewOptions(whole=True))
    assert shown.after.shape == (130, 150, 3)
    assert (shown.after == now.photo.pixels).all()
    calm(app.segmented_control(key="view_whole").set_value("Whole photo").run())
    calm(app.toggle(key="view_detail").set_value(False).run())
    calm(app.toggle(key="view_colour").set_value(True).run())


def test_the_download_is_the_whole_photo_with_its_request(app, machine, photo_bytes):
    upload(app, photo_bytes(150, 130))
    now = work(app)
    request = EditRequest("sdflow", machine.spec("sdflow").version, {"smiling": 0.5})
    result = machine.edit(now.face, request)
    data = export.picture(machine, now, now.face, result, ViewOptions(whole=True))
    assert read_request(data) == request
    assert int.from_bytes(data[16:20], "big") == 150
    saved = load_code(export.code(now.face, result), machine.generator_id)
    assert (saved.code == result.code).all()


def test_a_settings_file_moves_the_sliders(page, machine):
    request = EditRequest("sdflow", machine.spec("sdflow").version, {"young": 0.25})
    page.file_uploader(key="settings_upload").upload("s.json", request.to_json().encode(), "application/json")
    calm(page.run())
    assert page.slider(key=YOUNG).value == 0.25


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("s.json", b"{}"),
        ("s.json", json.dumps({"editor": "sdflow", "version": "1", "values": {"young": 9}}).encode()),
        ("photo.png", b"no picture"),
    ],
)
def test_a_bad_settings_file_gets_a_sentence(page, name, data):
    page.file_uploader(key="settings_upload").upload(name, data, "application/octet-stream")
    calm(page.run())
    assert errors(page)
    assert values(page) == {}


def test_an_empty_layer_range_of_a_file_is_a_sentence_and_no_traceback(page, machine):
    request = EditRequest("sdflow", "1", {"first_layer": 5, "last_layer": 2, "smiling": 0.4})
    page.file_uploader(key="settings_upload").upload("s.json", request.to_json().encode(), "application/json")
    calm(page.run())
    assert "layer" in errors(page)


def test_wiping_during_an_edit_starts_over(page):
    page.slider(key=SMILING).set_value(0.6).run()
    calm(page.sidebar.button(key="wipe").click().run())
    assert page.session_state[state.WORKSPACE].history.entries == ()
