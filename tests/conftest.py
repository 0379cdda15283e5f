"""Fixtures that several test packages use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_family import write_family


@pytest.fixture(scope="session")
def tiny_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of a family of tiny random networks (32 px); read-only, shared by all tests of a run."""
    return write_family(tmp_path_factory.mktemp("family"))
