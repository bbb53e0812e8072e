"""Fonts for names of classes in any script; matplotlib's own font lacks many."""

import warnings

from matplotlib import font_manager

# Fonts of systems and of packages, the first one with a character draws it.
FONTS = "Noto Sans CJK SC, Noto Sans CJK JP, Source Han Sans SC, WenQuanYi Micro Hei, SimHei"
FONTS += ", Microsoft YaHei, PingFang SC, Yu Gothic, Malgun Gothic, Nirmala UI, Noto Sans Thai"
FONTS += ", Noto Sans Devanagari, Arial Unicode MS, Unifont"

INSTALLED = {font.name for font in font_manager.fontManager.ttflist}
FAMILY = ["sans-serif", *(name for name in FONTS.split(", ") if name in INSTALLED)]

# A character that no font has is drawn as a box; there would be a warning for each in each cell.
warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")


def drawable(names) -> list[str]:
    """Names as texts of figures, not as formulas; bytes that are not UTF-8 become \\udce9 etc."""
    names = (name.encode("utf-8", "backslashreplace").decode() for name in names)
    return [name.replace("$", r"\$") for name in names]
