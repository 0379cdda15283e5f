"""Every golden item of seed 0 that the project has a network for, through the checker itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden.adapters import ADAPTERS
from tests.golden.check import check_item
from tests.golden.items import Item, read_items

DATA = Path(__file__).parent / "data"
ITEMS = {item.name: item for item in read_items(DATA)}


def test_every_item_has_its_adapter():
    assert set(ADAPTERS) == set(ITEMS)


@pytest.mark.parametrize("item", [ITEMS[name] for name in ADAPTERS], ids=lambda item: item.name)
def test_item_agrees_with_the_reference(item: Item):
    results = check_item(item, DATA, 0)
    assert results
    bad = [f"{result.output}: {result.text()}" for result in results if not result.ok]
    assert not bad, "; ".join(bad)
