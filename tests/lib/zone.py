# SPDX-License-Identifier: Apache-2.0
"""Reads the raw zone as a stranger would: the documented glob, zstd's own tool, Python's json. Nothing of millrace.

Reader.scan() returns every record of the zone and collects in `problems` whatever a reader must never meet: a line
that is not whole JSON, a file without a last LF, a compressed file that does not decode, a staged file among the data,
a published file that changed or went away.
"""
import collections
import glob
import gzip
import json
import os
import re
import subprocess

PATTERN = "source=*/stream=*/ingest_date=*/*.ndjson*"
PLACE = re.compile(r"source=([^/]+)/stream=([^/]+)/ingest_date=(\d{4}-\d\d-\d\d)/[^/]+\.ndjson(\.zst|\.gz)?$")


class Record:
    """One line: where it lies, its raw text and the value that Python's json sees in it."""
    __slots__ = ("file", "source", "stream", "date", "text", "value")

    def __init__(self, file, source, stream, date, text, value):
        self.file, self.source, self.stream, self.date, self.text, self.value = file, source, stream, date, text, value


def decode(path):
    if path.endswith(".zst"):
        done = subprocess.run(["zstd", "-dcq", path], capture_output=True)
        if done.returncode:
            raise ValueError("zstd: " + done.stderr.decode(errors="replace").strip())
        return done.stdout
    if path.endswith(".gz"):
        with gzip.open(path) as f:
            return f.read()
    with open(path, "rb") as f:
        return f.read()


class Reader:
    def __init__(self, root):
        self.root = root
        self.problems = []
        self._seen = {}                                  # path -> (inode, size, mtime_ns)
        self.counts = collections.defaultdict(collections.Counter)   # source -> data.id -> times

    def files(self):
        return sorted(glob.glob(os.path.join(self.root, PATTERN)))

    def records(self, path):
        """The records of one file; what is wrong with it goes to problems."""
        where = os.path.relpath(path, self.root)
        place = PLACE.search(where)
        if not place:
            self.problems.append(f"{where}: not a name of the contract")
            return
        try:
            data = decode(path)
        except (ValueError, OSError, EOFError) as e:
            self.problems.append(f"{where}: torn: {e}")
            return
        if data and not data.endswith(b"\n"):
            self.problems.append(f"{where}: torn: no LF at the end")
        for n, line in enumerate(data.split(b"\n")[:-1], 1):
            try:
                value = json.loads(line.decode("utf-8"))
            except ValueError as e:
                self.problems.append(f"{where}:{n}: torn: {e}")
                continue
            if value.get("source") != place[1]:
                self.problems.append(f"{where}:{n}: lies under source={place[1]} and says {value.get('source')}")
            yield Record(where, place[1], place[2], place[3], line.decode("utf-8"), value)

    def all(self, source=None):
        """Every record, read afresh."""
        return [r for path in self.files() for r in self.records(path) if source in (None, r.source)]

    def scan(self):
        """Counts ids in the files that are new since the last scan, and checks that the old ones are as they were."""
        now = {}
        for path in self.files():
            st = os.stat(path)
            now[path] = (st.st_ino, st.st_size, st.st_mtime_ns)
            if path not in self._seen:
                for rec in self.records(path):
                    self.counts[rec.source][identity(rec.value)] += 1
        for path, mark in self._seen.items():
            if now.get(path) != mark:
                self.problems.append(f"{os.path.relpath(path, self.root)}: changed or gone after it was published")
        self._seen = now
        self.strangers()
        return self.counts

    def strangers(self):
        """Staged files belong under _staging only; a data directory holds data files and nothing else."""
        for folder, dirs, names in os.walk(self.root):
            rel = os.path.relpath(folder, self.root)
            if rel == ".":
                dirs[:] = [d for d in dirs if not d.startswith("_")]
            for name in names:
                if not (PLACE.search(os.path.join(rel, name)) or name.startswith("_")):
                    self.problems.append(f"{rel}/{name}: a reader should never see this file")


def identity(value):
    """The sender's own id of an event: the key `id` of its JSON body, in whichever form the payload landed."""
    data = value.get("data")
    if data is None and "data_text" in value:
        try:
            data = json.loads(value["data_text"])
        except ValueError:
            data = None
    return data["id"] if isinstance(data, dict) and "id" in data else value.get("id")
