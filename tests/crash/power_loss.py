"""Plays a loss of power: everything that no sync has confirmed is spoilt, as a disk may leave it."""

import pathlib
import sqlite3


def spoil(root):
    """The daemon must be dead."""
    root = pathlib.Path(root)
    for digest, in rows(root, "SELECT digest FROM blobs WHERE unconfirmed_boot <> ''"):
        truncate(root / "content/blobs" / digest.replace(":", "/"))
    for path in (root / "content/ingest").glob("*"):
        truncate(path)
    spoil_layers(root)


def spoil_layers(root):
    root = pathlib.Path(root)
    for snapshotter, number in rows(root, "SELECT snapshotter, id FROM snapshots "
                                          "WHERE unconfirmed_boot <> '' AND kind = 3"):
        for path in sorted((root / "snapshots" / snapshotter / str(number) / "fs").rglob("*")):
            if path.is_file() and not path.is_symlink():
                truncate(path)


def rows(root, query):
    if not (root / "metadata.db").exists():
        return []
    database = sqlite3.connect(root / "metadata.db")
    try:
        return database.execute(query).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []  # died before the schema stood
        raise
    finally:
        database.close()


def truncate(path):
    """Half of it, then zeros: delayed allocation does both."""
    try:
        size = path.stat().st_size
        with open(path, "r+b") as file:
            file.truncate(size // 2)
            file.truncate(size)
    except FileNotFoundError:
        pass
