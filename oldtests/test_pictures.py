"""Picture files to squares: every shape and mode, and every way in which a file can be broken."""

import io
import re
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from alexold import data, pictures
from alexold.paths import ROOT
from alexold.pictures import BadPicture

SIDE = 16


# ---- good files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(96, 40), (40, 96), (33, 20), (20, 33), (24, 12), (9, 8), (SIDE, SIDE), (SIDE, 41)])
def test_short_side_then_centre_crop(tmp_path, size):
    """A ramp over x and y says where each pixel of the square came from."""
    width, height = size
    ramp = np.zeros((height, width, 3), np.uint8)
    ramp[..., 0] = np.arange(width) * 2
    ramp[..., 1] = np.arange(height)[:, None] * 2
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    square = pictures.decode(tmp_path / "ramp.png", SIDE)
    assert square.shape == (SIDE, SIDE, 3) and square.dtype == np.uint8
    short = min(size)
    step = short / SIDE
    centres = (np.arange(SIDE) + 0.5) * step - 0.5
    inner = slice(2, -2)  # resampling flattens a ramp at its ends
    for axis, length in ((1, width), (0, height)):
        expected = 2 * ((length - short) // 2 + centres)
        seen = square[..., 1 - axis].astype(float).mean(axis=1 - axis)
        assert np.abs(seen - expected)[inner].max() < 1.5
    if short == SIDE:
        left, top = (width - SIDE) // 2, (height - SIDE) // 2
        assert (square == ramp[top : top + SIDE, left : left + SIDE]).all()


def test_big_jpeg_is_decoded_at_a_fraction_and_stays_the_same_picture(tmp_path):
    x, y = np.meshgrid(np.linspace(0, 6, 800), np.linspace(0, 4, 500))
    smooth = np.stack([128 + 100 * np.sin(x + k) * np.cos(y) for k in range(3)], -1).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.JPEG", quality=95, subsampling=0)
    whole = Image.open(tmp_path / "a.JPEG").crop((150, 0, 650, 500)).resize((62, 62), Image.Resampling.BICUBIC)
    difference = pictures.decode(tmp_path / "a.JPEG", 62).astype(int) - np.asarray(whole, int)
    assert np.abs(difference).max() <= 4


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("LA", (40, 255), (40, 40, 40)),
        ("RGBA", (10, 200, 30, 255), (10, 200, 30)),
        ("CMYK", (255, 0, 0, 0), (0, 255, 255)),
    ],
)
def test_modes_become_rgb(tmp_path, mode, value, expected):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new(mode, (30, 20), value).save(path)
    with Image.open(path) as saved:
        assert saved.mode == mode
    assert (pictures.decode(path, SIDE) == expected).all()


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    levels = np.random.default_rng(0).integers(0, 65536, (SIDE, SIDE)).astype(np.uint16)
    levels[0, :2] = 0, 65535
    Image.fromarray(levels).save(tmp_path / "a.png")
    assert (pictures.decode(tmp_path / "a.png", SIDE)[..., 1] == np.round(levels / 65535 * 255)).all()


