"""Identity & attributes: sources, agreement, methods, strengths, sheet, frames, de-identification, missing networks."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

import ui.engine
from tests.pages.conftest import ALIGN, EDIT, calm, errors, find_played, texts, work
from tests.workbench.test_swapping import write_swapping
from ui import consent, state, swap_state, swap_tasks
from ui.studio import studio
from workbench.conceal import Concealed
from workbench.engine import Engine
from workbench.export import png_bytes, read_provenance
from workbench.face import to_uint8
from workbench.swap_frames import Frames, Journey, gif
from workbench.swap_sheet import SwapSheet
from workbench.swap_studio import Studio, SwapOrder

PAGE = "pages/identity_and_attributes.py"


@pytest.fixture(scope="module")
def swapping_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_swapping(tmp_path_factory.mktemp("swapping"))


@pytest.fixture
def machine(swapping_manifest: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The tiny family with both swapping methods."""
    made = Engine("starter", "cpu", family_file=swapping_manifest)
    monkeypatch.setattr(made, "detect", find_played)
    monkeypatch.setattr(ui.engine, "build", lambda family, device, precision="float32": made)
    return made


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[tuple[SwapOrder, str, str]]:
    """Every swap that the page asks for: the order and the hashes of both faces."""
    asked = []
    whole = Studio.swap

    def noted(self, order, identity, attributes):
        asked.append((order, identity.hash, attributes.hash))
        return whole(self, order, identity, attributes)

    monkeypatch.setattr(Studio, "swap", noted)
    return asked


@pytest.fixture
def page(app: AppTest) -> AppTest:
    return calm(app.switch_page(PAGE).run())


def desk(app: AppTest) -> swap_state.Desk:
    return app.session_state[swap_state.DESK]


def bring(app: AppTest, slot: str, data: bytes, name: str = "photo.png") -> AppTest:
    """Upload into a slot."""
    app.segmented_control(key=f"swap_kind/{slot}").set_value("photo").run()
    box = next(box for box in app.file_uploader if box.key and box.key.startswith(f"swap_upload/{slot}/"))
    box.upload(name, data, "image/png")
    return app.run()


def made(app: AppTest, name: str):
    """What a step beside the script came to, the page being drawn again."""
    job = app.session_state[swap_tasks.PREFIX + name]
    assert job.wait(60)
    calm(app.run())
    return job.result()


def tab(app: AppTest, name: str) -> AppTest:
    app.session_state["swap_tabs"] = name
    return calm(app.run())


def results(app: AppTest) -> int:
    """Outlined pictures on the page."""
    return texts(app).count("facet-cell on")


def test_a_first_visitor_sees_a_swap_of_two_samples_at_once(page, orders, machine):
    assert results(page) == 1
    assert "To identity" in texts(page)
    assert texts(page).count('<tr class="') == 40
    assert not page.checkbox
    calm(page.run())
    samples = [face.hash for face in machine.sample_faces()]
    assert orders[-1] == (SwapOrder("nitzan"), samples[0], samples[1])


def test_what_each_method_carries_is_said_beside_the_choice(page):
    said = texts(page)
    assert "From the identity picture</b> face shape, skin, hair" in said
    calm(page.segmented_control(key="swap_method_both").set_value("zhou").run())
    said = texts(page)
    assert "From the attribute picture</b> hair, background, clothing" in said
    assert "skin, hair" not in said


def test_methods_strengths_and_start_are_part_of_the_order(page, orders):
    page.segmented_control(key="swap_method_both").set_value("zhou").run()
    page.slider(key="swap_identity_strength").set_value(0.5).run()
    page.slider(key="swap_attribute_strength").set_value(0.25).run()
    calm(page.segmented_control(key="swap_base").set_value("photo").run())
    assert orders[-1][0] == SwapOrder("zhou", 0.5, 0.25, "photo")
    assert "own projection" in texts(page)
    calm(page.segmented_control(key="swap_method_both").set_value("both").run())
    assert {order.method for order, *_ in orders[-2:]} == {"nitzan", "zhou"}
    assert results(page) == 2


def test_a_slider_move_reruns_only_this_and_encodes_nothing_again(page, machine, monkeypatch):
    method = studio(machine).swapping.method("nitzan")

    def never(image):
        raise AssertionError("encoded again")

    monkeypatch.setattr(method, "encode_attr", never)
    calm(page.slider(key="swap_identity_strength").set_value(0.5).run())
    assert results(page) == 1


