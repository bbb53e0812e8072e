"""Generated images for the `sample` scale: ten classes that differ in shape and texture alone.

Position, size, angle, colours, lighting, background and clutter are random in every image, so a
linear classifier of the pixels fails, and a small convolutional net does not. An image depends on
(seed, split, index, side) alone, except for rounding by other versions of numpy or Pillow.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from torch.utils.data import Dataset

SPLITS = ("train", "test")
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # weights of R, G, B in brightness

SHAPES = ("disc", "ring", "crescent", "triangle", "star", "cross", "spiral")
CLASSES = (*SHAPES, "stripes", "checkerboard", "dots")


def _distance(shape, x, y, rng):
    """Signed distance to the outline, negative inside; every shape fits into the unit circle."""
    radius, largest, smallest = np.hypot(x, y), np.maximum, np.minimum
    match shape:
        case "disc":
            return radius - 0.85
        case "ring":
            return np.abs(radius - 0.75) - rng.uniform(0.12, 0.2)
        case "crescent":
            bite = np.hypot(x - rng.uniform(0.4, 0.5), y) - 0.65
            return largest(radius - 0.9, -bite)
        case "triangle":
            return np.max(_half_planes(x, y, 3), axis=0) - 0.5
        case "star":  # the points on the inner side of at least four of five lines
            return np.sort(_half_planes(x, y, 5), axis=0)[-2] - rng.uniform(0.31, 0.36)
        case "cross":
            x, y, width = np.abs(x), np.abs(y), rng.uniform(0.2, 0.28)
            return smallest(largest(x - 0.95, y - width), largest(y - 0.95, x - width))
        case "spiral":
            pitch = rng.uniform(0.4, 0.5)
            turns = np.arctan2(y, x) / (2 * np.pi) * float(rng.choice([-1, 1]))
            arm = np.abs(_to_nearest(radius - turns * pitch, pitch)) - 0.25 * pitch
            return largest(arm, radius - 0.95)
        case "stripes":
            return largest(_bars(x, rng.uniform(0.45, 0.65), rng), _blob(x, y, rng))
        case "checkerboard":
            period = rng.uniform(0.6, 0.8)
            a, b = _bars(x, period, rng), _bars(y, period, rng)
            exactly_one = largest(smallest(a, b), -largest(a, b))
            return largest(exactly_one, _blob(x, y, rng))
        case "dots":
            pitch, (left, top) = rng.uniform(0.4, 0.52), rng.uniform(0, 0.6, 2).tolist()
            dx, dy = _to_nearest(x + left, pitch), _to_nearest(y + top, pitch)
            outline = _blob(x - dx, y - dy, rng)  # at the centre of a dot, so that no dot is cut
            return largest(np.hypot(dx, dy) - rng.uniform(0.26, 0.34) * pitch, outline)


def _half_planes(x, y, n):
    """Signed distances to n lines around the origin."""
    angles = 2 * np.pi * np.arange(n) / n
    return [float(np.cos(angle)) * x + float(np.sin(angle)) * y for angle in angles]


def _to_nearest(x, period):
    """Offset of x from the nearest multiple of the period."""
    return x - period * np.rint(x / period)


def _bars(x, period, rng):
    """Parallel bars across x, as wide as the gaps between them."""
    return np.abs(_to_nearest(x + rng.uniform(0, period), period)) - 0.25 * period


def _blob(x, y, rng):
    """An irregular outline for the textures, the same for all of them."""
    a, b = rng.uniform(0, 2 * np.pi, 2).tolist()
    return np.hypot(x, y) - 0.87 - 0.1 * np.sin(3 * x + a) * np.sin(3 * y + b)


def _cover(shape, x, y, rng):
    """The share of each pixel that the object covers, in 0..1: (side, side)."""
    radius = rng.uniform(0.5, 0.75)
    reach = 0.88 - radius  # the object stays inside the central crop
    dx, dy = rng.uniform(-reach, reach, 2).tolist()
    angle, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0.85, 1.0)
    c, s = float(np.cos(angle)) / radius, float(np.sin(angle)) / radius
    u = c * (x - dx) + s * (y - dy)
    v = (c * (y - dy) - s * (x - dx)) / stretch
    distance = _distance(shape, u, v, rng)
    return np.clip(0.5 - distance * (radius * x.size / 2), 0, 1)  # edges are one pixel wide


def _colour(rng, brightness):
    """A random RGB colour (3,) of about this brightness."""
    tint = rng.uniform(0.1, 0.45) * rng.uniform(-1, 1, 3).astype(np.float32)
    return np.clip(brightness + tint - tint @ LUMA, 0.02, 0.98)


def _surface(rng, side, colour, strength):
    """A surface of one colour with smooth noise towards another hue."""
    rows, columns = rng.integers(2, 9, 2) * rng.choice([(1, 1), (1, 6), (6, 1)])
    towards = strength * rng.uniform(0.4, 1.0, 3).astype(np.float32)
    noise = rng.standard_normal((rows, columns), dtype=np.float32)
    for scale, weight in ((2, 0.6), (4, 0.36)):
        finer = rng.standard_normal((scale * rows, scale * columns), dtype=np.float32)
        noise = _resize(noise, scale * rows, scale * columns) + weight * finer
    return colour[:, None, None] + _resize(noise, side, side) * towards[:, None, None]


def _resize(grid, rows, columns):
    return np.asarray(Image.fromarray(grid).resize((columns, rows), Image.Resampling.BICUBIC))


def _clutter(rng, scene, blur):
    """The background with small ellipses and polygons, slightly blurred."""
    side = scene.shape[-1]
    background = Image.fromarray(_bytes(scene))
    pen = ImageDraw.Draw(background)
    for _ in range(rng.integers(6, 16)):
        centre, size = rng.uniform(0, side, 2), side * rng.uniform(0.02, 0.06)
        colour = tuple(int(255 * c) for c in _colour(rng, rng.uniform(0.1, 0.9)))
        if rng.random() < 0.4:
            pen.ellipse([*centre, *(centre + size * rng.uniform(0.7, 2.0, 2))], colour)
        else:
            pen.polygon((centre + size * rng.uniform(-1.5, 1.5, (4, 2))).ravel().tolist(), colour)
    blurred = np.asarray(background.filter(ImageFilter.BoxBlur(blur)))
    return np.ascontiguousarray(blurred.transpose(2, 0, 1), np.float32) / 255


def _relief(cover, light, side):
    """The lit edges of the object and its shadow, each (side, side)."""
    soft = Image.fromarray((cover * 255).astype(np.uint8))
    height = np.asarray(soft.filter(ImageFilter.GaussianBlur(side / 100)), np.float32) / 255
    slope_y, slope_x = np.gradient(height, 200 / side)
    across, down = (round(-0.025 * side * float(c)) for c in light)
    return -(slope_x * light[0] + slope_y * light[1]), np.roll(height, (down, across), (0, 1))


def _scene(shape, rng, side):
    """An image as float32 (3, side, side), brightness in 0..1; lengths in half sides of it."""
    x = (np.arange(side, dtype=np.float32) + 0.5) * (2 / side) - 1
    x, y = x[None, :], x[:, None]
    dark = rng.uniform(0.1, 0.45)
    bright = rng.uniform(dark + 0.4, 0.95)
    back, front = _colour(rng, dark), _colour(rng, bright)
    if rng.random() >= 0.5:
        back, front = front, back
    cover = _cover(shape, x, y, rng)
    angle = rng.uniform(0, 2 * np.pi)
    light = np.array([np.cos(angle), np.sin(angle)], np.float32)  # direction of the lamp
    edges, shadow = _relief(cover, light, side)
    ground = _clutter(rng, _surface(rng, side, back, 0.07), blur=side * rng.uniform(0.002, 0.008))
    ground *= 1 - rng.uniform(0.2, 0.5) * shadow
    thing = _surface(rng, side, front, 0.04) + rng.uniform(0.2, 0.6) * edges
    scene = ground + (thing - ground) * cover
    towards_lamp = x * light[0] + y * light[1]
    scene *= rng.uniform(0.75, 1.1) * (1 + rng.uniform(0.05, 0.35) * towards_lamp)
    return scene + rng.uniform(0.01, 0.04) * rng.standard_normal((side, side), dtype=np.float32)


def _bytes(scene):
    """(3, side, side) in 0..1 to uint8 (side, side, 3)."""
    return np.clip(scene * 255 + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0).copy()


def image(seed: int, split: str, index: int, side: int = 256) -> tuple[np.ndarray, int]:
    """Image number `index` of a split: uint8 RGB (side, side, 3) and its label, index % 10."""
    if split not in SPLITS or side < 16:
        raise ValueError(f"split: one of {SPLITS}, not {split!r}; side: 16 or more, not {side}")
    label = index % len(CLASSES)
    sequence = np.random.SeedSequence(seed, spawn_key=(SPLITS.index(split), index))
    return _bytes(_scene(CLASSES[label], np.random.default_rng(sequence), side)), label


class Synthetic(Dataset):
    """The first n images of a split as a data set of (PIL image, label)."""

    def __init__(self, split: str, n: int, side: int = 256, seed: int = 2012):
        self.split, self.n, self.side, self.seed = split, n, side, seed

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int):
        if not 0 <= index < self.n:
            raise IndexError(index)
        pixels, label = image(self.seed, self.split, index, self.side)
        return Image.fromarray(pixels), label
