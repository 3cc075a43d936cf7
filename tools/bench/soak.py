#!/usr/bin/env python3
"""Draws what `deem bench serve --log LOG` has written: the server's memory and right answers over time, as SVG on stdout.

    tools/bench/soak.py LOG > docs/images/soak.svg
"""

import json
import sys

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 240, 56, 32


def line(points, across, up, colour):
    """A curve through points, scaled so that `across` and `up` are the far ends of the axes."""
    at = [
        f"{LEFT + x / across * (WIDTH - 2 * LEFT):.1f},{HEIGHT - BOTTOM - y / up * (HEIGHT - 2 * BOTTOM):.1f}"
        for x, y in points
    ]
    return f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(at)}"/>'


def main(log):
    rows = [json.loads(row) for row in open(log)]
    minutes = [row["seconds"] / 60 for row in rows]
    memory = [row["memory_bytes"] / 1e6 for row in rows]
    right = [row["right"] / 1000 for row in rows]
    across, most, answers = max(minutes), 1.2 * max(memory), 1.2 * max(right)
    label = '<text x="{}" y="{}" text-anchor="{}" fill="{}">{}</text>'
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">')
    print(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>')
    base = HEIGHT - BOTTOM
    print(f'<path d="M{LEFT},{BOTTOM} V{base} H{WIDTH - LEFT} V{BOTTOM}" fill="none" stroke="#888"/>')
    print(line(zip(minutes, memory), across, most, "#0072b2"))
    print(line(zip(minutes, right), across, answers, "#d55e00"))
    print(label.format(LEFT, 20, "start", "#0072b2", "memory of the server, MB"))
    print(label.format(WIDTH - LEFT, 20, "end", "#d55e00", "right answers, thousands"))
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = base - share * (HEIGHT - 2 * BOTTOM) + 4
        print(label.format(LEFT - 6, y, "end", "#0072b2", f"{share * most:.0f}"))
        print(label.format(WIDTH - LEFT + 6, y, "start", "#d55e00", f"{share * answers:.0f}"))
        print(label.format(LEFT + share * (WIDTH - 2 * LEFT), HEIGHT - 12, "middle", "#444", f"{share * across:.0f} min"))
    print("</svg>")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
