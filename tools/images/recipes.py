"""The images: what is in each layer. Layers shared by two images are built once."""

import dataclasses
import hashlib
import struct

PATH = "/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclasses.dataclass(frozen=True)
class Layer:
    """`packages` are installed, then `script` runs, both inside the layers below; then `xattrs`
    (path, name, value) and `times` (path, ns) are set. The two bases stand on nothing: "debian" is
    a minimal Debian, "busybox" one static program."""

    name: str
    script: str = ""
    packages: tuple = ()
    xattrs: tuple = ()
    times: tuple = ()


@dataclasses.dataclass(frozen=True)
class Image:
    name: str
    tag: str
    layers: tuple
    config: dict = dataclasses.field(hash=False)

    def recipe(self):
        """Changes when what the image is made of changes."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


DEBIAN = Layer("debian")
BUSYBOX = Layer("busybox")

# What application images add to a distribution's base: a user, a supervisor, the program (nearly
# all of the bytes), a volume, an entry point.
REDIS = Image("redis", "7", (
    DEBIAN,
    Layer("redis-user", "groupadd -r -g 999 redis; useradd -r -g redis -u 999 -d /data redis"),
    Layer("redis-tools", packages=("tini", "gosu")),
    Layer("redis-server", packages=("redis-server", "redis-tools", "procps")),
    Layer("redis-data", "mkdir /data; chown redis:redis /data"),
    Layer("redis-entrypoint", """cat >/usr/local/bin/docker-entrypoint.sh <<'END'
#!/bin/sh
set -e
case "$1" in -*) set -- redis-server "$@" ;; esac
exec "$@"
END
chmod 755 /usr/local/bin/docker-entrypoint.sh"""),
), {
    "Env": [f"PATH={PATH}"],
    "Entrypoint": ["docker-entrypoint.sh"],
    "Cmd": ["redis-server"],
    "WorkingDir": "/data",
    "ExposedPorts": {"6379/tcp": {}},
    "Volumes": {"/data": {}},
})

# A development image: four layers of tens to hundreds of megabytes and very many small files.
GOLANG = Image("golang", "1.19", (
    DEBIAN,
    Layer("golang-fetch", packages=("curl", "wget", "gnupg", "netbase")),
    Layer("golang-vcs", packages=("git", "openssh-client", "subversion", "procps")),
    Layer("golang-cc", packages=("g++", "gcc", "libc6-dev", "make", "pkg-config", "autoconf",
                                 "automake", "file", "patch")),
    Layer("golang-go", "ln -s /usr/lib/go-1.19 /usr/local/go", packages=("golang-1.19",)),
    Layer("golang-gopath", "mkdir -p /go/src /go/bin; chmod -R 1777 /go"),
    Layer("golang-links", "for p in go gofmt; do ln -s ../lib/go-1.19/bin/$p /usr/bin/$p; done"),
), {
    "Env": [f"PATH=/go/bin:{PATH}", "GOPATH=/go"],
    "Cmd": ["bash"],
    "WorkingDir": "/go",
})

ONE_PROGRAM = Image("busybox", "latest", (BUSYBOX,), {"Env": ["PATH=/bin"], "Cmd": ["sh"]})

# cap_net_raw=ep as the kernel stores it (linux/capability.h, struct vfs_cap_data, revision 2).
NET_RAW = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)

# Small, but with what large images seldom show: removed and replaced directories, hard links into
# lower layers, sparse and special files, xattrs, a file capability, times below the second.
STACK = Image("stack", "latest", (
    BUSYBOX,
    Layer("stack-files", """mkdir -p a/b c d/old
echo one >a/one; echo two >a/b/two; echo kept >c/kept; echo old >d/old/file
ln a/one a/b/one-again; ln -s ../a/one c/link; mkfifo a/fifo; mknod a/null c 1 3
truncate -s 1M a/sparse; cp bin/busybox a/program
chown 1000:1001 a/b/two; chmod 4755 a/one; ln -s nowhere c/dangling""",
          xattrs=(("a/one", "user.origin", b"stack"), ("a/program", "security.capability", NET_RAW)),
          times=(("a/b/two", 1234567890_123456789), ("a/one", 1_000000001), ("d/old", 0))),
    Layer("stack-removed", "rm a/b/two; rm -r d; mkdir d; echo new >d/file; rm c/link; mkdir c/link"),
    Layer("stack-changed", "echo more >>a/one; chmod 700 c; mv c/kept c/moved; echo two >a/b/two"),
), {"Env": ["PATH=/bin"], "Cmd": ["sh"], "User": "0:0", "Labels": {"stack": "yes"}})

IMAGES = {image.name: image for image in (ONE_PROGRAM, STACK, REDIS, GOLANG)}
SETS = {"small": ["busybox", "stack"], "all": list(IMAGES)}