def test_transparency_shows_white(tmp_path):
    half = Image.new("RGBA", (SIDE, SIDE), (255, 0, 0, 255))
    half.paste((0, 0, 0, 0), (0, 0, SIDE // 2, SIDE))
    half.save(tmp_path / "rgba.png")
    palette = Image.new("P", (SIDE, SIDE), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    palette.paste(2, (0, 0, SIDE // 2, SIDE))
    palette.save(tmp_path / "palette.png", transparency=2)
    palette.save(tmp_path / "palette.gif", transparency=2)
    for name in ("rgba.png", "palette.png", "palette.gif"):
        square = pictures.decode(tmp_path / name, SIDE)
        assert (square[:, : SIDE // 2] == 255).all() and (square[:, SIDE // 2 :] == (255, 0, 0)).all(), name


@pytest.mark.parametrize(("mode", "value"), [("F", 0.5), ("I", 65536), ("I", -1)])
def test_grey_levels_of_unknown_range_are_refused(tmp_path, mode, value):
    Image.new(mode, (SIDE, SIDE), value).save(tmp_path / "a.tif")
    with pytest.raises(BadPicture, match=r"a\.tif: cannot be decoded .*grey levels beyond 16 bits"):
        pictures.decode(tmp_path / "a.tif", SIDE)


# ---- bad files ---------------------------------------------------------------------------------------------


def scene(width=101, height=81, mode="RGB"):
    """Waves with grain: nowhere flat, as photographs are."""
    x, y = np.meshgrid(np.linspace(0, 9, width), np.linspace(0, 7, height))
    waves = np.stack([128 + 90 * np.sin(x + k) * np.cos(y - k) for k in range(3)], -1)
    grain = np.random.default_rng(0).integers(-20, 21, waves.shape)
    image = Image.fromarray((waves + grain).clip(0, 255).astype(np.uint8))
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image.convert(mode)


def encoded(image, form="JPEG", **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def chunks(png):
    """Kind and content of each chunk of a PNG file."""
    at = 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length


def png_of(parts):
    """A PNG file of chunks, their checksums right."""
    whole = b"\x89PNG\r\n\x1a\n"
    for kind, content in parts:
        whole += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return whole


def resized(png, width, height):
    """A PNG file whose header claims another size."""
    (kind, header), *others = chunks(png)
    return png_of([(kind, struct.pack(">II", width, height) + header[8:]), *others])


def problem(path, content, side=SIDE):
    """Kind and reason of what is wrong with a file; None if nothing is."""
    path.write_bytes(content)
    try:
        with pictures.strict():
            pictures.read(path, side)
    except BadPicture as error:
        assert error.path == path and str(error) == f"{path}: {error.reason}"
        return error.kind, error.reason


JPEG, PNG = encoded(scene()), encoded(scene(), "PNG")
BAD = {  # by name: bytes, kind, part of the reason
    "empty": (b"", "empty", "0 bytes"),
    "cut JPEG": (JPEG[: len(JPEG) // 2], "truncated", "its data end early"),
    "cut PNG": (PNG[: len(PNG) // 2], "truncated", "its data end early"),
    "JPEG without its last bytes": (JPEG[:-4], "truncated", "its data end early"),
    "page": (b"<html>404</html>", "not a picture", "TIFF): begins with b'<html>404</h'"),
    "program": (encoded(scene(), "EPS"), "not a picture", "begins with b'%!PS-Adobe-3'"),
    "JPEG header": (b"\xff\xd8\xff" + bytes(99), "undecodable", "its JPEG header is broken or cut short"),
    "flipped PNG": (PNG[:60] + bytes([PNG[60] ^ 1]) + PNG[61:], "undecodable", "cannot be decoded"),
    "1 x 1": (encoded(scene(1, 1), "PNG"), "too small", "1 x 1 pixels: a side is shorter than 8"),
    "7 high": (encoded(scene(40, 7), "PNG"), "too small", "40 x 7 pixels"),
    "long": (encoded(scene(2000, 19), "PNG"), "too long", "2,000 x 19 pixels: one side is more"),
    "bomb": (resized(PNG, 20000, 20000), "too large", "(400000000 pixels) exceeds limit"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_with_its_reason(tmp_path, name):
    content, kind, reason = BAD[name]
    found = problem(tmp_path / "a.jpg", content)
    assert found and found[0] == kind and reason in found[1]


@pytest.mark.parametrize("size", [(8, 8), (8, 800)])
def test_the_smallest_and_the_longest_are_taken(tmp_path, size):
    assert problem(tmp_path / "a.png", encoded(scene(*size), "PNG")) is None


@pytest.mark.parametrize(("form", "found"), [("PNG", "PNG"), ("WEBP", "WEBP"), ("MPO", "JPEG")])
def test_the_content_counts_and_not_the_name(tmp_path, form, found):
    two = {"save_all": True, "append_images": [scene()]}  # pictures in one file, as cameras with two lenses make them
    assert problem(tmp_path / "a.jpg", encoded(scene(), form, **(two if form == "MPO" else {}))) is None
    assert pictures.read(tmp_path / "a.jpg", SIDE)[1:] == (found, "RGB", (101, 81))


def test_files_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    with pytest.raises(BadPicture, match=r"nowhere\.png: cannot be read \(No such file or directory\)"):
        pictures.read(tmp_path / "nowhere.png", SIDE)

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pictures, "open", denied, raising=False)
    with pytest.raises(BadPicture, match=r"a\.png: cannot be read \(Permission denied\)") as caught:
        pictures.read(tmp_path / "a.png", SIDE)
    assert caught.value.kind == "unreadable"


def test_a_file_beyond_the_limit_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "BIGGEST", len(JPEG) - 1)
    reason = f"{len(JPEG):,} bytes are beyond the limit of {len(JPEG) - 1:,}"
    assert problem(tmp_path / "a.jpg", JPEG) == ("too large", reason)


def test_lack_of_memory_is_named(tmp_path, monkeypatch):
    def memoryless(*_):
        raise MemoryError

    monkeypatch.setattr(pictures, "square", memoryless)
    assert problem(tmp_path / "a.jpg", JPEG) == ("too large", "too little memory to decode it")


def test_pillow_prints_nothing(tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 101 * 81 - 1)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert problem(tmp_path / "a.png", PNG) is None
        samples = encoded(scene(), "TIFF").replace(*(b"\x15\1\3\0\1\0\0\0" + bytes([n, 0]) for n in (3, 19)))
        assert problem(tmp_path / "a.tif", samples) is not None
        filters = list(warnings.filters)
    assert not seen and not caplog.records and capfd.readouterr() == ("", "")
    with pytest.warns(Image.DecompressionBombWarning):
        pictures.read(tmp_path / "a.png", SIDE)
    assert filters[0][0] == "always", "the filters are as they were"


def test_a_library_that_asks_for_truncated_pictures_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for content in (JPEG[: len(JPEG) // 2], PNG[: len(PNG) // 2]):
        (tmp_path / "a.jpg").write_bytes(content)
        assert Image.open(tmp_path / "a.jpg").load(), "Pillow itself takes it"
        assert problem(tmp_path / "a.jpg", content) == ("truncated", "its data end early")
        assert ImageFile.LOAD_TRUNCATED_IMAGES is True
    with pytest.raises(RuntimeError, match="strict"):
        pictures.decode(tmp_path / "a.jpg", SIDE)


# ---- data that end early without a word --------------------------------------------------------------------

JPEGS = {
    "baseline": {},
    "sharp": {"subsampling": 0, "quality": 95},
    "restarts": {"restart_marker_rows": 1},
    "more restarts": {"restart_marker_blocks": 5},
}
PROGRESSIVE = {"progressive": {"progressive": True}}


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", JPEGS)
@pytest.mark.parametrize("side", [SIDE, 32, 256])
def test_a_jpeg_that_would_end_grey_is_found(tmp_path, mode, options, side):
    """Data that were cut and closed by an end marker, or by zeros, or by a marker that a flipped bit made."""
    whole = encoded(scene(301, 203, mode), **JPEGS[options])
    half = len(whole) // 2
    found = {
        "end": whole[:half] + b"\xff\xd9",
        "late end": whole[: len(whole) * 9 // 10] + b"\xff\xd9",
        "zeros": whole[:half] + bytes(len(whole) - half),
    }
    if "restarts" in options:
        found["restart"] = whole[: re.compile(rb"\xff[\xd0-\xd7]").search(whole, half).start()] + b"\xff\xd9"
    else:  # with restarts, a wrong marker spoils little
        at = whole.index(b"\xff\x00", half)
        found["restart"] = whole[: at + 1] + b"\xd3" + whole[at + 2 :]
    for name, content in found.items():
        assert problem(tmp_path / "a.jpg", content, side) == ("truncated", "its data end early"), name
    for content in (whole, whole + b"more", whole[:-2] + b"\xff\xff\xff\xd9", whole + bytes(99)):
        assert problem(tmp_path / "a.jpg", content, side) is None


def test_a_progressive_jpeg_without_its_end_is_found(tmp_path):
    whole = encoded(scene(301, 203), progressive=True)
    first = whole.index(b"\xff\xda", whole.index(b"\xff\xda") + 1)  # its first pass holds the mean of each block
    assert problem(tmp_path / "a.jpg", whole[: first // 2] + b"\xff\xd9") == ("truncated", "its data end early")
    assert problem(tmp_path / "a.jpg", whole[:-2] + bytes(99)) == ("truncated", "its data end early")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", JPEGS | PROGRESSIVE)
def test_a_jpeg_that_is_grey_is_taken(tmp_path, mode, options):
    options = (JPEGS | PROGRESSIVE)[options]
    grey = Image.new(mode, (301, 203), (128,) * len(Image.new(mode, (1, 1)).getbands()))
    below = scene(301, 203, mode)
    below.paste(grey, (0, 100))
    for image in (grey, below):
        for side in (SIDE, 256):
            assert problem(tmp_path / "a.jpg", encoded(image, **options), side) is None


def test_a_jpeg_whose_restarts_went_wrong_is_found(tmp_path):
    """A wrong interval leaves the last rows grey."""
    whole = encoded(scene(60, 45), restart_marker_rows=1)
    at = whole.index(b"\xff\xdd")
    content = whole[: at + 4] + b"\0\xff" + whole[at + 6 :]
    assert (np.asarray(Image.open(io.BytesIO(content)))[-1] == 128).all(), "Pillow itself takes it"
    assert problem(tmp_path / "a.jpg", content) == ("truncated", "its data end early")


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA", "I;16"])
def test_a_png_that_would_end_black_is_found(tmp_path, mode):
    whole = encoded(scene(mode=mode), "PNG")
    assert problem(tmp_path / "a.png", whole) is None
    for rows in (1, 60):
        assert problem(tmp_path / "a.png", resized(whole, 101, 81 + rows)) == ("truncated", "its data end early")
    black = scene(mode=mode)
    black.paste(Image.new(mode, black.size), (0, 40))
    assert problem(tmp_path / "a.png", encoded(black, "PNG")) is None
    assert problem(tmp_path / "a.png", encoded(Image.new(mode, (40, 40)), "PNG")) is None
    assert problem(tmp_path / "a.png", resized(encoded(black, "PNG"), 101, 90)) is not None
    hole = whole[:-200] + bytes(50) + whole[-150:]
    assert problem(tmp_path / "a.png", hole)[0] in ("undecodable", "truncated")


def test_a_picture_whose_palette_is_missing_or_short_is_not_black(tmp_path):
    parts = list(chunks(encoded(scene(mode="P"), "PNG")))
    assert problem(tmp_path / "a.png", png_of(parts)) is None
    for size in (0, 30):
        cut = [(kind, content[:size] if kind == b"PLTE" else content) for kind, content in parts]
        kind, reason = problem(tmp_path / "a.png", png_of([part for part in cut if part != (b"PLTE", b"")]))
        assert kind == "undecodable" and "colours that its palette lacks" in reason
    for form in ("GIF", "BMP", "TIFF"):
        for mode in ("P", "L", "1"):
            assert problem(tmp_path / "a.png", encoded(scene(mode=mode), form)) is None


# ---- five hundred and more ---------------------------------------------------------------------------------

KINDS = {  # by class folder: a whole file, and its extension
    **{f"jpeg {name}": (encoded(scene(60, 45), **o), "jpg") for name, o in (JPEGS | PROGRESSIVE).items()},
    **{f"jpeg {mode}": (encoded(scene(60, 45, mode)), "JPEG") for mode in ("L", "CMYK")},
    **{f"png {mode}": (encoded(scene(60, 45, mode), "PNG"), "png") for mode in ("RGB", "L", "P", "1", "RGBA", "I;16")},
    "webp": (encoded(scene(60, 45), "WEBP"), "webp"),
    "gif": (encoded(scene(60, 45, "P"), "GIF"), "gif"),
    "bmp": (encoded(scene(60, 45), "BMP"), "bmp"),
    "tiff": (encoded(scene(60, 45), "TIFF"), "tif"),
    "tiff lzw": (encoded(scene(60, 45), "TIFF", compression="tiff_lzw"), "tiff"),
}


def flipped(content, rng):
    found = bytearray(content)
    for at in rng.integers(0, len(content) if rng.random() < 0.7 else 100, rng.integers(1, 9)):
        found[at] ^= 1 << rng.integers(8)
    return bytes(found)


def with_head_of_another(content, rng):
    other = list(KINDS.values())[rng.integers(len(KINDS))][0]
    return other[: (at := rng.integers(2, 300))] + content[at:]


def claiming_another_size(content, rng):
    size = rng.integers(1, 200, 2).tolist()
    if content.startswith(b"\x89PNG"):
        return resized(content, *size)
    at = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
    return content[: at + 5] + struct.pack(">HH", *size) + content[at + 9 :] if at > 0 else flipped(content, rng)


MUTATIONS = [
    flipped,
    with_head_of_another,
    claiming_another_size,
    lambda content, rng: content[: rng.integers(len(content))],
    lambda content, rng: content[: rng.integers(len(content))] + b"\xff\xd9",
    lambda content, rng: content[: (at := rng.integers(len(content)))] + bytes(len(content) - at),
    lambda content, rng: content[: (at := rng.integers(len(content)))] + rng.bytes(rng.integers(1, 50)) + content[at:],
    lambda content, rng: content[: (at := rng.integers(len(content)))] + content[at + rng.integers(1, 50) :],
]


def mutants(folder, each=43):
    """Fill a folder with mutated files, seeded, and a whole one for each class; returns how many are JPEG or PNG."""
    rng, count = np.random.default_rng(2012), 0
    for kind, (whole, extension) in KINDS.items():
        for split, number in (("train", each), ("val", 1)):
            (folder / split / kind).mkdir(parents=True)
            (folder / split / kind / f"whole.{extension}").write_bytes(whole)
            for i in range(number):
                content = MUTATIONS[rng.integers(len(MUTATIONS))](whole, rng)
                (folder / split / kind / f"{i:02}.{extension}").write_bytes(content)
                count += extension not in ("webp", "gif", "bmp", "tif", "tiff")
    return count


def plainly(path):
    """A file as Pillow alone decodes it: uint8 RGB (SIDE, SIDE, 3) of the centre."""
    with Image.open(path) as image:
        image.load()
        if image.mode.startswith("I"):
            image = Image.fromarray(np.uint8((np.asarray(image).astype(int) + 128) // 257))
        if image.has_transparency_data:
            ground = Image.new("RGBA", image.size, "white")
            ground.alpha_composite(image.convert("RGBA"))
            image = ground
        pixels = np.asarray(image.convert("RGB"))
    short = min(pixels.shape[:2])
    top, left = ((length - short) // 2 for length in pixels.shape[:2])
    centre = Image.fromarray(pixels[top : top + short, left : left + short])
    return np.asarray(centre.resize((64, 64), Image.Resampling.BICUBIC))


def test_mutated_files_are_decoded_or_named(tmp_path, monkeypatch):
    """In a process of its own, so that a crash is seen; afterwards its pack is opened here."""
    monkeypatch.setenv("ALEXLIB_RUNS", str(tmp_path / "runs"))
    folder = tmp_path / "set"
    assert mutants(folder) >= 500
    code = "import sys; from alexold import data; data.load(sys.argv[1], 64, on_error='skip')"
    done = subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == ""
    printed = [line for line in done.stderr.splitlines() if not line.startswith("tempfile.tif: ")]  # libtiff's own
    assert len(printed) == 1 and printed[0].startswith("packed set: 828 pictures in ")
    monkeypatch.setattr(pictures, "read", None)
    sets = dict(zip(("train", "val"), data.load(folder, 64, on_error="skip"), strict=True))
    total = 0
    for split, images in sets.items():
        files = sorted((p for p in folder.glob(f"{split}/*/*")), key=lambda p: (p.parent.name, p.name))
        named = {folder / file: reason for file, reason in images.skipped}
        good = [file for file in files if file not in named]
        assert len(good) == len(images) and len(good) + len(named) == len(files) and named.keys() <= set(files)
        assert all(named.values()), "each with its reason"
        assert [images.classes[label] for label in images.labels] == [file.parent.name for file in good]
        for file, pixels in zip(good, images.gather(range(len(good))), strict=True):
            assert (pixels == plainly(file)).all(), file
        total += len(named)
    assert total > 200 and sum(map(len, sets.values())) > 200, "many of both"
    with pytest.raises(ValueError, match=rf"{total} of {(44 + 2) * len(KINDS)} pictures cannot be used") as caught:
        data.load(folder, 64)
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + 20 + 1 + 1 and lines[-2] == f"  ... and {total - 20:,} more"
