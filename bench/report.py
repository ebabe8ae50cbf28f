"""Results: kept as JSON, shown as Markdown tables with every target marked, and as a plot."""

import dataclasses
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import time

import plot
import targets


class Results:
    """Samples by case and engine: a measure.Sample, or one number."""

    def __init__(self):
        self.samples, self.failures = {}, []

    def add(self, case, engine, sample):
        value = dataclasses.asdict(sample) if dataclasses.is_dataclass(sample) else {"value": sample}
        self.samples.setdefault(case, {}).setdefault(engine, []).append(value)
        shown = "  ".join(f"{k} {v:.2f}" for k, v in value.items() if v is not None)
        print(f"bench: {case:18} {engine:9} {shown}", flush=True)

    def fail(self, case, engine, why):
        self.failures.append((case, engine, why))
        print(f"bench: {case:18} {engine:9} FAILED: {why}", flush=True)

    def values(self, case, engine, field="value"):
        found = self.samples.get(case, {}).get(engine, [])
        return [sample[field] for sample in found if sample.get(field) is not None]

    def median(self, case, engine, field="value"):
        values = self.values(case, engine, field)
        return statistics.median(values) if values else None

    def save(self, path):
        path.write_text(json.dumps({"machine": machine(), "samples": self.samples,
                                    "failures": self.failures}, indent=1) + "\n")


def write(results, out):
    results.save(out / "results.json")
    (out / "benchmarks.svg").write_text(plot.svg(results))
    (out / "benchmarks.md").write_text("\n".join(markdown(results)) + "\n")


def markdown(results):
    yield "# Benchmarks"
    yield ""
    yield f"Written by `make bench`. {machine()}."
    yield ""
    yield """Every engine in one run, taking turns; each measurement on an empty root on disk, with a freshly
started daemon and nothing in the page cache; the registry is Debian's docker-registry on loopback.
Medians, with the least and the greatest in brackets. *Visible*: the client said that the pull was
done. *Durable*: a syncfs after that was done too. *CPU*: user and system seconds of the daemon, of
all children it waited for, and of the client program, from /proc/PID/stat and wait4 (the CRI client, and the one that makes 20 calls to dockerd, are part of
the benchmark and not counted); the registry's
are not counted. *Peak*: VmHWM of the daemon's processes, reset before the pull, summed. *Bytes*:
by the registry's log, each layer was served exactly once."""
    yield ""
    yield "## Targets"
    yield ""
    yield "| target | limit | measured | |"
    yield "|---|---|---|---|"
    for target in targets.all_targets(results):
        yield f"| {target.what} | {target.limit_text} | {target.measured_text} | {target.verdict} |"
    yield ""
    yield "![pull times](benchmarks.svg)"
    yield ""
    for case in (c for c in results.samples if "pull" in c):
        yield f"## {case}"
        yield ""
        yield "| | visible, s | x skiff | durable, s | CPU, s | peak, MB | bytes |"
        yield "|---|---|---|---|---|---|---|"
        own = results.median(case, "skiff", "visible")
        for engine in results.samples[case]:
            visible = results.median(case, engine, "visible")
            ratio = f"{visible / own:.2f}" if own else ""
            wrong = sum(results.values(case, engine, "wrong_bytes"))
            yield (f"| {engine} | {spread(results, case, engine, 'visible')} | {ratio} "
                   f"| {spread(results, case, engine, 'durable')} | {spread(results, case, engine, 'cpu')} "
                   f"| {spread(results, case, engine, 'peak', '.0f')} | {'once' if not wrong else 'more'} |")
        yield ""
    units = {"idle RssAnon": "MB", "idle RSS": "MB", "run true": "ms", "version": "ms", "metadata": ""}
    for case in (c for c in units if c in results.samples):
        yield f"## {case}"
        yield ""
        yield f"| | {units[case]} | samples |"
        yield "|---|---|---|"
        for engine in results.samples[case]:
            yield f"| {engine} | {spread(results, case, engine, 'value')} | {len(results.values(case, engine))} |"
        yield ""
    if results.failures:
        yield "## Not measured"
        yield ""
        for case, engine, why in results.failures:
            yield f"- {case}, {engine}: {why.splitlines()[0][:200]}"


def spread(results, case, engine, field, form=".2f"):
    values = results.values(case, engine, field)
    if not values:
        return ""
    text = format(statistics.median(values), form)
    if len(values) > 1:
        text += f" ({min(values):{form}}-{max(values):{form}})"
    return text


def machine():
    model = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gunzip = "unpigz" if shutil.which("unpigz") else "Go's own gzip"
    peers = ", ".join(filter(None, (version("containerd"), version("docker.io"), version("runc"))))
    return (f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores ({model}), {memory:.0f} GiB, Linux {platform.release()}; "
            f"{peers}; containerd and dockerd inflate with {gunzip}")


def version(package):
    done = subprocess.run(["dpkg-query", "-W", "-f=${Package} ${Version}", package], capture_output=True, text=True)
    return done.stdout
