"""Colours, markers and dashes of figures, by backbone: told apart in print and by the colour-blind.

The colours of the four main backbones were searched so that any two differ clearly under simulated protanopia,
deuteranopia and tritanopia, at a contrast of at least 3:1 on white; the others lean on marker and dashes as well. A
backbone of the user's own is always ink.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Style:
    color: str
    marker: str
    dashes: Any

    def line(self) -> dict[str, Any]:
        """Arguments for ``matplotlib``'s ``plot``."""
        return {"color": self.color, "linestyle": self.dashes}


BLUE, RED, GREEN, PINK, OLIVE, PURPLE, TEAL = (
    "#0A61B8",
    "#A0290B",
    "#00AA61",
    "#CD7AAB",
    "#6B7A00",
    "#6A3D9A",
    "#00707C",
)
# Variants share the colour of what they vary.
FAMILIES = {
    "rssm_tbtt": Style(BLUE, "o", "-"),
    "tssm_xl": Style(RED, "s", (0, (6, 2))),
    "tssm_xl_256": Style(RED, "p", (0, (3, 1))),
    "tssm_xl_512": Style(RED, "h", (0, (1, 1))),
    "s4wm": Style(GREEN, "^", "-"),
    "s4wm_no_mlp": Style(GREEN, ">", (0, (6, 2))),
    "s4wm_full_posterior": Style(GREEN, "<", (0, (2, 2))),
    "s4d": Style(GREEN, "v", (0, (6, 2, 1, 2))),
    "mts3": Style(PINK, "D", (0, (2, 2))),
    "mts3_published": Style(PINK, "d", "-"),
    "s5wm": Style(OLIVE, "P", "-"),
    "gated_delta": Style(PURPLE, "8", (0, (6, 2))),
    "hybrid": Style(TEAL, "H", (0, (4, 1, 1, 1))),
}
CROWD = 6
"""More backbones than this in one figure: less is drawn of each."""
BASELINE = Style("#585858", "", (0, (1, 3)))
YOURS = (Style("#111318", "X", (0, (8, 2, 2, 2))), Style("#E69F00", "*", (0, (8, 2, 2, 2))))


def style(name: str, others: list[str]) -> Style:
    """The style of a row. Names that no family owns take ink, then amber, in the order of ``others``."""
    if name in FAMILIES:
        return FAMILIES[name]
    strangers = [other for other in others if other not in FAMILIES]
    place = strangers.index(name) if name in strangers else 0
    return YOURS[place % len(YOURS)]
