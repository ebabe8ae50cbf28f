"""What the daemon does while it is killed. Each scenario gets a running daemon and the registry's
address; a step after the daemon's death raises Died. Between them they reach every crash point."""

BASE, STACK = "busybox:latest", "stack:latest"


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


SCENARIOS = {"life": life}
