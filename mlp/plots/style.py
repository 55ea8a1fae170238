"""The style that all figures share, and `save`.

Figures are made without pyplot, so that there is no window and no global state, and with a style
that no matplotlibrc changes, so that the same numbers give the same bytes.
"""

import functools
import math
import unicodedata
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, findSystemFonts, fontManager, get_font
from matplotlib.ft2font import LoadFlags
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image

from mlp.files import InputError, atomic

WIDTH = 8.5  # inches: a README shows figures some 850 pixels wide, so 1 pt is 1.4 pixels there …
DPI = 200  # … and twice as many dots keep them sharp on dense screens
MARGIN, HEADER = 0.15, 0.66  # inches

# Blue and vermilion of Okabe and Ito's palette, which the colour-blind tell apart
BLUE, VERMILION = "#0072B2", "#D55E00"
INK, MUTED, RULE, BLANK, PALE = "#1f2937", "#6b7280", "#d9dde3", "#b4bac4", "#f6f7f9"

FONT = "DejaVu Sans"  # comes with Matplotlib, and so is the same everywhere
STYLE = {
    "font.family": FONT,
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a dollar in a class's name is a dollar
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
    Characters that DejaVu Sans lacks are taken from an installed font of the Noto Sans family;
    those that it lacks too are boxes, of which a UserWarning tells once.

    Raises InputError if the path's suffix is another format's.
    """
    if Path(path).suffix.lower() not in ("", ".png"):
        raise InputError(f"{path}: figures are written as PNG: name it .png")
    _find_fonts(figure)
    canvas = FigureCanvasAgg(figure)  # savefig would draw twice, and encode what is decoded here
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ ")  # for each character, each time
        _lay_out(figure)
        canvas.draw()  # type: ignore[no-untyped-call]
    drawn = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    picture = Image.fromarray(drawn).convert("RGB")
    with atomic(path) as temporary:
        picture.quantize(256, dither=Image.Dither.NONE).save(temporary, "png", optimize=True)


def _lay_out(figure: Figure) -> None:
    """Place the axes, and round where, because the last bits of what the layout's solver finds
    differ from run to run, and a pixel with them."""
    layout = figure.get_layout_engine()
    if layout and figure.axes:
        layout.execute(figure)
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = axes.get_position(original=True).bounds
        axes.set_position((round(left, 6), round(bottom, 6), round(width, 6), round(height, 6)))


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


def counted(number: int, noun: str) -> str:
    """ "1 neuron", "1,024 neurons"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short_names(classes: Sequence[str], ems: float) -> list[str]:
    """The names of labels 0, 1, 2, … as they are drawn, each one line at most `ems` wide.

    What is too long loses its middle to an ellipsis, because names that start alike may differ at
    their end; those that look alike even so get their label in front. Control characters are drawn
    as �. One em is the font's size.
    """
    names = [_shortened(name, ems) for name in classes]
    times = Counter(names)
    return [
        name if times[name] == 1 else _shortened(f"{label}: {classes[label]}", ems)
        for label, name in enumerate(names)
    ]


def _shortened(text: str, ems: float) -> str:
    line = " ".join(text.split())
    line = "".join("�" if unicodedata.category(c) in ("Cc", "Cs") else c for c in line)
    short, keep = line, min(len(line), math.ceil(4 * ems))  # few characters are narrower than 1/4
    while keep and (len(short) > 4 * ems or sum(map(_advance, short)) > ems):
        keep -= 1
        tail = keep // 3
        short = f"{line[: keep - tail].rstrip()}…{line[len(line) - tail :].lstrip()}"
    if any(unicodedata.bidirectional(c) in ("R", "AL") for c in short):
        return f"\N{LEFT-TO-RIGHT MARK}{short}\N{LEFT-TO-RIGHT MARK}"  # what follows stays behind
    return short


@functools.cache
def _advance(character: str) -> float:
    """The width of a character in ems; 1, as in most scripts concerned, if FONT lacks it."""
    font = get_font(findfont(FontProperties(family=FONT)))
    index = font.get_charmap().get(ord(character))
    if index is None:
        return 1.0
    return font.load_glyph(index, LoadFlags.NO_SCALE).horiAdvance / font.units_per_EM


def _find_fonts(figure: Figure) -> None:
    """Give texts with characters that FONT lacks further fonts, and tell of what no font has."""
    texts: list[Text] = figure.findobj(Text)
    missing = _missing("".join(text.get_text() for text in texts))
    if not missing:
        return
    families = [FONT]
    for path, characters in _further_fonts():
        if found := missing & characters:
            for face in {path, path.replace("Regular", "Bold")}:
                if Path(face).exists():
                    fontManager.addfont(face)
            families.append(get_font(path).family_name)
            missing -= found
    for text in texts:
        if _missing(text.get_text()):
            text.set_fontfamily(families)
    scripts = {unicodedata.name(c, "OTHER").split()[0]: c for c in sorted(missing)}
    if new := {script: c for script, c in scripts.items() if script not in _told}:
        _told.update(new)
        warnings.warn(
            f"no font for {', '.join(f'{script} ({c})' for script, c in new.items())}: drawn as "
            "boxes, until Noto Sans of that script is installed (Debian: fonts-noto-cjk, "
            "fonts-noto-core)",
            stacklevel=4,  # who calls save
        )


_told: set[str] = set()  # scripts


def _missing(text: str) -> set[str]:
    """The characters of a text that FONT does not have in both its weights."""
    return {c for c in text if c not in _own_characters() and not c.isspace()}


@functools.cache
def _own_characters() -> frozenset[str]:
    faces = [FontProperties(family=FONT, weight=weight) for weight in ("normal", "bold")]
    normal, bold = (_characters(findfont(face)) for face in faces)
    return normal & bold


@functools.cache
def _further_fonts() -> list[tuple[str, frozenset[str]]]:
    """The files of installed Noto Sans fonts, regular ones first, and what characters they have.

    Asked of the system, because Matplotlib's own list is as old as its cache.
    """
    paths = [path for path in findSystemFonts() if Path(path).name.startswith("NotoSans")]
    paths.sort(key=lambda path: ("Regular" not in path, Path(path).name, path))
    return [(path, _characters(path)) for path in paths]


def _characters(path: str) -> frozenset[str]:
    return frozenset(map(chr, get_font(path).get_charmap()))


def stout(images: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """Images (…, rows, columns) that can be seen, and a word on what was done to them, or "".

    Of what would be a thin line, more than 12 times as long as it is wide, pixels are repeated.
    """
    rows, columns = images.shape[-2:]
    if (times := math.ceil(rows / (12 * columns))) > 1:
        return images.repeat(times, axis=-1), "widened"
    if (times := math.ceil(columns / (12 * rows))) > 1:
        return images.repeat(times, axis=-2), "heightened"
    return images, ""


def readable_on(colour: tuple[float, float, float, float]) -> str:
    """White or ink, whichever is read more easily on a background."""
    red, green, blue, _ = colour
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.45 else "white"


def plain(axes: Axes) -> None:
    """Nothing but what is drawn: no ticks, grid or frame."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([])
        axis.set_visible(False)  # even without ticks it takes time to be laid out
    axes.spines[:].set_visible(False)
