"""How long each stage runs and what each term weighs. ``PAPER`` has the numbers of the release (config.yml, trainer.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Start = Literal["mean", "projection"]


@dataclass(frozen=True)
class Weights:
    """Weights of the loss terms; pictures count in [0, 1].

    The first six are the release's. ``global_mse``: masked MSE beside the perceptual term of a global edit. ``features``: the
    perceptual term where it is measured by our own attribute network, whose distances have another scale than LPIPS.
    ``region``: perceptual distance to the photo inside the edited part, so that a mouth stays this person's mouth.
    ``delta``: squared distance of the code from where the edit began, in units of W's spread. ``others``: attributes that were
    not asked for stay as the guide read them. ``tint``: the edited part keeps its colours, unless the edit is about colour.
    """

    mse: float = 2.0
    lpips: float = 0.03
    classifier: float = 0.005
    shape: float = 0.5
    size: float = 1.0
    noise: float = 1.0
    global_mse: float = 0.0
    features: float = 0.03
    region: float = 0.0
    delta: float = 0.0
    others: float = 0.0
    tint: float = 0.0


@dataclass(frozen=True)
class Preset:
    """One way to run the optimisation.

    ``reconstruction``/``edit``: steps of the two halves of the latent stage (``from_projection`` shortens the first when it
    starts from a projected code); ``noise``: steps of the noise stage. ``rate``: Adam's learning rate of the code, times W's spread if
    ``relative``; ``ramp``: shares of a stage over which it rises and falls. ``dynamic``: steps of the edit with dynamic
    masking; ``look_every``: parser passes are that many steps apart. ``whole``: the reconstruction stage fits the whole
    face and not the skin alone. ``coarse``: share of the reconstruction done at half the size. ``drawn_noise``: zeros, then
    drawn noise maps, as the release has it; otherwise the generator's own. ``difference``: the edit is added to the
    photo as a difference of two renderings; otherwise the rendering replaces the photo. ``skin``: the blend holds the skin.
    ``hardened``: the blend mask is a decided region with a feather; otherwise the parser's probability. ``patience``: the edit
    ends early once the guide is this near the target; 0 never. ``views``: the guide sees the picture, its mirror image if 2, and
    as many shaken copies as there are more. ``whitened``: the code moves along W's principal axes in units of its spread
    there; ``rows``: how far the rows of W+ part from each other in the step in which all of them move by 1. ``composed``: the
    guide judges the edit in the photo as it will be seen and not the rendering. ``weights``: for local edits; ``everywhere``:
    for global ones.
    """

    name: str
    start: Start
    reconstruction: int
    from_projection: int
    edit: int
    edit_global: int
    noise: int
    rate: float
    rate_noise: float = 0.1
    relative: bool = False
    ramp: tuple[float, float] = (0.0, 0.0)
    dynamic: int = 200
    look_every: int = 1
    whole: bool = False
    coarse: float = 0.0
    drawn_noise: bool = True
    difference: bool = False
    skin: bool = True
    hardened: bool = False
    patience: float = 0.0
    views: int = 1
    whitened: bool = False
    rows: float = 1.0
    composed: bool = False
    weights: Weights = Weights()
    everywhere: Weights = Weights()


PAPER = Preset(
    "paper", start="mean", reconstruction=500, from_projection=200, edit=500, edit_global=700, noise=501, rate=1e-3
)
_OURS = Weights(
    classifier=0.03, region=0.02, delta=0.1, others=0.02, tint=10.0, features=0.05, global_mse=1.0
)  # fmt: skip
_OURS_GLOBAL = Weights(classifier=0.03, delta=0.1, others=0.02, tint=10.0, features=0.03, global_mse=0.2)
FAST = Preset(
    "fast", start="projection", reconstruction=150, from_projection=130, edit=45, edit_global=60, noise=0, rate=0.08,
    relative=True, ramp=(0.05, 0.25), dynamic=40, look_every=10, whole=True, coarse=0.0, drawn_noise=False,
    difference=True, skin=False, hardened=True, patience=0.02, views=3, whitened=True, rows=0.1, composed=True,
    weights=_OURS, everywhere=_OURS_GLOBAL,
)  # fmt: skip
PREVIEW = Preset(
    "preview", start="projection", reconstruction=20, from_projection=8, edit=24, edit_global=24, noise=0, rate=0.08,
    relative=True, ramp=(0.05, 0.25), dynamic=16, look_every=8, whole=True, coarse=1.0, drawn_noise=False,
    difference=True, skin=False, hardened=True, patience=0.04, views=2, whitened=True, rows=0.1, composed=True,
    weights=_OURS, everywhere=_OURS_GLOBAL,
)  # fmt: skip

PRESETS: Mapping[str, Preset] = {"preview": PREVIEW, "fast": FAST, "paper": PAPER}
