"""A picture set made from numbers: stands in for ImageNet where there is none.

Ten classes that differ in form and texture alone. Pose, size, colours, polarity (light on dark or not),
lighting, background and clutter are random in every picture, whatever its class, so neither colour nor a
template of pixels tells the classes apart: a linear classifier fails, a small convolutional net does not.

    images, labels = generate(2000, seed=0, split="train")  # uint8 (2000, 256, 256, 3), int64 (2000,)

A picture depends on (seed, split, index, side) alone. Another version of numpy or Pillow, or another
processor, may round a few of its pixels differently.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SPLITS = ("train", "test")
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # weights of R, G, B in brightness (ITU-R BT.601)

# ---- forms -------------------------------------------------------------------------------------------------
# Signed distance to the outline, negative inside, in units of the object's radius. x and y are float32 grids
# in the object's own frame; every form fits into the unit circle.


def disc(x, y, rng):
    return np.hypot(x, y) - 0.85


def ring(x, y, rng):
    return np.abs(np.hypot(x, y) - 0.75) - rng.uniform(0.12, 0.2)


def crescent(x, y, rng):
    bite = np.hypot(x - rng.uniform(0.4, 0.5), y) - 0.65
    return np.maximum(np.hypot(x, y) - 0.9, -bite)


def triangle(x, y, rng):
    return np.maximum.reduce(list(_half_planes(x, y, 3))) - 0.5


def star(x, y, rng):
    """The five-pointed star holds the points that lie on the inner side of at least four of five lines."""
    first = second = np.full_like(x, -np.inf)  # the largest and second largest of the five distances
    for plane in _half_planes(x, y, 5):
        second = np.maximum(second, np.minimum(first, plane))
        first = np.maximum(first, plane)
    return second - rng.uniform(0.31, 0.36)


def cross(x, y, rng):
    x, y, width = np.abs(x), np.abs(y), rng.uniform(0.2, 0.28)
    return np.minimum(np.maximum(x - 0.95, y - width), np.maximum(y - 0.95, x - width))


def spiral(x, y, rng):
    radius, pitch = np.hypot(x, y), rng.uniform(0.4, 0.5)
    turns = np.arctan2(y, x) / (2 * np.pi) * float(rng.choice([-1, 1]))  # either sense: a flip stays in the class
    arm = np.abs(_to_nearest(radius - turns * pitch, pitch)) - 0.25 * pitch
    return np.maximum(arm, radius - 0.95)


def stripes(x, y, rng):
    return np.maximum(_bars(x, rng.uniform(0.45, 0.65), rng), _blob(x, y, rng))


def checkerboard(x, y, rng):
    cell = rng.uniform(0.6, 0.8)  # two squares
    a, b = _bars(x, cell, rng), _bars(y, cell, rng)
    either_but_not_both = np.maximum(np.minimum(a, b), -np.maximum(a, b))
    return np.maximum(either_but_not_both, _blob(x, y, rng))


def dots(x, y, rng):
    pitch, (left, top) = rng.uniform(0.4, 0.52), rng.uniform(0, 0.6, 2).tolist()
    dx, dy = _to_nearest(x + left, pitch), _to_nearest(y + top, pitch)
    whole = _blob(x - dx, y - dy, rng)  # taken at the dot's centre: no dot is cut by the outline
    return np.maximum(np.hypot(dx, dy) - rng.uniform(0.26, 0.34) * pitch, whole)


FORMS = (disc, ring, crescent, triangle, star, cross, spiral, stripes, checkerboard, dots)
CLASSES = tuple(form.__name__ for form in FORMS)


def _half_planes(x, y, n):
    """Signed distances to n lines through the origin, their normals spread evenly over the circle."""
    for angle in 2 * np.pi * np.arange(n) / n:
        yield float(np.cos(angle)) * x + float(np.sin(angle)) * y


def _to_nearest(x, period):
    """Offset of x from the nearest multiple of the period."""
    return x - period * np.rint(x / period)


def _bars(x, period, rng):
    """Parallel bars across x, as wide as the gaps between them."""
    return np.abs(_to_nearest(x + rng.uniform(0, period), period)) - 0.25 * period


def _blob(x, y, rng):
    """An irregular round outline: what holds a texture, so that its outline says nothing about its class."""
    a, b = rng.uniform(0, 2 * np.pi, 2).tolist()
    return np.hypot(x, y) - 0.87 - 0.1 * np.sin(3 * x + a) * np.sin(3 * y + b)


# ---- the scene: float32 arrays, brightness 0..1, lengths in half sides of the picture ----------------------


def _grid(side):
    """x and y of the pixel centres, -1..1 from edge to edge: (1, side) and (side, 1)."""
    axis = (np.arange(side, dtype=np.float32) + 0.5) * (2 / side) - 1
    return axis[None, :], axis[:, None]


def _draw(form, rng, side):
    """The object's coverage of each pixel, (side, side) in 0..1: any angle, size, place, a slight stretch."""
    x, y = _grid(side)
    radius = rng.uniform(0.5, 0.75)
    reach = 0.88 - radius  # the object ends at 0.88, the central 224 of 256 pixels at 0.875
    dx, dy = rng.uniform(-reach, reach, 2).tolist()
    angle, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0.85, 1.0)
    c, s = float(np.cos(angle)) / radius, float(np.sin(angle)) / radius
    u = c * (x - dx) + s * (y - dy)
    v = (c * (y - dy) - s * (x - dx)) / stretch
    distance = form(u, v, rng)
    return np.clip(0.5 - distance * (radius * side / 2), 0, 1)  # an edge one pixel wide


