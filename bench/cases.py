"""What is measured. Each case adds samples to the results under (case, engine)."""

import contextlib
import json
import os
import pathlib
import select
import shutil
import subprocess
import time

import engines
import measure
import registry

IMAGES = {"golang": "golang:1.19", "redis": "redis:7"}
BUSYBOX = "busybox:latest"
MANY = 20
RUNS = 15
# containerd's client unpacks each of twenty pulls by itself (minutes for a large image): once, redis.
CTR_MANY_ROUNDS = {"redis": 1, "golang": 0}


class Bench:
    def __init__(self, chosen, rounds, scratch, results):
        self.engines, self.rounds, self.scratch, self.results = chosen, rounds, scratch, results
        self.address = os.environ["SKIFF_REGISTRY"]
        self.storage = os.environ["SKIFF_REGISTRY_ROOT"]
        self.log = registry.AccessLog(os.environ["SKIFF_REGISTRY_LOG"])
        self.serial = 0

    def started(self, kind):
        """An engine on an empty root, as a context."""
        self.serial += 1
        return Started(kind(self.address), self.scratch / f"{kind.name}-{self.serial}")

    def each(self, case, action, rounds=None, skip=()):
        """action(kind) -> Sample, for each engine in each round, taking turns. An engine that fails
        is said so and left out of the rest of this case."""
        failed = set(skip)
        for turn in range(rounds or self.rounds):
            for kind in self.engines:
                if kind.name in failed:
                    continue
                try:
                    sample = action(kind, turn)
                except (RuntimeError, OSError) as error:
                    failed.add(kind.name)
                    self.results.fail(case, kind.name, str(error))
                    continue
                if sample:
                    self.results.add(case, kind.name, sample)


class Started:
    def __init__(self, engine, folder):
        self.engine, self.folder = engine, folder

    def __enter__(self):
        try:
            self.engine.start(self.folder)
        except BaseException:
            self.engine.stop()
            raise
        return self.engine

    def __exit__(self, *_):
        self.engine.stop()


def pull(bench):
    for name, image in IMAGES.items():
        bench.each(f"pull {name}", lambda kind, _, image=image: one_pull(bench, kind, image, 1))


def many(bench):
    for name, image in IMAGES.items():
        def action(kind, turn, name=name, image=image):
            if kind.name == "ctr" and turn >= CTR_MANY_ROUNDS[name]:
                return None
            return one_pull(bench, kind, image, MANY)
        bench.each(f"{MANY} pulls {name}", action, skip=("pipeline",))


def one_pull(bench, kind, image, count):
    with bench.started(kind) as engine:
        measure.chill(bench.storage, engine.folder)
        mark = bench.log.mark()
        pids = engine.pids()
        measure.reset_peak(pids)
        before, start = measure.cpu_seconds(pids), time.monotonic()
        client = engine.pull(image) if count == 1 else engine.pull_many(image, count)
        visible = time.monotonic() - start
        # Right at the end: what a later clean-up uses is not the pull's.
        cpu = measure.cpu_seconds(engine.pids()) - before + client
        peak = measure.memory_mb(engine.pids(), "VmHWM") if pids else None
        measure.sync_file_system(engine.folder)
        durable = time.monotonic() - start
        served = bench.log.served(mark)
        wrong = sum(served[digest] != size for digest, size in engines.image_layers(bench.address, image))
        return measure.Sample(visible, durable, cpu, peak, wrong)


def idle(bench):
    """Memory of a daemon that has started and has had nothing to do for three seconds."""
    def action(kind, _):
        if kind.name in ("pipeline", "cri"):
            return None
        with bench.started(kind) as engine:
            time.sleep(3)  # a quiet time is what is measured
            bench.results.add("idle RSS", kind.name, measure.memory_mb(engine.pids(), "VmRSS"))
            return measure.memory_mb(engine.pids(), "RssAnon")
    bench.each("idle RssAnon", action, rounds=1)


def run(bench):
    """`true` in a busybox container without network: milliseconds, engines taking turns."""
    with contextlib.ExitStack() as stack:
        runners = {"runc": Runc(bench.address, bench.scratch / "runc").run} if shutil.which("runc") else {}

        def runner(engine):
            return lambda: measure.spawn(engine.run_command(BUSYBOX, "/bin/true"))[0]

        for kind in bench.engines:
            if kind.name in ("pipeline", "cri"):
                continue
            try:
                engine = stack.enter_context(bench.started(kind))
                engine.pull(BUSYBOX)
                runners[kind.name] = runner(engine)
            except (RuntimeError, OSError) as error:
                bench.results.fail("run true", kind.name, str(error))
        for turn in range(RUNS + 1):
            for name, once in list(runners.items()):
                try:
                    seconds = once()
                except RuntimeError as error:
                    del runners[name]
                    bench.results.fail("run true", name, str(error))
                    continue
                if turn > 0:  # the first one warms caches
                    bench.results.add("run true", name, seconds * 1000)


class Runc:
    """runc create; start; wait for the end; delete: what an engine cannot do without."""

    def __init__(self, address, folder):
        self.folder = folder
        root = folder / "rootfs"
        root.mkdir(parents=True)
        digest = engines.image_layers(address, BUSYBOX)[0][0]
        subprocess.run(f"curl -sSf http://{address}/v2/busybox/blobs/{digest} | tar -xz -C {root}", shell=True, check=True)
        subprocess.run(["runc", "spec", "--bundle", folder], check=True)
        config = json.loads((folder / "config.json").read_text())
        config["process"].update(args=["/bin/true"], terminal=False)
        (folder / "config.json").write_text(json.dumps(config))

    def run(self):
        name, pid_file = f"skiff-bench-{time.monotonic_ns()}", self.folder / "pid"
        def runc(*words):
            subprocess.run(["runc", "--root", self.folder / "state", *words], check=True, stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        start = time.monotonic()
        runc("create", "--bundle", self.folder, "--pid-file", pid_file, name)
        exited = os.pidfd_open(int(pid_file.read_text()))
        runc("start", name)
        select.select([exited], [], [])
        os.close(exited)
        runc("delete", name)
        return time.monotonic() - start


def client(bench):
    """How long the command line takes to say its own version."""
    program = engines.BIN / "skiff"
    if not program.exists():
        return
    for _ in range(50):
        bench.results.add("version", "skiff", measure.spawn([program, "version", "--client"])[0] * 1000)


def metadata(bench):
    """The store's own program: durable commits a second beside a raw append + fdatasync at several
    thread counts, and a filtered list of 10,000 images."""
    program = engines.BIN / "metadata_micro_bench"
    if not program.exists():
        return bench.results.fail("metadata", "skiff", f"no {program}")
    for _ in range(bench.rounds):
        done = subprocess.run([program, "--json", "--dir", bench.scratch], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        for row in found["commits"]:
            for name in ("commits_per_second", "raw_per_second", "ratio"):
                bench.results.add("metadata", f"{name}, {row['threads']} threads", row[name])
        bench.results.add("metadata", "filtered list of 10,000 images, ms", found["list"]["filtered_ms"])
    return None


CASES = {"pull": pull, "many": many, "idle": idle, "run": run, "client": client, "metadata": metadata}
