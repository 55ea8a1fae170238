"""The style that all figures share, and `save`.

Figures are made without pyplot, so that there is no window and no global state, and with a style
that no matplotlibrc changes, so that the same numbers give the same bytes.
"""

import io
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from mlp.files import atomic

WIDTH = 8.5  # inches: a README shows figures some 850 pixels wide, so 1 pt is 1.4 pixels there …
DPI = 200  # … and twice as many dots keep them sharp on dense screens
MARGIN, HEADER = 0.15, 0.66  # inches

# Blue and vermilion of Okabe and Ito's palette, which the colour-blind tell apart
BLUE, VERMILION = "#0072B2", "#D55E00"
INK, MUTED, RULE, BLANK, PALE = "#1f2937", "#6b7280", "#d9dde3", "#b4bac4", "#f6f7f9"

STYLE = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib, and so is the same everywhere
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": MUTED,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "figure.dpi": DPI,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "hatch.linewidth": 0.6,
}
styled = style.context(STYLE, after_reset=True)
Style = dict[str, Any]  # drawing options that several calls share


@styled
def save(figure: Figure, path: str | Path) -> None:
    """Write a PNG, atomically; the same figure gives the same bytes.

    256 colours are enough for any figure here and make the file a third as large.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", pil_kwargs={"compress_level": 1})
    picture = Image.open(drawn).convert("RGB")
    with atomic(path) as temporary:
        picture.quantize(256, dither=Image.Dither.NONE).save(temporary, "png", optimize=True)


def titled_figure(height: float, title: str, subtitle: str) -> Figure:
    """A figure `height` inches high with a bold title, a line below it, and the rest for axes."""
    pad = MARGIN / 2
    left = MARGIN / WIDTH
    room = (left / 2, 0, 1 - left, 1 - HEADER / height)
    layout = ConstrainedLayoutEngine(w_pad=pad, h_pad=pad, rect=room)
    figure = Figure(figsize=(WIDTH, height), layout=layout)
    figure.text(left, 1 - 0.28 / height, title, fontsize=13, weight="bold")
    size = min(9, 1080 / len(subtitle))  # 120 characters fit
    figure.text(left, 1 - 0.52 / height, subtitle, color=MUTED, fontsize=size)
    return figure


def readable_on(colour: tuple[float, float, float, float]) -> str:
    """White or ink, whichever is read more easily on a background."""
    red, green, blue, _ = colour
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.45 else "white"


def plain(axes: Axes) -> None:
    """Nothing but what is drawn: no ticks, grid or frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(False)
