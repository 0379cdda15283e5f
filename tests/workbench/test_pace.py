"""What a step costs is measured, remembered, and said in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.pace import Paces, default_file, spoken


def test_measurements_are_averaged_and_outlive_the_program(tmp_path: Path) -> None:
    file = tmp_path / "a" / "pace.json"
    paces = Paces(file)
    assert paces.get("x") is None
    paces.put("x", 0.2)
    paces.put("x", 0.4)
    paces.put("x", 0.0)
    assert paces.get("x") == pytest.approx(0.3)
    assert Paces(file).get("x") == pytest.approx(0.3)


@pytest.mark.parametrize("text", ["", "[1]", '{"x": "y"}', '{"x": -1}'])
def test_a_strange_file_costs_only_the_memory(tmp_path: Path, text: str) -> None:
    file = tmp_path / "pace.json"
    file.write_text(text)
    paces = Paces(file)
    assert paces.get("x") is None
    paces.put("x", 1.0)
    assert Paces(file).get("x") == 1.0


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    paces = Paces(tmp_path / "file" / "pace.json")
    paces.put("x", 1.0)
    assert paces.get("x") == 1.0


def test_the_file_lies_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_file() == tmp_path / "facet" / "pace.json"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 second"), (12.4, "12 seconds"), (170, "3 minutes"), (5400, "1 h 30 min")]
)
def test_times_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert spoken(seconds) == words
