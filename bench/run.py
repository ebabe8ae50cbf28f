#!/usr/bin/python3
"""Measures skiff beside the peers that are installed, in one run, taking turns.

    tools/with-registry bench/run.py [--rounds 3] [--cases pull,...] [--engines skiff,...] [--out DIR]

Run it inside tools/with-registry (make bench does): in a network namespace whose registry holds
the images. Each measurement starts its engine on an empty root on disk, with nothing in the page
cache. Writes results.json, benchmarks.md and benchmarks.svg to DIR (default build/bench); with
--publish also docs/benchmarks.md and docs/benchmarks.svg.
"""

import argparse
import os
import pathlib
import shutil
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(HERE.parent / "tools")]
import cases  # noqa: E402
import engines  # noqa: E402
import report  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", type=lambda text: text.split(","), default=list(cases.CASES))
    parser.add_argument("--engines", type=lambda text: text.split(","), default=list(engines.ENGINES))
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "build" / "bench")
    parser.add_argument("--publish", action="store_true", help="write docs/benchmarks.* too")
    args = parser.parse_args()
    if "SKIFF_REGISTRY" not in os.environ:
        parser.error("there is no registry: run this inside tools/with-registry")

    chosen = []
    for name in args.engines:
        missing = engines.ENGINES[name].missing()
        if missing:
            print(f"bench: {name} is left out: no {', '.join(missing)}", flush=True)
        else:
            chosen.append(engines.ENGINES[name])

    # Roots go on disk, where an engine's root is, not on a /tmp that may be memory.
    args.out.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="scratch-", dir=args.out.resolve()))
    results = report.Results()
    try:
        bench = cases.Bench(chosen, args.rounds, scratch, results)
        for name in args.cases:
            cases.CASES[name](bench)
            results.save(args.out / "results.json")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    report.write(results, args.out)
    if args.publish:
        for name in ("benchmarks.md", "benchmarks.svg"):
            shutil.copy(args.out / name, HERE.parent / "docs" / name)
    print((args.out / "benchmarks.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