def test_nothing_is_made_of_an_upload_before_the_line_is_ticked(page, photo_bytes, orders):
    orders.clear()
    calm(bring(page, "identity", photo_bytes(), "anna.png"))
    asked = [who for _, who, _ in orders]
    own = desk(page).sources["identity"]
    assert own.origin == "upload"
    assert own.photo.name == "anna.png"
    assert own.face.hash not in asked
    assert results(page) == 0
    assert "Nothing is made" in " ".join(note.value for note in page.info)
    calm(page.checkbox(key="consent/swap").check().run())
    assert results(page) == 1
    assert orders[-1][1] == own.face.hash


def test_another_photo_is_another_question(page, photo_bytes):
    bring(page, "identity", photo_bytes(seed=1))
    calm(page.checkbox(key="consent/swap").check().run())
    assert results(page) == 1
    calm(bring(page, "attributes", photo_bytes(seed=2)))
    assert not page.checkbox(key="consent/swap").value
    assert results(page) == 0
    page.checkbox(key="consent/swap").check().run()
    calm(page.checkbox(key="consent/swap").uncheck().run())
    assert results(page) == 0


def test_the_current_face_needs_agreement_when_it_is_a_photo(app, photo_bytes, machine):
    app.file_uploader(key="upload").upload("me.png", photo_bytes(), "image/png")
    app.run()
    calm(app.switch_page(PAGE).run())
    app.segmented_control(key="swap_kind/attributes").set_value("current").run()
    calm(app.button(key="swap_current/attributes").click().run())
    assert desk(app).sources["attributes"].face.hash == work(app).face.hash
    assert results(app) == 0
    calm(app.checkbox(key="consent/swap").check().run())
    assert results(app) == 1


def test_the_current_face_comes_as_it_is_edited(app, machine):
    app.switch_page(EDIT).run()
    app.slider(key="control/sdflow/smiling").set_value(0.6).run()
    edited = machine.edit(work(app).face, work(app).history.current.request)
    app.switch_page(PAGE).run()
    app.segmented_control(key="swap_kind/identity").set_value("current").run()
    calm(app.button(key="swap_current/identity").click().run())
    assert (desk(app).sources["identity"].face.latent.code == edited.code).all()
    assert results(app) == 1


def test_samples_random_faces_and_exchange(page, machine, orders):
    calm(page.button(key="swap_sample/attributes/2").click().run())
    assert orders[-1][2] == machine.sample_faces()[2].hash
    page.segmented_control(key="swap_kind/identity").set_value("random").run()
    calm(page.button(key="swap_random/identity").click().run())
    assert desk(page).sources["identity"].origin == "random"
    before = orders[-1]
    assert before[1] == machine.random_face(1).hash
    calm(page.button(key="swap_next/identity").click().run())
    assert orders[-1][1] == machine.random_face(2).hash
    calm(page.button(key="swap_exchange").click().run())
    assert orders[-1][2] == machine.random_face(2).hash
    assert not page.checkbox


def test_one_of_several_faces_can_be_chosen(page, photo_bytes):
    calm(bring(page, "attributes", photo_bytes(200, 100)))
    first = desk(page).sources["attributes"].face.hash
    calm(page.segmented_control(key="swap_face/attributes").set_value(1).run())
    assert desk(page).sources["attributes"].chosen == 1
    assert desk(page).sources["attributes"].face.hash != first


def test_a_bad_upload_gets_a_sentence_and_leaves_the_slot_alone(page, photo_bytes):
    before = desk(page).sources["identity"]
    calm(bring(page, "identity", b"this is no picture", "broken.png"))
    assert "broken.png" in errors(page)
    assert desk(page).sources["identity"] is before
    assert results(page) == 1
    calm(bring(page, "identity", photo_bytes(flat=True), "wall.png"))
    assert "No face was found in 'wall.png'" in errors(page)
    assert results(page) == 0
    calm(page.toggle(key="swap_aligned/identity").set_value(True).run())
    assert "square" in errors(page) or desk(page).sources["identity"].treated_as_aligned


def test_a_swap_that_comes_back_is_said_to_be_one(page, machine):
    pixels = to_uint8(machine.sample_faces()[0].image)
    calm(bring(page, "identity", png_bytes(pixels, SwapOrder("zhou").request, "starter"), "swap.png"))
    assert any("not the person's" in note.value for note in page.info)


def test_a_page_switch_keeps_pictures_agreement_and_sliders(page, photo_bytes):
    bring(page, "identity", photo_bytes())
    page.checkbox(key="consent/swap").check().run()
    page.slider(key="swap_identity_strength").set_value(0.5).run()
    own = desk(page).sources["identity"].face.hash
    page.switch_page(ALIGN).run()
    calm(page.switch_page(PAGE).run())
    assert desk(page).sources["identity"].face.hash == own
    assert page.slider(key="swap_identity_strength").value == 0.5
    assert page.checkbox(key="consent/swap").value
    assert results(page) == 1


