"""A pull's trace (Chrome's trace events, as `skiff pull --trace` writes it) as text for a terminal."""

import json

WIDTH = 60
# Where stretches overlap, as in a stream they do, the one nearest the disk is shown.
LETTERS = {"wait": ".", "resolve": "r", "fetch": "f", "inflate": "i", "untar": "u", "fix-up": "x", "commit": "c"}
ORDER = {name: rank for rank, name in enumerate(LETTERS)}


def lines(text):
    events = json.loads(text)["traceEvents"]
    lanes = {event["tid"]: (event["args"]["name"], []) for event in events if event["ph"] == "M"}
    for event in events:
        if event["ph"] == "X":
            lanes[event["tid"]][1].append(event)
    end = max((e["ts"] + e["dur"] for _, spans in lanes.values() for e in spans), default=0) or 1
    names = max((len(name) for name, _ in lanes.values()), default=0)
    for name, spans in lanes.values():
        row = [" "] * WIDTH
        for span in sorted(spans, key=lambda e: ORDER.get(e["name"], len(ORDER))):
            first = int(span["ts"] / end * WIDTH)
            last = max(first + 1, round((span["ts"] + span["dur"]) / end * WIDTH))
            row[first:last] = LETTERS.get(span["name"], span["name"][0]) * (min(last, WIDTH) - first)
        sums = {}
        for span in spans:
            sums[span["name"]] = sums.get(span["name"], 0) + span["dur"] / 1e6
        told = " ".join(f"{stage} {seconds:.2f}" for stage, seconds in sums.items() if seconds >= 0.005)
        yield f"  {name:{names}} |{''.join(row)[:WIDTH]}| {told}"
    key = ", ".join(f"{letter} {name}" for name, letter in LETTERS.items())
    yield f"  {'':{names}}  0{f'{end / 1e6:.2f} s':>{WIDTH - 1}}  ({key})"
