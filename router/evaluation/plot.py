"""A reliability plot as SVG, written by hand: no plotting library is worth a dependency for one figure. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from router.evaluation.reliability import Bin

SIDE: Final = 260
"""Of a panel, in pixels."""
MARGIN: Final = 48
DOT: Final = 4
TICKS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
NAMES: Final = {"en": "English", "zh": "Chinese", "all": "all languages"}


def reliability_svg(bins: Mapping[str, Sequence[Bin]], errors: Mapping[str, float]) -> str:
    """One panel per language: what was predicted against what came true; on the diagonal a probability means what it says."""
    width, height = len(bins) * (SIDE + MARGIN) + MARGIN // 2, SIDE + 2 * MARGIN
    panels = [_panel(name, points, errors[name], MARGIN + place * (SIDE + MARGIN)) for place, (name, points) in enumerate(bins.items())]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        'aria-label="Reliability of P(slow)" font-family="sans-serif" font-size="11" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        *panels,
        "</svg>",
        "",
    ])


def _panel(name: str, points: Sequence[Bin], error: float, left: int) -> str:
    def place(predicted: float, observed: float) -> tuple[float, float]:
        return left + predicted * SIDE, MARGIN + (1 - observed) * SIDE

    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(point["predicted"], point["observed"]) for point in points))
    dots = [_dot(*place(point["predicted"], point["observed"])) for point in points]
    return "\n".join([
        f'<text x="{left}" y="{MARGIN - 12}" font-size="13">{NAMES.get(name, name)}: ECE {error:.3f}</text>',
        f'<rect x="{left}" y="{MARGIN}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#bbb"/>',
        f'<path d="M{left} {MARGIN + SIDE} L{left + SIDE} {MARGIN}" stroke="#999" stroke-dasharray="4 4"/>',
        *(_ticks(tick, left) for tick in TICKS),
        f'<polyline points="{line}" fill="none" stroke="#2b6cb0" stroke-width="1.5"/>',
        *dots,
        f'<text x="{left + SIDE / 2}" y="{MARGIN + SIDE + 34}" text-anchor="middle">P(slow), mean of each bin</text>',
        f'<text transform="translate({left - 34} {MARGIN + SIDE / 2}) rotate(-90)" text-anchor="middle">share that was slow</text>',
    ])


def _dot(x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{DOT}" fill="#2b6cb0"/>'


def _ticks(value: float, left: int) -> str:
    x, y = left + value * SIDE, MARGIN + (1 - value) * SIDE
    return (
        f'<text x="{x:.1f}" y="{MARGIN + SIDE + 16}" text-anchor="middle">{value:g}</text>'
        f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
    )