def test_the_whole_photo_is_shown_and_saved_with_mark_and_request(page, photo_bytes, machine):
    bring(page, "attributes", photo_bytes(150, 130))
    page.checkbox(key="consent/swap").check().run()
    calm(page.segmented_control(key="swap_view").set_value("Whole photo").run())
    assert "Whole photo, 150 × 130 pixels" in texts(page)
    made, order = studio(machine), SwapOrder("nitzan")
    who, what = desk(page).sources["identity"].face, desk(page).sources["attributes"].face
    result = made.swap(order, who, what)
    pixels = made.pixels(order, what, result, crop=False)
    assert pixels.shape == (130, 150, 3)
    changed = (pixels != what.aligned.photo.pixels).any(2)
    assert changed.any()
    assert not changed.all()
    data = made.png(pixels, order.request, order.method)
    found = read_provenance(data)
    assert found is not None
    assert found["editor"] == "swap-nitzan"
    assert b"compositeWithTrainedAlgorithmicMedia" in data
    assert Image.open(io.BytesIO(data)).size == (150, 130)
    assert made.pixels(order, what, result, crop=True).shape == (32, 32, 3)


def test_start_from_the_photo_at_strength_zero_is_the_photo(page, photo_bytes, machine):
    bring(page, "attributes", photo_bytes(150, 130))
    what = desk(page).sources["attributes"].face
    order = SwapOrder("zhou", 0.0, 1.0, "photo")
    made = studio(machine)
    result = made.swap(order, desk(page).sources["identity"].face, what)
    assert (made.pixels(order, what, result, crop=False) == what.aligned.photo.pixels).all()


def test_a_swap_goes_on_to_semantic_edit(page, photo_bytes, machine, orders):
    bring(page, "attributes", photo_bytes(150, 130))
    page.checkbox(key="consent/swap").check().run()
    order = orders[-1][0]
    own = desk(page).sources["attributes"]
    result = studio(machine).swap(order, desk(page).sources["identity"].face, own.face)
    calm(page.button(key="swap_edit/nitzan").click().run())
    now = work(page)
    assert (now.face.latent.code == result.code).all()
    assert now.origin == "kept"
    whole = studio(machine).pixels(order, own.face, result, crop=False)
    assert (now.photo.pixels == whole).all()
    assert now.history.entries == ()
    calm(page.switch_page(EDIT).run())
    assert page.slider(key="control/sdflow/smiling").value == 0
    calm(page.slider(key="control/sdflow/smiling").set_value(0.6).run())


def test_a_sample_under_a_real_identity_is_no_sample_any_more(page, photo_bytes):
    bring(page, "identity", photo_bytes())
    page.checkbox(key="consent/swap").check().run()
    calm(page.button(key="swap_edit/nitzan").click().run())
    assert work(page).origin == "kept"
    assert not work(page).whole_photo
    assert "no real person" not in texts(page)


def test_a_sheet_of_samples_encodes_each_once(page, machine, monkeypatch):
    tab(page, "Sheet")
    page.button(key="side_few/identities").click().run()
    calm(page.button(key="side_few/attributes").click().run())
    counts = {"encoded": 0, "rendered": 0}
    method = studio(machine).swapping.method("nitzan")
    encode, synth = method.encode, method.synth

    def encoded(image):
        counts["encoded"] += len(image)
        return encode(image)

    def rendered(codes):
        counts["rendered"] += len(codes)
        return synth(codes)

    studio(machine).forget()
    monkeypatch.setattr(method, "encode", encoded)
    monkeypatch.setattr(method, "synth", rendered)
    page.button(key="sheet_make").click().run()
    sheet = made(page, "sheet")
    assert isinstance(sheet, SwapSheet)
    assert (sheet.identities, sheet.attributes) == (3, 3)
    assert sheet.pixels.shape == (128, 128, 3)
    faces = machine.sample_faces()
    cell = studio(machine).swap(SwapOrder("nitzan"), faces[1], faces[0])
    assert (sheet.pixels[32:64, 64:96] == to_uint8(cell.image)).all()
    assert (sheet.pixels[32:64, :32] == to_uint8(faces[0].image)).all()
    # Three samples serve on both sides.
    assert counts == {"encoded": 3, "rendered": 9}, "the swap asked for above was kept, too"
    assert 'class="facet-wide"' in texts(page)
    data = studio(machine).png(sheet.pixels, SwapOrder("nitzan").request, "nitzan")
    assert read_provenance(data)["editor"] == "swap-nitzan"


