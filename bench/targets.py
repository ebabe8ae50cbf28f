"""The project's speed and memory targets, each a number from the results beside its limit."""

import dataclasses


@dataclasses.dataclass
class Target:
    what: str
    measured: float  # None: not measured in this run
    limit: float
    unit: str = "x"
    at_least: bool = False

    @property
    def limit_text(self):
        return f"{'>=' if self.at_least else '<='} {self.limit:g}{self.suffix}"

    @property
    def measured_text(self):
        return "-" if self.measured is None else f"{self.measured:.2f}{self.suffix}"

    @property
    def suffix(self):
        return self.unit if self.unit == "x" else f" {self.unit}"

    @property
    def verdict(self):
        if self.measured is None:
            return "not measured"
        met = self.measured >= self.limit if self.at_least else self.measured <= self.limit
        return "met" if met else "**missed**"


def all_targets(results):
    def ratio(case, other, field="visible", engine="skiff", other_case=None):
        mine, theirs = results.median(case, engine, field), results.median(other_case or case, other, field)
        return mine / theirs if mine is not None and theirs else None

    def wrong(case):
        values = results.values(case, "skiff", "wrong_bytes")
        return sum(values) if values else None

    golang, redis = "pull golang", "pull redis"
    peers = ("ctr", "cri", "docker")
    return [
        Target("pull golang, of the pipeline", ratio(golang, "pipeline"), 1.0),
        *[Target(f"pull golang, of {peer}", ratio(golang, peer), 0.4) for peer in peers],
        *[Target(f"pull golang, CPU seconds, of {peer}", ratio(golang, peer, "cpu"), 0.6) for peer in peers],
        *[Target(f"pull redis, of {peer}", ratio(redis, peer), 0.6) for peer in peers],
        Target("20 pulls of golang, of one", ratio("20 pulls golang", "skiff", other_case=golang), 1.05),
        Target("20 pulls of redis, of one", ratio("20 pulls redis", "skiff", other_case=redis), 1.15),
        Target("20 pulls of golang, blobs not served exactly once", wrong("20 pulls golang"), 0, "blobs"),
        Target("20 pulls of redis, blobs not served exactly once", wrong("20 pulls redis"), 0, "blobs"),
        Target("peak RSS while pulling golang", results.median(golang, "skiff", "peak"), 80, "MB"),
        Target("idle RssAnon", results.median("idle RssAnon", "skiff"), 6, "MB"),
        Target("skiff version --client", results.median("version", "skiff"), 5, "ms"),
        Target("run --rm busybox true, of runc create; start; delete", ratio("run true", "runc", "value"), 1.5),
        *[Target(f"durable commits at {threads} threads, of raw append + fdatasync",
                 results.median("metadata", f"ratio, {threads} threads"), limit, at_least=True)
          for threads, limit in ((8, 3), (64, 8))],
        Target("filtered list of 10,000 images",
               results.median("metadata", "filtered list of 10,000 images, ms"), 20, "ms"),
    ]

