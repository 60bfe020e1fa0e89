"""Colours, markers and dashes of figures, by backbone: told apart in print and by the colour-blind.

Searched so that any two differ clearly under simulated protanopia, deuteranopia and tritanopia, at a contrast of at
least 3:1 on white. A backbone of the user's own is always ink.
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


FAMILIES = {
    "rssm_tbtt": Style("#0A61B8", "o", "-"),
    "tssm_xl": Style("#A0290B", "s", (0, (6, 2))),
    "s4wm": Style("#00AA61", "^", "-"),
    "mts3": Style("#CD7AAB", "D", (0, (2, 2))),
}
BASELINE = Style("#585858", "", (0, (1, 3)))
YOURS = (Style("#111318", "X", (0, (8, 2, 2, 2))), Style("#E69F00", "*", (0, (8, 2, 2, 2))))


def style(name: str, others: list[str]) -> Style:
    """The style of a row. Names that no family owns take ink, then amber, in the order of ``others``."""
    if name in FAMILIES:
        return FAMILIES[name]
    strangers = [other for other in others if other not in FAMILIES]
    place = strangers.index(name) if name in strangers else 0
    return YOURS[place % len(YOURS)]