def test_uploads_make_a_sheet_and_a_broken_one_costs_no_other(page, photo_bytes):
    tab(page, "Sheet")
    files = [("a.png", photo_bytes(seed=1)), ("bad.png", b"none"), ("b.png", photo_bytes(seed=2))]
    box = page.file_uploader(key="side_upload/identities/0")
    for name, data in files:
        box.upload(name, data, "image/png")
    calm(page.run())
    assert [one.photo.name for one in desk(page).sides["identities"]] == ["a.png", "b.png"]
    assert "bad.png" in errors(page)
    assert "sheet_make" not in {button.key for button in page.button}
    calm(page.checkbox(key="consent/sheet").check().run())
    page.button(key="sheet_make").click().run()
    assert made(page, "sheet").identities == 2
    calm(page.button(key="side_remove/identities/0").click().run())
    assert [one.photo.name for one in desk(page).sides["identities"]] == ["b.png"]
    assert 'class="facet-wide"' not in texts(page)
    calm(page.button(key="side_clear/identities").click().run())
    assert any("at least one face" in note.value for note in page.info)


def test_large_photos_of_a_sheet_are_kept_small(page, photo_bytes):
    tab(page, "Sheet")
    page.file_uploader(key="side_upload/attributes/0").upload("large.png", photo_bytes(2600, 1300), "image/png")
    calm(page.run())
    (one,) = desk(page).sides["attributes"]
    assert one.photo.size == (2048, 1024)


def test_frames_between_two_identities_and_a_gif(page, machine):
    tab(page, "Interpolate")
    frames = made(page, "frames")
    assert isinstance(frames, Frames)
    assert len(frames.faces) == 9
    sources = desk(page).sources
    first = studio(machine).swap(SwapOrder("nitzan"), sources["identity"].face, sources["attributes"].face)
    assert (frames.faces[0] == to_uint8(first.image)).all()
    last = studio(machine).swap(SwapOrder("nitzan"), sources["end"].face, sources["attributes"].face)
    assert np.abs(frames.faces[-1].astype(int) - to_uint8(last.image)).max() <= 1
    data = gif(frames.faces, 0.1, studio(machine).provenance(Journey("nitzan", "identity").request, "nitzan"))
    assert Image.open(io.BytesIO(data)).n_frames == 9
    assert read_provenance(data)["editor"] == "interpolate-nitzan"
    calm(page.slider(key="swap_frame").set_value(5).run())
    assert "Frame 5 of 9" in texts(page)
    page.toggle(key="swap_space").set_value(True).run()
    straight = made(page, "frames")
    assert (straight.faces[0] == frames.faces[0]).all()
    assert not (straight.faces[4] == frames.faces[4]).all()
    page.slider(key="swap_frames").set_value(4).run()
    assert len(made(page, "frames").faces) == 4
    calm(page.segmented_control(key="swap_moves").set_value("attributes").run())
    assert len(made(page, "frames").faces) == 4
    assert "frames_gif" in {button.key for button in page.get("download_button")}


def test_frames_go_into_the_one_attribute_photo(page, photo_bytes):
    tab(page, "Interpolate")
    bring(page, "attributes", photo_bytes(150, 130))
    assert results(page) == 0
    page.checkbox(key="consent/frames").check().run()
    calm(page.toggle(key="swap_frames_whole").set_value(True).run())
    frames = made(page, "frames")
    assert {one.shape for one in frames.photos} == {(130, 150, 3)}


def test_a_person_keeps_one_donor_until_the_key_changes(page, photo_bytes, machine):
    tab(page, "De-identify")
    page.slider(key="conceal_threshold").set_value(0.8).run()
    bring(page, "person", photo_bytes(seed=4))
    calm(page.checkbox(key="consent/conceal").check().run())
    first = made(page, "conceal")
    assert isinstance(first, Concealed)
    assert "Verification" in texts(page)
    assert "flatters" in texts(page)
    seed = desk(page).people[-1].seed
    bring(page, "person", photo_bytes(seed=4, form="JPEG"), "again.jpg")
    calm(page.checkbox(key="consent/conceal").check().run())
    made(page, "conceal")
    assert desk(page).people[-1].seed == seed
    key = desk(page).key
    calm(page.button(key="person_key").click().run())
    assert desk(page).key != key
    assert desk(page).people[-1].seed != seed
    request = first.request.to_json()
    assert "deidentify-nitzan" in request
    assert str(seed) not in request


