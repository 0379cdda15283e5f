"""How to swap: which method, with what each carries from which picture, how strongly, and where it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from ui import style
from workbench.swap_studio import SwapOrder
from workbench.swapping import METHODS, Base

BOTH = "both"


@dataclass(frozen=True)
class Carries:
    """A method's title, and what its results take from either picture in the publication."""

    title: str
    identity: str
    attributes: str


CARRIES = {
    "nitzan": Carries(
        "Nitzan 2020",
        "face shape, skin, hair, glasses, age and gender",
        "pose, expression, opening of mouth and eyes, light, part of the background",
    ),
    "zhou": Carries(
        "Zhou 2023",
        "face shape, eyes, expression and gaze, beard, age and gender",
        "hair, background, clothing, colours and framing",
    ),
}
BASES: dict[Base, str] = {"w": "Both codes", "photo": "Attribute photo"}


def title(method: str) -> str:
    """The name of ``method`` as the page writes it."""
    return CARRIES[method].title


def method(ready: Sequence[str], *, both: bool = False) -> tuple[str, ...]:
    """The choice of the method, with what each takes from which picture; ``both`` offers them side by side."""
    names = [name for name in METHODS if name in ready]
    offered = [*names, BOTH] if both and len(names) > 1 else names
    key = "swap_method_both" if both else "swap_method"
    chosen = st.segmented_control(
        "Method",
        offered,
        format_func=lambda name: "Both" if name == BOTH else title(name),
        default=offered[0],
        required=True,
        key=key,
        persist_state="session",
    )
    made = tuple(names) if chosen == BOTH else (str(chosen),)
    for name in made:
        carries(name, named=len(made) > 1)
    style.small(
        "So the publication shows. With the starter weights, hair, background and expression stay with the attribute "
        "picture in both methods; the readouts say how much of the rest is carried."
    )
    return made


def carries(name: str, *, named: bool = False) -> None:
    """What ``name`` takes from which picture."""
    what = CARRIES[name]
    head = f'<p class="facet-h">{what.title}</p>' if named else ""
    st.html(
        f'<div class="facet-carries">{head}<p><b>From the identity picture</b> {what.identity}.</p>'
        f"<p><b>From the attribute picture</b> {what.attributes}.</p></div>"
    )


def strengths() -> tuple[float, float]:
    """Strength of the identity and of the attributes."""
    made = []
    for label, key, said, help_text in (
        (
            "Identity strength",
            "swap_identity_strength",
            "0 keeps the attribute picture's own, 1 is the whole swap, above it is exaggerated",
            "At 0 the attribute picture keeps its own identity, at 1 nothing of it is left; above 1 what sets the two apart "
            "is exaggerated. Identities are mixed along the sphere. Nitzan's starter network still carries some of the own "
            "person at the other's identity, which it reaches at 0.8, so that 1 goes a little past it.",
        ),
        (
            "Attribute strength",
            "swap_attribute_strength",
            "0 keeps the identity picture's own, 1 takes the attribute picture's",
            "At 1 pose, expression and the like come from the attribute picture, at 0 from the identity picture.",
        ),
    ):
        made.append(
            st.slider(label, 0.0, 1.5, 1.0, 0.05, format="%.2f", key=key, persist_state="session", help=help_text)
        )
        st.html(f'<p class="facet-ends-said">{said}.</p>')
    return float(made[0]), float(made[1])


def base() -> Base:
    """Where the swap starts from, and what that means."""
    chosen = st.segmented_control(
        "Start from",
        list(BASES),
        format_func=BASES.__getitem__,
        default="w",
        required=True,
        key="swap_base",
        persist_state="session",
    )
    if chosen == "photo":
        style.small(
            "The attribute photo's own projection, plus only what the swap changes. Hair, background and the photo's "
            "detail stay; at identity strength 0 it is the photo itself. The identity comes through less."
        )
        return "photo"
    style.small(
        "The two codes alone, through the mapper. The whole square is drawn anew, so hair, background and detail of a "
        "real photo are only approximated; in the whole photo only the face is replaced."
    )
    return "w"


def orders(methods: Sequence[str]) -> list[SwapOrder]:
    """The sliders and the start, drawn, as one order for each of ``methods``."""
    identity, attributes = strengths()
    start = base()
    return [SwapOrder(name, identity, attributes, start) for name in methods]
