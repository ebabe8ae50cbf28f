"""Debian's docker-registry on loopback, filled from OCI layouts, with a log of what it served."""

import collections
import ctypes
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

PR_SET_PDEATHSIG = 1
# The access log has one line a request in Apache's combined format.
SERVED = re.compile(r'"(GET|HEAD) /v2/(\S+)/(blobs|manifests)/(\S+) HTTP/[\d.]+" (\d+) (\d+) ')
CONFIG = """version: 0.1
log: {{level: error, accesslog: {{disabled: false}}}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "{address}"}}
"""


class Registry:
    """Runs from construction to close(); dies with this process in any case."""

    def __init__(self, folder, host="127.0.0.1", port=5000):
        self.folder = pathlib.Path(folder)
        self.address = f"{host}:{port}"
        self.root = self.folder / "registry"
        self.log = self.folder / "registry.log"
        self.root.mkdir(parents=True)
        config = self.folder / "registry.yml"
        config.write_text(CONFIG.format(root=self.root, address=self.address))
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=out, stderr=out,
                                            stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        wait_for_port(host, port, self.process)

    def add(self, layout):
        """Every image of the OCI layout `layout`, as <folder's name>:<ref name>.

        Goes straight into the registry's storage (its file system driver's tree, unchanged since
        2.0), by hard links where these can be: a push would copy and hash each byte twice. So whoever
        spoils a stored blob writes a new file, not into this one.
        """
        layout = pathlib.Path(layout)
        names = []
        for entry in json.loads((layout / "index.json").read_text())["manifests"]:
            tag = entry["annotations"]["org.opencontainers.image.ref.name"]
            manifest = json.loads(self._add_blob(layout, entry["digest"]).read_text())
            repository = self.root / "docker/registry/v2/repositories" / layout.name
            for part in (manifest["config"], *manifest["layers"]):
                self._add_blob(layout, part["digest"])
                link(repository / "_layers", part["digest"])
            link(repository / "_manifests/revisions", entry["digest"])
            link(repository / f"_manifests/tags/{tag}/index", entry["digest"])
            current = repository / f"_manifests/tags/{tag}/current/link"
            current.parent.mkdir(exist_ok=True)
            current.write_text(entry["digest"])
            names.append(f"{self.address}/{layout.name}:{tag}")
        return names

    def _add_blob(self, layout, digest):
        algorithm, name = digest.split(":")
        blob = self.blob_path(digest)
        if not blob.exists():
            blob.parent.mkdir(parents=True)
            try:
                blob.hardlink_to(layout / "blobs" / algorithm / name)
            except OSError:  # another file system
                shutil.copy(layout / "blobs" / algorithm / name, blob)
        return blob

    def blob_path(self, digest):
        algorithm, name = digest.split(":")
        return self.root / "docker/registry/v2/blobs" / algorithm / name[:2] / name / "data"

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class AccessLog:
    """What a registry's log says it sent."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def mark(self):
        """A point in the log, for served()."""
        return self.path.stat().st_size

    def served(self, since=0):
        """Bytes that bodies of blobs carried since a mark(), by digest."""
        with open(self.path, "rb") as log:
            log.seek(since)
            text = log.read().decode(errors="replace")
        total = collections.Counter()
        for method, _, kind, digest, status, size in SERVED.findall(text):
            if method == "GET" and kind == "blobs" and status.startswith("2"):
                total[digest] += int(size)
        return total


def link(folder, digest):
    path = folder / digest.replace(":", "/") / "link"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(digest)


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_for_port(host, port, process, seconds=20):
    end = time.monotonic() + seconds
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == 0:
                return
        if time.monotonic() > end:
            process.kill()
            raise SystemExit(f"registry: nothing listens on {host}:{port} after {seconds} s")
        time.sleep(0.02)
    raise SystemExit(f"registry: docker-registry ended with {process.returncode}")