@pytest.mark.parametrize("mode", ["rotate", "k-same"])
def test_other_ways_to_deidentify(page, mode, machine):
    tab(page, "De-identify")
    page.segmented_control(key="conceal_mode").set_value(mode).run()
    found = made(page, "conceal")
    face = desk(page).sources["person"].face
    assert not (found.result.image == found.own.image).all()
    assert found.own.image.shape == face.target.shape
    if mode == "rotate":
        page.slider(key="conceal_degrees").set_value(0).run()
        same = made(page, "conceal")
        assert np.abs((same.result.image - same.own.image).numpy()).max() < 1e-3
        assert same.after == pytest.approx(same.before, abs=1e-2)


def test_no_donor_unlike_enough_is_a_sentence(page):
    tab(page, "De-identify")
    page.session_state["conceal_threshold"] = 0.0
    page.run()
    job = page.session_state[swap_tasks.PREFIX + "conceal"]
    assert job.wait(60)
    calm(page.run())
    assert job.failed is None or "raise the threshold" in errors(page)


def test_a_second_photo_is_verified_against(page, photo_bytes):
    tab(page, "De-identify")
    page.segmented_control(key="conceal_mode").set_value("rotate").run()
    page.file_uploader(key="swap_upload/second/0").upload("two.png", photo_bytes(seed=7), "image/png")
    calm(page.run())
    assert "Verification" not in texts(page)
    calm(page.checkbox(key="consent/conceal").check().run())
    assert made(page, "conceal").second_after is not None
    assert "With the other photo" in texts(page)
    calm(page.button(key="swap_empty/second").click().run())
    assert made(page, "conceal").second_after is None


def test_forgetting_everything_leaves_nothing_of_the_swaps(page, photo_bytes, machine):
    bring(page, "identity", photo_bytes())
    page.checkbox(key="consent/swap").check().run()
    tab(page, "De-identify")
    page.segmented_control(key="conceal_mode").set_value("rotate").run()
    made(page, "conceal")
    before = desk(page)
    own = ("nitzan", before.sources["identity"].face.aligned.hash)
    kept = studio(machine)
    assert kept.swapping._codes.peek(own) is not None
    swaps = len(kept._results)
    calm(page.sidebar.button(key="wipe").click().run())
    assert swap_tasks.PREFIX + "conceal" not in page.session_state
    assert kept.swapping._codes.peek(own) is None
    # The page stands open and shows a first visitor's swap of two samples.
    assert len(kept._results) == 1 < swaps
    calm(page.switch_page(PAGE).run())
    after = desk(page)
    assert after.key != before.key
    assert consent.AGREED not in page.session_state
    assert not after.people
    assert all(one.origin == "sample" for one in after.sources.values())


def test_a_family_without_the_networks_gets_a_sentence(app, tiny_manifest, monkeypatch):
    plain = Engine("starter", "cpu", family_file=tiny_manifest)
    monkeypatch.setattr(ui.engine, "build", lambda family, device, precision="float32": plain)
    calm(app.switch_page(PAGE).run())
    assert "cannot swap identities" in errors(app)
    assert not app.slider
    assert not app.segmented_control


def test_one_method_without_files_leaves_the_other(app, tmp_path, monkeypatch):
    manifest = write_swapping(tmp_path)
    (tmp_path / "tiny" / "zhou_mapper.safetensors").unlink()
    half = Engine("starter", "cpu", family_file=manifest)
    monkeypatch.setattr(ui.engine, "build", lambda family, device, precision="float32": half)
    calm(app.switch_page(PAGE).run())
    assert any("zhou" in warning.value for warning in app.warning)
    assert app.segmented_control(key="swap_method_both").options == ["Nitzan 2020"]
    assert results(app) == 1


def test_another_family_makes_the_faces_anew(page, photo_bytes, tmp_path, monkeypatch):
    bring(page, "identity", photo_bytes())
    other = Engine("starter", "cpu", family_file=write_swapping(tmp_path, seed=1))
    assert other.generator_id != desk(page).sources["attributes"].face.latent.generator
    monkeypatch.setattr(other, "detect", find_played)
    monkeypatch.setattr(ui.engine, "build", lambda family, device, precision="float32": other)
    del page.session_state[state.WORKSPACE]
    calm(page.run())
    sources = desk(page).sources
    assert sources["identity"].origin == "upload"
    assert {one.face.latent.generator for one in sources.values()} == {other.generator_id}
    calm(page.checkbox(key="consent/swap").check().run())
    assert results(page) == 1
