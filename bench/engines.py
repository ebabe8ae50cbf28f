"""The container engines that are measured, each with a root of its own below a scratch folder.

An Engine is started afresh for each measurement, pulls, runs, and is stopped by its process id.
All answer to the same few calls, so a case need not know which one it measures.
"""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import measure
import registry

REPO = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("SKIFF_BIN_DIR", REPO / "build" / "release" / "bin"))


class Engine:
    name = ""
    programs = ()  # what must be installed

    def __init__(self, address):
        self.address = address  # of the registry
        self.folder = None
        self.process = None

    @classmethod
    def missing(cls):
        return [program for program in cls.programs if not shutil.which(program)]

    def start(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        command = self.daemon_command()
        if not command:
            return
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, preexec_fn=registry.die_with_parent)
        end = time.monotonic() + 60
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{self.name} did not start:\n" + (self.folder / "log").read_text()[-2000:])
            time.sleep(0.02)

    def stop(self):
        if self.process:
            descendants = measure.tree(self.process.pid)[1:]
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            for pid in descendants:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process = None
        # Deepest first: an engine may have left mounts below its root.
        mounts = [line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
        for mount in sorted((m for m in mounts if m.startswith(str(self.folder) + "/")), reverse=True):
            subprocess.run(["umount", "-l", mount], check=False)
        subprocess.run(["rm", "-rf", self.folder], check=True)

    def pids(self):
        return measure.tree(self.process.pid) if self.process else []

    # What an engine must say:
    def daemon_command(self):
        return None

    def is_ready(self):
        return self.socket.exists() and connects(self.socket)

    @property
    def socket(self):
        return self.folder / "engine.sock"

    def pull(self, image):
        """Pulls <registry>/<image>; returns the client's CPU seconds."""
        raise NotImplementedError

    def pull_many(self, image, count):
        """`count` pulls at once; from one client process where the engine has such a client."""
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            return sum(pool.map(lambda _: self.pull(image), range(count)))

    def run_command(self, image, *command):
        """The command line that runs `command` in a container without network and removes it."""
        return None


class Skiff(Engine):
    name = "skiff"
    programs = (str(BIN / "skiffd"), str(BIN / "skiff"))

    def daemon_command(self):
        config = self.folder / "config.toml"
        config.write_text(f'root = "{self.folder}/root"\nstate = "{self.folder}/state"\n'
                          f'[runtime]\ncgroup_parent = "/{self.folder.name}"\n')
        return [BIN / "skiffd", "--config", config]

    @property
    def socket(self):
        return self.folder / "state" / "skiff.sock"

    def skiff(self, *words):
        return [BIN / "skiff", "--address", self.socket, *words]

    def pull(self, image):
        return measure.spawn(self.skiff("pull", "--plain-http", f"{self.address}/{image}"))[1]

    def pull_many(self, image, count):
        return measure.spawn(self.skiff("pull", "--plain-http", "--concurrency", count,
                                        *[f"{self.address}/{image}"] * count))[1]

    def run_command(self, image, *command):
        return self.skiff("run", "--rm", "--net", "none", f"{self.address}/{image}", *command)


class Containerd(Engine):
    """containerd with its command-line client; twenty pulls are twenty clients, as it has no other way."""

    name = "ctr"
    programs = ("containerd", "ctr")

    def daemon_command(self):
        config = self.folder / "config.toml"
        config.write_text(f"""version = 2
root = "{self.folder}/root"
state = "{self.folder}/state"
disabled_plugins = ["io.containerd.internal.v1.restart", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
address = "{self.socket}"
[ttrpc]
address = "{self.socket}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
path = "{self.folder}/opt"
[plugins."io.containerd.grpc.v1.cri".registry.mirrors."{self.address}"]
endpoint = ["http://{self.address}"]
""")
        return ["containerd", "--config", config, "--log-level", "warn"]

    def is_ready(self):
        with contextlib.suppress(RuntimeError):
            if super().is_ready():
                measure.spawn(self.ctr("version"))
                return True
        return False

    def ctr(self, *words):
        return ["ctr", "--address", self.socket, "--namespace", "bench", *words]

    def pull(self, image):
        return measure.spawn(self.ctr("images", "pull", "--plain-http", f"{self.address}/{image}"))[1]

    def run_command(self, image, *command):
        return self.ctr("run", "--rm", f"{self.address}/{image}", f"bench-{time.monotonic_ns()}", *command)


class Cri(Containerd):
    """The same daemon through its CRI service; all pulls over one gRPC connection."""

    name = "cri"
    programs = ("containerd",)
    channel = None

    def start(self, folder):
        import grpc
        super().start(folder)
        self.channel = grpc.insecure_channel(f"unix:{self.socket}")
        end = time.monotonic() + 30
        while True:
            try:
                return self.call("ImageService/ListImages", b"")
            except grpc.RpcError as error:
                if time.monotonic() > end:
                    raise RuntimeError(f"containerd's CRI service: {error.details()}") from error
                time.sleep(0.05)

    def stop(self):
        if self.channel:
            self.channel.close()
        super().stop()

    def call(self, method, request):
        """Messages are plain bytes: the two fields we need are not worth a generated module."""
        return self.channel.unary_unary(f"/runtime.v1.{method}")(request, timeout=600)

    def pull(self, image):
        # PullImageRequest.image = 1, ImageSpec.image = 1 (runtime.v1 api.proto)
        self.call("ImageService/PullImage", field(1, field(1, f"{self.address}/{image}".encode())))
        return 0.0

    def run_command(self, image, *command):
        return None


class Docker(Engine):
    """dockerd with the containerd that it starts for itself."""

    name = "docker"
    programs = ("dockerd", "docker", "containerd")

    def daemon_command(self):
        return ["dockerd", "--host", f"unix://{self.socket}", "--data-root", self.folder / "root",
                "--exec-root", self.folder / "exec", "--pidfile", self.folder / "pid",
                "--config-file", self.empty_config(), "--bridge=none", "--iptables=false",
                "--ip-forward=false", "--ip-masq=false", "--storage-driver=overlay2",
                "--insecure-registry", self.address, "--log-level=warn"]

    def empty_config(self):
        path = self.folder / "daemon.json"
        path.write_text("{}")
        return path

    def is_ready(self):
        with contextlib.suppress(OSError):
            return super().is_ready() and self.request("GET", "/_ping") == b"OK"
        return False

    def docker(self, *words):
        program = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"
        return [program, "--config", self.folder / "client", "--host", f"unix://{self.socket}", *words]

    def pull(self, image):
        return measure.spawn(self.docker("pull", "-q", f"{self.address}/{image}"))[1]

    def pull_many(self, image, count):
        name, tag = image.split(":")
        def one(_):
            events = self.request("POST", f"/images/create?fromImage={self.address}/{name}&tag={tag}")
            if b'"error"' in events:
                raise RuntimeError(events.decode()[-500:])
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            list(pool.map(one, range(count)))
        return 0.0

    def request(self, method, path):
        connection = http.client.HTTPConnection("docker")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.socket))
        with contextlib.closing(connection):
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read()
            if response.status >= 400:
                raise RuntimeError(f"docker: {method} {path}: {body.decode()}")
            return body

    def run_command(self, image, *command):
        return self.docker("run", "--rm", "--net=none", f"{self.address}/{image}", *command)