def _noise(rng, side, rows, cols):
    """Smooth noise (side, side): a coarse grid of numbers, twice doubled and refined, then enlarged."""
    grid = rng.standard_normal((rows, cols), dtype=np.float32)
    for scale, weight in ((2, 0.6), (4, 0.36)):
        finer = rng.standard_normal((scale * rows, scale * cols), dtype=np.float32)
        grid = _resize(grid, scale * rows, scale * cols) + weight * finer
    return _resize(grid, side, side)


def _resize(grid, rows, cols):
    return np.asarray(Image.fromarray(grid).resize((cols, rows), Image.Resampling.BICUBIC))


def _colour(rng, brightness):
    """A random RGB colour (3,) of about the brightness asked for."""
    tint = rng.uniform(0.1, 0.45) * rng.uniform(-1, 1, 3).astype(np.float32)
    return np.clip(brightness + tint - tint @ LUMA, 0.02, 0.98)


def _colours(rng):
    """Colours of background and object: about 0.4 apart in brightness or more, either one the lighter."""
    dark = rng.uniform(0.1, 0.45)
    light = rng.uniform(dark + 0.4, 0.95)
    pair = _colour(rng, dark), _colour(rng, light)
    return pair if rng.random() < 0.5 else pair[::-1]


def _surface(rng, side, colour, strength):
    """A surface (3, side, side) of one colour, mottled or brushed by noise towards another hue."""
    rows, cols = rng.integers(2, 9, 2) * rng.choice([(1, 1), (1, 6), (6, 1)])
    towards = strength * rng.uniform(0.4, 1.0, 3).astype(np.float32)
    return colour[:, None, None] + _noise(rng, side, rows, cols) * towards[:, None, None]


def _clutter(rng, scene, blur):
    """Small ellipses and shards strewn over a background, which is then put a little out of focus."""
    side = scene.shape[-1]
    image = Image.fromarray(_bytes(scene))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(6, 16)):
        centre, size = rng.uniform(0, side, 2), side * rng.uniform(0.02, 0.06)
        colour = tuple(int(255 * c) for c in _colour(rng, rng.uniform(0.1, 0.9)))
        if rng.random() < 0.4:
            pen.ellipse([*centre, *(centre + size * rng.uniform(0.7, 2.0, 2))], colour)
        else:
            pen.polygon((centre + size * rng.uniform(-1.5, 1.5, (4, 2))).ravel().tolist(), colour)
    blurred = np.asarray(image.filter(ImageFilter.BoxBlur(blur)))
    return np.ascontiguousarray(blurred.transpose(2, 0, 1), np.float32) / 255


def _relief(cover, light, side):
    """Bevel of the object's edges and its shadow, both (side, side), from a blurred copy of its coverage."""
    soft = Image.fromarray((cover * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(side / 100))
    height = np.asarray(soft, np.float32) / 255
    slope_y, slope_x = np.gradient(height, 200 / side)  # rise over a hundredth of the half side
    bevel = -(slope_x * light[0] + slope_y * light[1])
    fall = [round(-0.025 * side * float(c)) for c in light]
    return bevel, np.roll(height, (fall[1], fall[0]), (0, 1))


def _scene(label, rng, side):
    """One picture (3, side, side) as light: background, clutter, shadow, object, lamp, grain."""
    back, front = _colours(rng)
    cover = _draw(FORMS[label], rng, side)
    angle = rng.uniform(0, 2 * np.pi)
    light = np.array([np.cos(angle), np.sin(angle)], np.float32)  # towards the lamp
    bevel, shadow = _relief(cover, light, side)
    ground = _clutter(rng, _surface(rng, side, back, 0.07), blur=side * rng.uniform(0.002, 0.008))
    ground *= 1 - rng.uniform(0.2, 0.5) * shadow
    thing = _surface(rng, side, front, 0.04) + rng.uniform(0.2, 0.6) * bevel
    scene = ground + (thing - ground) * cover
    x, y = _grid(side)
    towards_lamp = x * light[0] + y * light[1]
    scene *= rng.uniform(0.75, 1.1) * (1 + rng.uniform(0.05, 0.35) * towards_lamp)
    return scene + rng.uniform(0.01, 0.04) * rng.standard_normal((side, side), dtype=np.float32)  # the grain


def _bytes(scene):
    """Light (3, side, side), 0..1 -> uint8 (side, side, 3)."""
    return np.clip(scene * 255 + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0).copy()


# ---- the set -----------------------------------------------------------------------------------------------


def _check(split, side, **counts):
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, not {split!r}")
    if side < 16:
        raise ValueError(f"side must be at least 16 pixels, not {side}")
    for name, count in counts.items():
        if count < 0:
            raise ValueError(f"{name} must not be negative, and is {count}")


def picture(seed: int, split: str, index: int, side: int = 256) -> tuple[np.ndarray, int]:
    """Picture number `index` of a split: uint8 RGB (side, side, 3) and its label, index % 10."""
    _check(split, side, seed=seed, index=index)
    label = index % len(CLASSES)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(SPLITS.index(split), index)))
    return _bytes(_scene(label, rng, side)), label


def generate(
    n: int, seed: int = 0, split: str = "train", side: int = 256, workers: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures 0..n-1 of a split: uint8 (n, side, side, 3), int64 (n,). workers=None: a thread a core."""
    _check(split, side, seed=seed, n=n)
    images = np.empty((n, side, side, 3), np.uint8)
    labels = np.empty(n, np.int64)

    def make(index):
        images[index], labels[index] = picture(seed, split, index, side)

    with ThreadPoolExecutor(os.cpu_count() if workers is None else workers) as pool:
        list(pool.map(make, range(n)))  # the list waits for all, and raises what any of them raised
    return images, labels
