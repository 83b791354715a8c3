# SPDX-License-Identifier: Apache-2.0
"""Counts event ids in a raw zone. Shares no code with millrace: it knows layout and envelope from their contract."""
import json
import pathlib
import subprocess

READERS = {".zst": ["zstdcat"], ".gz": ["zcat"], ".ndjson": ["cat"]}


def lines_of(path):
    """Every line of one file of the zone, as bytes; a file that its reader cannot finish is an error."""
    with subprocess.Popen(READERS[path.suffix] + [str(path)], stdout=subprocess.PIPE) as reader:
        yield from reader.stdout
    if reader.returncode != 0:
        raise RuntimeError(f"{path}: {READERS[path.suffix][0]} exited with {reader.returncode}")


class Zone:
    """The ids of one zone, read file by file; a published file never changes, so each is read once."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.seen_files = set()
        self.counts = {}  # run -> {id: times}
        self.wrong = []   # lines that are not as the contract says

    def read_new_files(self):
        for path in sorted(self.root.glob("source=*/stream=*/ingest_date=*/*.ndjson*")):
            if path.suffix == ".part" or path in self.seen_files:
                continue
            self.seen_files.add(path)
            for number, line in enumerate(lines_of(path), 1):
                self._count(path, number, line)

    def _count(self, path, number, line):
        try:
            record = json.loads(line)
            event = record["data"]["id"]
            if record["id"] != event or not line.endswith(b"\n"):
                raise ValueError("id differs from the body's")
        except (ValueError, KeyError, TypeError) as error:
            self.wrong.append(f"{path}:{number}: {error}")
            return
        run = self.counts.setdefault(event.split("-")[0], {})
        run[event] = run.get(event, 0) + 1

    def check(self, run, acked_path):
        """Compares one sender's run with its list. Returns (acknowledged, missing, doubled, landed without a 2xx)."""
        landed = self.counts.pop(run, {})
        with open(acked_path, encoding="ascii") as file:
            acked = file.read().split()
        missing = sum(1 for event in acked if event not in landed)
        doubled = sum(1 for times in landed.values() if times > 1)
        return len(acked), missing, doubled, len(landed) - (len(acked) - missing)
