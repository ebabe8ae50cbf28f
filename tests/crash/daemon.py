"""A skiffd of its own: root, state and cgroup apart from every other, and what it leaves behind."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time


class Failure(Exception):
    """What a test found wrong."""


class Died(Exception):
    """The daemon has ended while a step ran."""


class Daemon:
    # What a daemon found out about the OCI runtime in this boot, to spare the others the trial.
    known_runtime = None

    def __init__(self, bin_dir, folder):
        self.bin, self.folder = pathlib.Path(bin_dir), pathlib.Path(folder)
        self.root, self.state = self.folder / "root", self.folder / "state"
        self.socket = self.state / "skiff.sock"
        self.cgroup = f"skiff-crash-{os.getpid()}-{self.folder.name}"
        self.process = None
        self.folder.mkdir(parents=True)
        self.config = self.folder / "config.toml"
        self.config.write_text(f'root = "{self.root}"\nstate = "{self.state}"\n[log]\nlevel = "debug"\n'
                               f'[runtime]\ncgroup_parent = "/{self.cgroup}"\n'
                               '[gc]\nstartup_delay = "1h"\ndelay = "1h"\ninterval = "0s"\n')

    # --- life ---
    def start(self, must=True, **environment):
        """True once it answers; with must=False False when it ended instead."""
        found = self.state / "runtime.json"
        if self.known_runtime and not found.exists():
            self.state.mkdir(exist_ok=True)
            found.write_bytes(self.known_runtime)
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([self.bin / "skiffd", "--config", self.config], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, env={**os.environ, **environment})
        for _ in wait_for(30):
            if self.process.poll() is not None:
                if must:
                    raise Failure(f"the daemon did not start: {self.process.returncode}")
                return False
            if subprocess.run([self.bin / "skiff", "--address", self.socket, "version"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                Daemon.known_runtime = Daemon.known_runtime or found.read_bytes()
                return True
        raise Failure("the daemon does not answer")

    def dead(self):
        return self.process is None or self.process.poll() is not None

    def wait_dead(self, seconds):
        try:
            self.process.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            return False

    def stop(self):
        """In order; the exit status must be 0."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        if not self.wait_dead(30):
            self.process.kill()
            self.process.wait()
            raise Failure("the daemon did not stop")
        if self.process.returncode != 0:
            raise Failure(f"the daemon ended with {self.process.returncode}")

    def kill(self):
        if not self.dead():
            self.process.kill()
            self.process.wait()

    # --- the CLI ---
    def run(self, *words, input=None, timeout=60, allowed=(0,)):
        """Standard output; raises when the command fails, Died when that was for the daemon's end."""
        try:
            done = subprocess.run([self.bin / "skiff", "--address", self.socket, *map(str, words)], input=input,
                                  capture_output=True, text=True, timeout=timeout,
                                  stdin=subprocess.DEVNULL if input is None else None)
        except subprocess.TimeoutExpired:
            if self.dead():
                raise Died from None
            raise Failure(f"skiff {' '.join(map(str, words))}: no end after {timeout} s") from None
        if done.returncode not in allowed:
            if self.wait_dead(0.2):
                raise Died
            raise Failure(f"skiff {' '.join(map(str, words))}: {done.returncode}: {done.stderr.strip()} {done.stdout[-2000:].strip()}")
        return done.stdout

    def spawn(self, *words):
        return subprocess.Popen([self.bin / "skiff", "--address", self.socket, *map(str, words)],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def log_end(self, lines=25):
        path = self.folder / "log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    # --- what the kernel knows ---
    def mounts(self):
        return [line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
                if line.split()[4].startswith(str(self.folder) + "/")]

    def processes(self):
        """Pids of all that name our folder in their command line, or live in our cgroup, but the daemon."""
        found = set()
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes() + (process / "cgroup").read_bytes()
                if (process / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                    continue  # its parent's to reap, which may be slow on a loaded machine
            except OSError:
                continue  # ended meanwhile
            pid = int(process.name)
            ours = str(self.folder).encode() + b"/" in words or re.search(
                rb"/%s(/|$)" % re.escape(self.cgroup.encode()), words, re.M)
            if ours and pid != os.getpid() and not (self.process and pid == self.process.pid):
                found.add(pid)
        return found

    def cgroups(self):
        return [path for pattern in (f"*/{self.cgroup}", self.cgroup)
                for path in pathlib.Path("/sys/fs/cgroup").glob(pattern)]

    def leftovers(self):
        return ([f"mount {target}" for target in self.mounts()] +
                [f"process {pid} {command_of(pid)}" for pid in self.processes()] + [f"cgroup {path}" for path in self.cgroups()])

    def reboot(self):
        """What a power loss takes that is not on a disk: processes, mounts, cgroups, /run."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for _ in wait_for(10):
            if not self.processes():
                break
        for target in reversed(self.mounts()):
            subprocess.run(["umount", "-l", target], check=False)
        for path in self.cgroups():
            for inner in sorted((p for p in path.rglob("*") if p.is_dir()), reverse=True):
                inner.rmdir()
            path.rmdir()
        shutil.rmtree(self.state, ignore_errors=True)

    def remove(self):
        self.kill()
        self.reboot()
        shutil.rmtree(self.folder, ignore_errors=True)


def command_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "(ended)"


def wait_for(seconds, pause=0.01):
    """Yields until the time is up: for conditions that come true soon."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(pause)