class Pipeline(Engine):
    """No engine: what the machine's own tools need for the bytes of an image. Each layer at the same
    time as the others: fetched, kept, hashed, inflated, hashed, and unpacked into its own folder."""

    name = "pipeline"
    programs = ("curl", "igzip", "tar", "sha256sum")
    LAYER = """set -o pipefail
curl -sSf "$1" | tee "$2.blob" >(sha256sum >"$2.blob-sum") | igzip -dc - |
  tee >(sha256sum >"$2.diff-sum") | tar -x -p --numeric-owner -C "$2" """

    def pull(self, image):
        folder = self.folder / f"pull-{time.monotonic_ns()}"
        layers = image_layers(self.address, image)
        folder.mkdir()
        script = "\n".join(f'mkdir {n}; layer http://{self.address}/v2/{image.split(":")[0]}/blobs/{digest} {n} & pids+=($!)'
                           for n, (digest, _) in enumerate(layers))
        return measure.spawn(["bash", "-c", f"""cd {folder}; pids=()
layer() {{ {self.LAYER}; }}
{script}
status=0; for pid in ${{pids[@]}}; do wait $pid || status=1; done; wait; exit $status"""])[1]


ENGINES = {engine.name: engine for engine in (Skiff, Pipeline, Containerd, Cri, Docker)}


def image_layers(address, image):
    """(digest, size) of each layer of an image that the registry holds."""
    name, tag = image.split(":")
    connection = http.client.HTTPConnection(address)
    with contextlib.closing(connection):
        connection.request("GET", f"/v2/{name}/manifests/{tag}",
                           headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
        manifest = json.loads(connection.getresponse().read())
    return [(layer["digest"], layer["size"]) for layer in manifest["layers"]]


def connects(path):
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def field(number, value):
    """A length-delimited protobuf field."""
    length, size = len(value), b""
    while length > 127:
        size += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + value
