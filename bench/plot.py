"""A bar chart of the pulls, as SVG by hand: a median's bar with a line from least to greatest."""

import html

COLORS = {"skiff": "#1f6feb", "pipeline": "#8b949e", "ctr": "#d29922", "cri": "#bf8700", "docker": "#db6d28"}
LEFT, WIDTH, BAR, GAP = 150, 560, 18, 4


def svg(results):
    rows, y = [], 24
    longest = max((max(results.values(case, engine, "visible"), default=0)
                   for case in results.samples for engine in results.samples[case]), default=0) or 1
    for case in (c for c in results.samples if "pull" in c):
        rows.append(f'<text x="8" y="{y}" font-weight="bold">{html.escape(case)}, seconds to visible</text>')
        y += 10
        for engine in results.samples[case]:
            values = results.values(case, engine, "visible")
            median = results.median(case, engine, "visible")
            low, middle, high = (LEFT + WIDTH * v / longest for v in (min(values), median, max(values)))
            center = y + BAR / 2
            rows += [
                f'<text x="{LEFT - 8}" y="{center + 4}" text-anchor="end">{engine}</text>',
                f'<rect x="{LEFT}" y="{y}" width="{middle - LEFT:.1f}" height="{BAR}" fill="{COLORS.get(engine, "#888")}"/>',
                f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{center}" y2="{center}" stroke="black"/>',
                f'<text x="{high + 6:.1f}" y="{center + 4}">{median:.2f}</text>',
            ]
            y += BAR + GAP
        y += 24
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 80}" height="{y}" '
            f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n'
            + "\n".join(rows) + "\n</svg>\n")
