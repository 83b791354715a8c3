# SPDX-License-Identifier: Apache-2.0
"""Fills a state store of millrace with event ids that have landed, as docs/state.md has the tables: random ones, over the last seven days."""
import datetime
import os
import sqlite3

DAYS = 7


def fill(path, count):
    """Adds `count` ids; the server is stopped. Returns the bytes of the database."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = DELETE")
    db.execute("PRAGMA synchronous = OFF")
    today = datetime.datetime.now(datetime.timezone.utc).date()
    for n in range(DAYS):
        day, each = today - datetime.timedelta(days=n), count // DAYS
        table = "seen_" + day.strftime("%Y%m%d")
        db.execute(f"CREATE TABLE IF NOT EXISTS {table}(id BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID, STRICT")
        raw = os.urandom(16 * each)
        ids = sorted(raw[i:i + 16] for i in range(0, len(raw), 16))
        db.executemany(f"INSERT INTO {table} VALUES(?, x'0011223344556677')", ((i,) for i in ids))
        db.execute("INSERT INTO seen_days(day, ids) VALUES(?, ?) ON CONFLICT(day) DO UPDATE SET ids = ids + excluded.ids", (day.isoformat(), each))
        db.commit()
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    return os.path.getsize(path)
