"""Fonts for class names in any script; matplotlib's own font lacks many characters."""

import warnings

from matplotlib import font_manager

# Fonts of systems and of packages; a character is drawn with the first font that has it.
FONTS = "Noto Sans CJK SC, Noto Sans CJK JP, Source Han Sans SC, WenQuanYi Micro Hei, SimHei"
FONTS += ", Microsoft YaHei, PingFang SC, Yu Gothic, Malgun Gothic, Nirmala UI, Noto Sans Thai"
FONTS += ", Noto Sans Devanagari, Arial Unicode MS, Unifont"

INSTALLED = {font.name for font in font_manager.fontManager.ttflist}
OWN = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
FAMILY = ["sans-serif", *(name for name in FONTS.split(", ") if name in INSTALLED)]

# The warning of `drawable` replaces matplotlib's warnings, one for each character.
warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")


def drawable(names) -> list[str]:
    """Names as plain text for figures, not formulas; bytes that are not UTF-8 become \\udce9 etc.

    Warns if matplotlib's own font is the only one and lacks characters: it draws boxes for them.
    """
    names = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    if len(FAMILY) == 1 and (lacking := {*map(ord, "".join(names))} - {*OWN.get_charmap()}):
        text = f"no font has {''.join(map(chr, sorted(lacking)[:9]))}: install Noto Sans CJK"
        warnings.warn(f"{text} or another font to see them in figures", stacklevel=2)
    return [name.replace("$", r"\$") for name in names]
