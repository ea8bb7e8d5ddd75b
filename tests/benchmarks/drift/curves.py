"""Curves as one SVG, by plain code: it is read on light and dark pages alike, and needs no library."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73")  # told apart by people who see fewer colours (Okabe and Ito)
_DASHES: Final = ("", "6 3", "2 3")
_WIDTH, _HEIGHT = 360, 250  # of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 16, 34, 46
_STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#222}.b{font-weight:600}.g{stroke:#ccc}path,line{fill:none}svg{background:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.g{stroke:#444}svg{background:#111}}"
)


@dataclass(frozen=True)
class Panel:
    """Shares between 0 and 1 over sizes, by name of the line."""

    title: str
    size: str
    sizes: Sequence[float]
    lines: Mapping[str, Sequence[float]]


def pictured(panels: Sequence[Panel]) -> str:
    """The panels, two in a row."""
    rows = -(-len(panels) // 2)
    width, height = 2 * _WIDTH, rows * _HEIGHT + 26
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">']
    parts.append(f"<title>Share of drifts that are found</title><style>{_STYLE}</style>")
    parts += _legend(list(panels[0].lines))
    for i, panel in enumerate(panels):
        parts.append(f'<g transform="translate({i % 2 * _WIDTH} {26 + i // 2 * _HEIGHT})">{"".join(_panel(panel))}</g>')
    return "\n".join([*parts, "</svg>", ""])


def _legend(names: Sequence[str]) -> Iterator[str]:
    for i, name in enumerate(names):
        x = _LEFT + 130 * i
        yield f'<path d="M{x} 18h26" {_line(i)}/><text x="{x + 32}" y="22">{escape(name)}</text>'


def _panel(panel: Panel) -> Iterator[str]:
    yield f'<text class="b" x="{_LEFT}" y="22">{escape(panel.title)}</text>'
    for share in (0, 0.5, 1):
        y = _y(share)
        yield f'<line class="g" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{share:.0%}</text>'
    most = max(panel.sizes)
    for size in panel.sizes:
        if size >= most / 8:  # the smallest would lie upon each other
            yield f'<text x="{_x(size, most)}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{size:g}</text>'
    yield f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 12}" text-anchor="middle">{escape(panel.size)}</text>'
    for i, line in enumerate(panel.lines.values()):
        at = " ".join(f"{_x(size, most)},{_y(share)}" for size, share in zip(panel.sizes, line, strict=True))
        yield f'<path d="M{at}" {_line(i)}/>'


def _line(i: int) -> str:
    dash = f' stroke-dasharray="{_DASHES[i]}"' if _DASHES[i] else ""
    return f'stroke="{_COLOURS[i]}" stroke-width="2"{dash}'


def _x(size: float, most: float) -> float:
    return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * size / most, 1)


def _y(share: float) -> float:
    return round(_TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - share), 1)
