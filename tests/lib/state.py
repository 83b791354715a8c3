# SPDX-License-Identifier: Apache-2.0
"""Reads the SQLite state beside the server, as docs/state.md invites every user to."""
import os
import sqlite3

MAGIC = b"SQLite format 3\0"


def path(data_dir):
    """The one SQLite file of a data_dir."""
    found = []
    for folder, _, names in os.walk(data_dir):
        for name in names:
            full = os.path.join(folder, name)
            try:
                with open(full, "rb") as f:
                    if f.read(len(MAGIC)) == MAGIC:
                        found.append(full)
            except OSError:
                continue
    if len(found) != 1:
        raise AssertionError(f"one state file expected in {data_dir}, found {found}")
    return found[0]


def rows(data_dir, table):
    """All rows of a table as dicts."""
    db = sqlite3.connect(f"file:{path(data_dir)}?mode=ro", uri=True, timeout=10)
    try:
        db.row_factory = sqlite3.Row
        return [dict(r) for r in db.execute(f'SELECT * FROM "{table}"')]
    finally:
        db.close()


def tables(data_dir):
    return {r["name"] for r in rows(data_dir, "sqlite_master") if r["type"] == "table"}


def is_sound(data_dir):
    db = sqlite3.connect(f"file:{path(data_dir)}?mode=ro", uri=True, timeout=10)
    try:
        return db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    finally:
        db.close()
