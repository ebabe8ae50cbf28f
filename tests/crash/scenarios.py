"""What the daemon does while it is killed: each scenario's steps get a running daemon and the registry's
address; a step after the daemon's death raises Died. Between them they reach the daemon's crash points."""

import dataclasses
import sqlite3
import typing

import power_loss
from daemon import Failure, wait_for

BASE, STACK = "busybox:latest", "stack:latest"
BOOTS = ("11111111-boot", "22222222-boot", "33333333-boot")


@dataclasses.dataclass(frozen=True)
class Scenario:
    steps: typing.Callable
    # What a daemon did, undisturbed, in an earlier boot.
    before: typing.Callable = None

    @property
    def boot(self):
        return BOOTS[1 if self.before else 0]


def life(daemon, registry):
    """From an empty root through everything a user does."""
    stack, base = f"{registry}/{STACK}", f"{registry}/{BASE}"
    daemon.run("pull", stack)
    daemon.run("run", "--rm", "--net", "none", stack, "true")
    daemon.run("run", "--name", "kept", "--net", "none", stack, "true")
    daemon.run("tag", stack, "local/copy:1")
    daemon.run("push", "local/copy:1", f"{registry}/pushed:1")
    archive = daemon.folder / "archive.tar"
    daemon.run("save", "-o", archive, "local/copy:1")
    daemon.run("pull", base)
    daemon.run("rm", "kept")
    daemon.run("rmi", stack)
    daemon.run("rmi", "local/copy:1")
    daemon.run("gc")
    daemon.run("load", "-i", archive)
    daemon.run("rmi", base)
    daemon.run("gc")


def settle(daemon, registry):
    """A pull, until all of it is on the disk."""
    daemon.run("pull", f"{registry}/{STACK}")
    for _ in wait_for(15, pause=0.1):
        daemon.run("version")
        database = sqlite3.connect(f"file:{daemon.root}/metadata.db?mode=ro", uri=True)
        waiting = sum(database.execute(f"SELECT count(*) FROM {table} WHERE unconfirmed_boot <> ''").fetchone()[0]
                      for table in ("blobs", "snapshots"))
        database.close()
        if waiting == 0:
            return
    raise Failure("what was pulled is not confirmed after 15 s")


def lose_layers(daemon, registry):
    """A pull whose layers, but not whose blobs, a power loss takes."""
    daemon.start(SKIFF_BOOT_ID=BOOTS[0])
    daemon.run("pull", f"{registry}/{STACK}")
    daemon.kill()
    daemon.reboot()
    power_loss.spoil_layers(daemon.root)


def run_it(daemon, registry):
    daemon.run("run", "--rm", "--net", "none", "--pull", "never", f"{registry}/{STACK}", "true")


SCENARIOS = {"life": Scenario(life), "settle": Scenario(settle), "rebuild": Scenario(run_it, lose_layers)}

# Points, or their first letters, that no scenario reaches, and what tests them instead.
ELSEWHERE = {
    "cli.": "not the daemon's: the CLI writes its own files",
    "content.": "store_crash_test walks every point of this folder",
    "snapshot.": "store_crash_test walks every point of this folder",
    "proxy.": "needs an external snapshotter: snapshot_proxy_test plays its crashes",
    "engine.container.start": "no command starts a created container yet: engine_test",
    "metadata.confirm.failed": "needs a disk that fails to sync: metadata_test",
    "metadata.repair": "no command repairs yet: metadata_test",
    "native.lease.remove": "no command makes a lease that lasts",
}


def tested_elsewhere(point):
    return any(point.startswith(start) for start in ELSEWHERE)
