"""Carries out recipes: each layer becomes the upper directory of an overlay on the layers below.

Call it only in a mount namespace of your own: a failure leaves its mounts to the namespace's end.
"""

import contextlib
import hashlib
import os
import pathlib
import shutil
import subprocess

from . import layer_tar, recipes

# A Release file past its date means an old mirror, not a false one: its signature still counts.
APT_OPTIONS = ["Acquire::Check-Valid-Until=false", "Acquire::Check-Date=false"]

# State of a build rather than of the image, different in each run.
CLEAN = """
rm -rf /var/cache/ldconfig/aux-cache /var/cache/debconf/*-old /var/lib/dpkg/*-old /tmp/* /run/*
find /var/log -type f -exec rm {} +
"""

DOWNLOADS = {"apt-lists": "var/lib/apt/lists", "apt-archives": "var/cache/apt/archives"}


class Workshop:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.lists_are_fresh = False

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind, *_):
        # After a failure the layers that are done stay, so the next run goes on from them.
        if kind is None:
            shutil.rmtree(self.folder)

    def tree(self, layers):
        """The directory that holds what the last of `layers` adds to those below it."""
        key = hashlib.sha256(repr(layers).encode()).hexdigest()[:12]
        tree = self.folder / f"{layers[-1].name}-{key}"
        if tree.exists():
            return tree
        draft = tree.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        if len(layers) > 1:
            below = [self.tree(layers[:n]) for n in range(1, len(layers))]
            self._run_layer(draft, layers[-1], below)
        elif layers[0] == recipes.DEBIAN:
            self._debian(draft)
        else:
            busybox(draft)
        draft.rename(tree)
        return tree

    def _debian(self, root):
        run("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--include=ca-certificates",
            *[f"--aptopt={option.replace('=', ' ')}" for option in APT_OPTIONS],
            "--dpkgopt=force-unsafe-io", "bookworm", root)
        for leftover in ("etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap"):
            (root / leftover).unlink(missing_ok=True)
        (root / "etc/resolv.conf").write_text("")
        (root / "etc/hostname").write_text("localhost\n")
        for folder in DOWNLOADS.values():
            shutil.rmtree(root / folder, ignore_errors=True)
            (root / folder).mkdir()
        run("chroot", root, "sh", "-ec", CLEAN)

    def _run_layer(self, upper, layer, below):
        scratch = upper.with_suffix(".scratch")
        shutil.rmtree(scratch, ignore_errors=True)
        for folder in (upper, scratch / "work", scratch / "root"):
            folder.mkdir(parents=True)
        os.chown(upper, 0, 0)
        upper.chmod(0o755)
        root = scratch / "root"
        # volatile: nothing here need survive a crash. No redirects or indexes: a layer must be
        # readable by those who know only whiteouts and opaque directories.
        options = (f"lowerdir={':'.join(map(str, reversed(below)))},upperdir={upper},"
                   f"workdir={scratch / 'work'},volatile,index=off,redirect_dir=off,metacopy=off")
        with contextlib.ExitStack() as mounts:
            mount(mounts, root, "-t", "overlay", "overlay", "-o", options)
            if layer.packages:
                self._install(mounts, root, layer.packages)
            if layer.script:
                run("chroot", root, "/bin/sh", "-ec", layer.script)
            if layer.packages:
                run("chroot", root, "/bin/sh", "-ec", CLEAN)
            for path, name, value in layer.xattrs:
                os.setxattr(root / path, name, value)
            for path, nanoseconds in layer.times:
                os.utime(root / path, ns=(nanoseconds, nanoseconds))
        shutil.rmtree(scratch)

    def _install(self, mounts, root, packages):
        mount(mounts, root / "proc", "-t", "proc", "proc")
        mount(mounts, root / "dev", "--rbind", "/dev")
        mount(mounts, root / "etc/resolv.conf", "--bind", "/etc/resolv.conf")
        for name, place in DOWNLOADS.items():
            (self.folder / name).mkdir(exist_ok=True)
            mount(mounts, root / place, "--bind", self.folder / name)
        options = [f"-o{option}" for option in APT_OPTIONS]
        options += ["-oDir::Cache::pkgcache=", "-oDir::Cache::srcpkgcache=",
                    "-oDPkg::Options::=--force-unsafe-io", "-oAPT::Sandbox::User=root"]
        policy = root / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        if not self.lists_are_fresh:
            run("chroot", root, "apt-get", "-qq", *options, "update")
            self.lists_are_fresh = True
        run("chroot", root, "apt-get", "-qq", "-y", "--no-install-recommends", *options,
            "install", *packages)
        policy.unlink()


def busybox(root):
    """A root file system of one static program and a hard link to it for each of its commands."""
    for folder in ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "var/tmp"):
        (root / folder).mkdir(parents=True)
    for folder in ("tmp", "var/tmp"):
        (root / folder).chmod(0o1777)
    program = root / "bin/busybox"
    shutil.copy("/bin/busybox", program)
    names = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout
    for name in names.split():
        if name != "busybox":
            os.link(program, root / "bin" / name)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
    (root / "etc/group").write_text("root:x:0:\nnobody:x:65534:\n")


def mount(stack, target, *arguments):
    run("mount", *arguments, target)
    stack.callback(run, "umount", "-R", target)


def run(*command):
    """Runs `command`; its output is shown only when it fails."""
    command = [str(word) for word in command]
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", LC_ALL="C", TZ="UTC",
                       SOURCE_DATE_EPOCH=str(layer_tar.EPOCH), PATH=recipes.PATH)
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")
    if done.returncode != 0:
        lines = "\n  ".join(done.stdout.splitlines()[-20:])
        raise SystemExit(f"make-images: {' '.join(command)[:200]} ended with {done.returncode}\n  {lines}")
