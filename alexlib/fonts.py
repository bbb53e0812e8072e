"""Fonts for names of classes in any script; matplotlib's own font lacks many."""

import functools
import warnings

from matplotlib import font_manager

# Fonts of systems and of packages, the first one with a character draws it.
FONTS = "Noto Sans CJK SC, Noto Sans CJK JP, Source Han Sans SC, WenQuanYi Micro Hei, SimHei"
FONTS += ", Microsoft YaHei, PingFang SC, Yu Gothic, Malgun Gothic, Nirmala UI, Noto Sans Thai"
FONTS += ", Noto Sans Devanagari, Arial Unicode MS, Unifont"

warned = set()  # the characters of warnings so far
# The warning of `drawable` replaces matplotlib's, of which there is one for each character.
warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")


def family() -> list[str]:
    """The fonts of figures: matplotlib's own, and those of FONTS that are installed."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["sans-serif", *(name for name in FONTS.split(", ") if name in installed)]


@functools.cache
def characters() -> frozenset[int]:
    """The characters that the fonts of figures have."""
    wanted = [font_manager.FontProperties(family=[name]) for name in family()]
    paths = [font_manager.findfont(font) for font in wanted]
    return frozenset().union(*(font_manager.get_font(path).get_charmap() for path in paths))


def drawable(names) -> list[str]:
    """Names as texts of figures; a warning if they have characters that are drawn as boxes.

    Bytes that are not UTF-8 are drawn as \\udce9 and the like.
    """
    names = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    missing = {c for name in names for c in name if ord(c) not in characters()} - warned
    if missing:  # Jupyter would show the same warning in each cell
        warned.update(missing)
        text = f"no font has {''.join(sorted(missing)[:9])}: install one, e.g. Noto Sans CJK"
        warnings.warn(f"{text}, to see them in figures", stacklevel=2)
    return [name.replace("$", r"\$") for name in names]  # not a formula
