"""The part of a head that no expression changes: shape, shaded skin, ears and hair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pipeline.sample_corpus.canvas import Canvas, Points, ellipse, points, shade
from pipeline.sample_corpus.person import Person

HALF_SIZE = (1.35, 1.65)


def draw_head(person: Person, unit_px: float) -> Canvas:
    """Draw a head without eyes, brows, nose and mouth.

    Args:
        person: Whose head.
        unit_px: Pixels of one face unit.

    Returns:
        A canvas of `HALF_SIZE`, transparent around the head.
    """
    canvas = Canvas.empty(HALF_SIZE, unit_px, person.hair)
    _draw_back_hair(canvas, person)
    for side in (-1.0, 1.0):
        ear = (side * person.half_width * 0.99, person.eye_height + 0.16)
        canvas.polygon(ellipse(ear, (0.10, 0.19)), shade(person.skin, 0.86))
        canvas.polygon(ellipse((ear[0] + side * 0.01, ear[1]), (0.05, 0.11)), shade(person.skin, 0.70))
    skin = Image.fromarray(_shaded_skin(canvas, person))
    canvas.image.paste(skin, (0, 0), canvas.mask(face_outline(person)))
    _draw_front_hair(canvas, person)
    return canvas


def face_outline(person: Person) -> Points:
    """The edge of the face, shape (K, 2)."""
    angle = np.linspace(0.0, 2.0 * np.pi, 120, endpoint=False)
    narrowing = 1.0 - person.jaw * np.maximum(0.0, np.sin(angle)) ** 2
    return points(person.half_width * np.cos(angle) * narrowing, np.sin(angle))


def _shaded_skin(canvas: Canvas, person: Person) -> NDArray[np.uint8]:
    """Skin under the person's light over the whole canvas, RGB, shape (H, W, 3)."""
    x, y = canvas.grid()
    normal_x, normal_y = x / (person.half_width * 1.08), y / 1.08
    normal_z = np.sqrt(np.clip(1.0 - normal_x**2 - normal_y**2, 0.02, 1.0))
    light_x, light_y, light_z = person.light
    lit = np.clip(normal_x * light_x + normal_y * light_y + normal_z * light_z, 0.0, 1.0)
    shading = 0.58 + 0.45 * lit

    def spot(center_x: float, center_y: float, radius_x: float, radius_y: float) -> NDArray[np.float64]:
        return np.exp(-(((x - center_x) / radius_x) ** 2) - ((y - center_y) / radius_y) ** 2)

    for side in (-1.0, 1.0):
        shading = shading * (
            1.0 - 0.20 * spot(side * person.eye_spacing, person.eye_height - 0.02, 0.24, 0.16)
        )
        shading = shading * (1.0 - 0.08 * spot(side * 0.13, person.eye_height + 0.12, 0.07, 0.22))
    shading = shading * (1.0 - 0.12 * spot(0.0, person.mouth_height + 0.2, 0.22, 0.05))
    shading = shading * (1.0 + 0.07 * spot(0.0, -0.5, 0.4, 0.25)) * (1.0 + 0.05 * spot(0.0, 0.86, 0.2, 0.1))
    blush = sum(spot(side * 0.45, 0.26, 0.20, 0.17) for side in (-1.0, 1.0))
    color = np.asarray(person.skin, dtype=np.float64) * shading[..., None]
    color += np.array([10.0, -6.0, -4.0]) * np.asarray(blush)[..., None]
    return np.clip(np.rint(color), 0, 255).astype(np.uint8)


def _draw_back_hair(canvas: Canvas, person: Person) -> None:
    """Hair behind the face."""
    width = person.half_width
    dark = shade(person.hair, 0.8)
    match person.hair_style:
        case "long":
            angle = np.linspace(np.pi, 2.0 * np.pi, 40)
            cap = points(width * 1.22 * np.cos(angle), -0.15 + 1.05 * np.sin(angle))
            ends = points([width * 1.3, width * 1.1, -width * 1.1, -width * 1.3], [1.05, 1.25, 1.25, 1.05])
            canvas.polygon(np.concatenate([cap, ends]), dark)
        case "bun":
            canvas.polygon(ellipse((0.0, -1.22), (0.34, 0.30)), dark)
        case "curly":
            rng = np.random.default_rng(person.decor_seed)
            for angle in np.linspace(np.pi * 0.94, np.pi * 2.06, 17):
                center = (width * 1.05 * np.cos(angle), -0.2 + 0.98 * np.sin(angle))
                canvas.polygon(ellipse(center, (rng.uniform(0.2, 0.26),) * 2), dark)
        case _:
            pass


def _draw_front_hair(canvas: Canvas, person: Person) -> None:
    """Hair above the forehead, with a few lighter strands, slightly softened at the hairline."""
    width = person.half_width
    lift, hairline, sides = {
        "short": (1.08, -0.60, -0.22),
        "parted": (1.10, -0.56, -0.18),
        "long": (1.10, -0.58, 0.10),
        "bun": (1.05, -0.66, -0.24),
        "curly": (1.16, -0.58, -0.14),
        "cropped": (1.03, -0.70, -0.34),
    }[person.hair_style]
    angle = np.linspace(np.pi, 2.0 * np.pi, 60)
    outer = points(width * (lift + 0.02) * np.cos(angle), lift * np.sin(angle))
    outer[:, 1] = np.where(outer[:, 1] > sides, sides, outer[:, 1])
    across = np.linspace(1.0, -1.0, 60)
    # The parting pulls the hairline up on one side; other styles curve evenly.
    skew = 0.12 * across if person.hair_style == "parted" else 0.0
    inner_y = hairline + skew + (sides + 0.25 - hairline) * np.abs(across) ** 5
    inner = points(width * 0.97 * across, inner_y)
    shape = np.concatenate([points([-width * (lift + 0.02)], [sides + 0.2]), outer])
    shape = np.concatenate([shape, points([width * (lift + 0.02)], [sides + 0.2]), inner])

    layer = Canvas(
        image=Image.new("RGBA", canvas.image.size, (*person.hair, 0)),
        unit_px=canvas.unit_px,
        origin_px=canvas.origin_px,
    )
    layer.polygon(shape, person.hair)
    rng = np.random.default_rng(person.decor_seed)
    for start in np.linspace(-0.8, 0.8, 9) + rng.uniform(-0.05, 0.05, 9):
        share = np.linspace(0.0, 1.0, 12)
        strand = points(
            width * start * (1.0 - 0.15 * share),
            -lift * np.sqrt(max(0.0, 1 - start**2)) * (0.97 - 0.2 * share),
        )
        layer.line(strand, shade(person.hair, rng.uniform(1.12, 1.35)), 0.02)
    soft = layer.image.filter(ImageFilter.GaussianBlur(0.012 * canvas.unit_px))
    canvas.image.alpha_composite(soft)
