"""Writes an overlay's upper directory as a gzip layer, the same bytes for the same tree."""

import dataclasses
import hashlib
import os
import pathlib
import stat
import subprocess
import tarfile

EPOCH = 1700000000  # whatever a build touched carries this time
NAMESPACES = ("user.", "security.capability")


@dataclasses.dataclass(frozen=True)
class Blob:
    path: pathlib.Path
    digest: str
    diff_id: str


def pack(tree):
    """The layer of `tree`, written beside it."""
    path = tree.with_suffix(".tar.gz")
    diff_id = path.with_suffix(".diff-id")
    if not diff_id.exists():
        diff_id.write_text(_write(tree, path))
    return Blob(path, _sha256(path), diff_id.read_text())


def _write(tree, path):
    # gzip itself and not a parallel or faster one: images in registries are made of one DEFLATE
    # stream a layer at about this level.
    with open(path, "wb") as out:
        gzip = subprocess.Popen(["gzip", "-n", "-6"], stdin=subprocess.PIPE, stdout=out)
        sink = _HashingPipe(gzip.stdin)
        with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            _Walk(tree, tar).folder(tree)
        gzip.stdin.close()
        if gzip.wait() != 0:
            raise SystemExit(f"make-images: gzip of {tree} ended with {gzip.returncode}")
    return "sha256:" + sink.hash.hexdigest()


class _HashingPipe:
    def __init__(self, pipe):
        self.pipe, self.hash = pipe, hashlib.sha256()

    def write(self, data):
        self.hash.update(data)
        self.pipe.write(data)
        return len(data)


class _Walk:
    def __init__(self, tree, tar):
        self.tree, self.tar, self.seen = tree, tar, {}

    def folder(self, folder):
        for entry in sorted(os.scandir(folder), key=lambda e: os.fsencode(e.name)):
            path = pathlib.Path(entry.path)
            info = entry.stat(follow_symlinks=False)
            if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
                self._mark(path.with_name(".wh." + path.name))
            elif not stat.S_ISSOCK(info.st_mode):
                self._entry(path, info)
                if stat.S_ISDIR(info.st_mode):
                    self.folder(path)

    def _mark(self, path):
        whiteout = tarfile.TarInfo(str(path.relative_to(self.tree)))
        whiteout.mtime = EPOCH
        self.tar.addfile(whiteout)

    def _entry(self, path, info):
        entry = tarfile.TarInfo(str(path.relative_to(self.tree)))
        entry.mode = stat.S_IMODE(info.st_mode)
        entry.uid, entry.gid = info.st_uid, info.st_gid
        self._set_time(entry, info)
        self._set_type(entry, path, info)
        xattrs = {name: os.getxattr(path, name, follow_symlinks=False)
                  for name in os.listxattr(path, follow_symlinks=False)}
        for name, value in xattrs.items():
            if name.startswith(NAMESPACES):
                entry.pax_headers["SCHILY.xattr." + name] = value.decode("utf-8", "surrogateescape")
        if entry.isreg():
            with open(path, "rb") as file:
                self.tar.addfile(entry, file)
        else:
            self.tar.addfile(entry)
        if xattrs.get("trusted.overlay.opaque") == b"y":
            self._mark(path / ".wh..wh..opq")

    @staticmethod
    def _set_time(entry, info):
        seconds, nanoseconds = divmod(info.st_mtime_ns, 10**9)
        if seconds > EPOCH:
            seconds, nanoseconds = EPOCH, 0
        entry.mtime = seconds
        if nanoseconds:
            entry.pax_headers["mtime"] = f"{seconds}.{nanoseconds:09}"

    def _set_type(self, entry, path, info):
        mode = info.st_mode
        if stat.S_ISDIR(mode):
            entry.type = tarfile.DIRTYPE
        elif stat.S_ISLNK(mode):
            entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(path)
        elif stat.S_ISFIFO(mode):
            entry.type = tarfile.FIFOTYPE
        elif not stat.S_ISREG(mode):
            entry.type = tarfile.CHRTYPE if stat.S_ISCHR(mode) else tarfile.BLKTYPE
            entry.devmajor, entry.devminor = os.major(info.st_rdev), os.minor(info.st_rdev)
        elif info.st_nlink > 1 and info.st_ino in self.seen:
            entry.type, entry.linkname = tarfile.LNKTYPE, self.seen[info.st_ino]
        else:
            self.seen[info.st_ino] = entry.name
            entry.size = info.st_size


def _sha256(path):
    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
