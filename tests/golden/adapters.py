"""Which golden items the project has a network for: {item name: adapter}."""

from __future__ import annotations

from tests.golden import (
    adapters_align,
    adapters_encoders,
    adapters_iafaces,
    adapters_idswap,
    adapters_maskfacegan,
    adapters_sdflow,
    adapters_stylegan2,
)
from tests.golden.items import Adapter

ADAPTERS: dict[str, Adapter] = {
    **adapters_stylegan2.ADAPTERS,
    **adapters_encoders.ADAPTERS,
    **adapters_sdflow.ADAPTERS,
    **adapters_iafaces.ADAPTERS,
    **adapters_align.ADAPTERS,
    **adapters_idswap.ADAPTERS,
    **adapters_maskfacegan.ADAPTERS,
}
