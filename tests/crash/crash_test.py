#!/usr/bin/python3
"""Ends the daemon at every crash point, with and without a loss of power, and looks what is left.

    crash_test.py --bin DIR [--workers N] [--only TEXT] [--keep]

For each point that `skiffd crash-points` lists, before and after its step: a daemon of its own dies
there while a scenario runs. Then it starts again (for a loss of power: in another boot, and all that
was not synced is spoilt). It must start, `skiff fsck --deep` must find nothing, a second pull and a
run must work, and after its stop no mount, process or cgroup may be left. After a loss of power an image
whose bytes were still on their way to the disk may be incomplete, until it is pulled again. A point that no
scenario reaches, and that scenarios.py does not say is tested elsewhere, fails the test.

Runs inside tools/with-registry, as root.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import power_loss  # noqa: E402
from daemon import Daemon, Died, Failure, wait_for  # noqa: E402
from scenarios import BASE, BOOTS, SCENARIOS, STACK, tested_elsewhere  # noqa: E402

# What fsck may say after a loss of power: pulling again is the answer to both.
HURT = {"image-incomplete", "unconfirmed"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="where skiffd and skiff are")
    parser.add_argument("--workers", type=int, default=2 * (os.cpu_count() or 1))
    parser.add_argument("--only", default="", help="points whose name holds this")
    parser.add_argument("--keep", action="store_true", help="leave the folders of what failed")
    args = parser.parse_args()
    test = CrashTest(args)
    with tempfile.TemporaryDirectory(prefix="skiff-crash-", ignore_cleanup_errors=True) as scratch:
        test.scratch = pathlib.Path(scratch)
        return test.run()


class CrashTest:
    def __init__(self, args):
        self.args, self.registry = args, os.environ["SKIFF_REGISTRY"]
        self.failed = []

    def run(self):
        points = subprocess.run([self.args.bin / "skiffd", "crash-points"], check=True, capture_output=True,
                                text=True).stdout.split()
        reached = self.trace()
        cases = []
        for point in points:
            if self.args.only not in point:
                continue
            if point not in reached:
                if not tested_elsewhere(point):
                    self.failed.append(f"{point}: no scenario reaches it")
                continue
            cases += [(point, when, loss) for when in ("before", "after") for loss in (False, True)]
        with concurrent.futures.ThreadPoolExecutor(self.args.workers) as pool:
            for case, problem in pool.map(lambda case: (case, self.attempt(case, reached[case[0]])), cases):
                if problem:
                    self.failed.append(f"{name_of(case)}: {problem}")
                    print(f"FAILED {self.failed[-1]}", flush=True)
        print(f"crash_test: {len(points)} points, {len(cases)} deaths, {len(self.failed)} failures")
        print("\n".join(line.splitlines()[0] for line in self.failed))
        return 1 if self.failed else 0

    def trace(self):
        """Which scenario reaches which point: {point: scenario}. All of them must succeed undisturbed."""
        reached = {}
        for name, scenario in SCENARIOS.items():
            daemon = Daemon(self.args.bin, self.scratch / f"trace-{name}")
            trace = daemon.folder / "trace"
            try:
                if scenario.before:
                    scenario.before(daemon, self.registry)
                daemon.start(SKIFF_CRASH_TRACE=str(trace), SKIFF_BOOT_ID=scenario.boot)
                scenario.steps(daemon, self.registry)
                daemon.stop()
                check_nothing_left(daemon)
            except (Failure, Died) as error:
                self.failed.append(f"scenario {name}, undisturbed: {error!r}\n{daemon.log_end()}")
                print(f"FAILED {self.failed[-1]}", flush=True)
            for point in trace.read_text().split() if trace.exists() else []:
                reached.setdefault(point, scenario)
            daemon.remove()
        return reached

    def attempt(self, case, scenario):
        point, when, loss = case
        daemon = Daemon(self.args.bin, self.scratch / name_of(case))
        try:
            die_at(daemon, f"{point}:{when}", scenario, self.registry)
            if loss:
                daemon.reboot()
                power_loss.spoil(daemon.root)
            daemon.start(SKIFF_BOOT_ID=BOOTS[2] if loss else scenario.boot)
            check_whole(daemon, self.registry, HURT if loss or scenario.before else set())
            daemon.stop()
            check_nothing_left(daemon)
        except (Failure, Died, OSError, subprocess.SubprocessError) as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            return f"{type(error).__name__} {error} (line {where.lineno})\n{daemon.log_end()}"
        finally:
            if not self.args.keep:
                daemon.remove()
        return None


def name_of(case):
    point, when, loss = case
    return f"{point}-{when}{'-loss' if loss else ''}"


def die_at(daemon, place, scenario, registry):
    if scenario.before:
        scenario.before(daemon, registry)
    try:
        if daemon.start(must=False, SKIFF_CRASH_AT=place, SKIFF_BOOT_ID=scenario.boot):
            scenario.steps(daemon, registry)
            daemon.stop()
    except Died:
        pass
    except Failure:
        if not daemon.dead():
            raise
    if not daemon.wait_dead(5) or daemon.process.returncode != -9:
        raise Failure(f"it did not die at {place}")


def check_whole(daemon, registry, allowed):
    expect_sound(daemon, allowed)
    stack = f"{registry}/{STACK}"
    daemon.run("pull", f"{registry}/{BASE}", stack)
    if daemon.run("run", "--rm", "--net", "none", stack, "echo", "whole") != "whole\n":
        raise Failure("the second run printed something else")
    daemon.run("gc")
    expect_sound(daemon, set())


def expect_sound(daemon, allowed):
    """What was half made is cleared away in the background, so it gets a moment."""
    for _ in wait_for(10, pause=0.1):
        found = json.loads(daemon.run("--json", "fsck", "--deep", allowed=(0, 1)))["findings"]
        wrong = [finding for finding in found if finding["kind"] not in allowed]
        if not wrong:
            return
    raise Failure(f"fsck: {wrong}")


def check_nothing_left(daemon):
    left = []
    for _ in wait_for(5):
        left = daemon.leftovers()
        if not left:
            return
    raise Failure("left behind: " + ", ".join(left))


if __name__ == "__main__":
    sys.exit(main())
