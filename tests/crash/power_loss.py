"""Plays a loss of power: everything that no sync has confirmed is spoilt, as a disk may leave it."""

import pathlib
import sqlite3


def spoil(root):
    """How many files were spoilt. The daemon must be dead."""
    root = pathlib.Path(root)
    if not (root / "metadata.db").exists():
        return 0
    spoilt = 0
    database = sqlite3.connect(root / "metadata.db")
    try:
        for digest, in rows(database, "SELECT digest FROM blobs WHERE unconfirmed_boot <> ''"):
            spoilt += truncate(root / "content/blobs" / digest.replace(":", "/"))
        for snapshotter, number in rows(database, "SELECT snapshotter, id FROM snapshots "
                                                  "WHERE unconfirmed_boot <> '' AND kind = 3"):
            for path in sorted((root / "snapshots" / snapshotter / str(number) / "fs").rglob("*")):
                if path.is_file() and not path.is_symlink():
                    spoilt += truncate(path)
    finally:
        database.close()
    for path in (root / "content/ingest").glob("*"):
        spoilt += truncate(path)
    return spoilt


def rows(database, query):
    try:
        return database.execute(query).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []  # died before the schema stood
        raise


def truncate(path):
    """Half of it, then zeros: delayed allocation does both."""
    try:
        size = path.stat().st_size
        with open(path, "r+b") as file:
            file.truncate(size // 2)
            file.truncate(size)
    except OSError:
        return 0
    return 1
