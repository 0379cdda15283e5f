"""The history of requests."""

from __future__ import annotations

from workbench.editor import EditRequest
from workbench.history import History, describe


def smile(value: float) -> EditRequest:
    return EditRequest("sdflow", "1", {"smiling": value})


def test_undo_and_redo_walk_through_the_requests() -> None:
    history = History("face").push(smile(0.5)).push(smile(1.0))
    assert history.current is not None
    assert history.current.request == smile(1.0)
    back = history.undo()
    assert back.current is not None
    assert back.current.request == smile(0.5)
    assert back.undo().current is None
    assert back.undo().undo() == back.undo()
    assert back.redo() == history
    assert history.redo() == history
    assert (history.can_undo, history.can_redo, back.can_redo) == (True, False, True)


def test_a_new_step_drops_what_was_undone() -> None:
    history = History("face").push(smile(0.5)).push(smile(1.0)).undo().push(smile(-1.0))
    assert [entry.request for entry in history.entries] == [smile(0.5), smile(-1.0)]


def test_the_same_request_again_is_no_step() -> None:
    history = History("face").push(smile(0.5))
    assert history.push(smile(0.5)) is history


def test_reset_keeps_the_entries_for_redo() -> None:
    history = History("face").push(smile(0.5)).push(smile(1.0)).reset()
    assert history.current is None
    assert history.redo().redo().position == 2
    assert history.goto(7).position == 2


def test_a_new_start_forgets_the_entries() -> None:
    history = History("face").push(smile(0.5)).keep_as_new_start("other")
    assert history == History("other")


def test_moves_of_one_drag_are_one_step() -> None:
    requests = [EditRequest("sdflow", "1", {"smiling": value}) for value in (0.1, 0.2, 0.3)]
    history = History("a").push(requests[0])
    for request in requests[1:]:
        history = history.push(request, instead=True)
    assert [entry.request for entry in history.entries] == [requests[2]]
    assert history.undo().current is None
    assert history.undo().push(requests[0], instead=True).position == 1


def test_a_step_says_what_was_asked() -> None:
    assert (
        describe(EditRequest("sdflow", "1", {"smiling": 1.0, "young": -0.5, "male": 0.0}))
        == "smiling +1.00, young -0.50"
    )
    assert describe(EditRequest("sdflow", "1")) == "unchanged"
