# SPDX-License-Identifier: Apache-2.0
"""The readers of the pull bench: each takes a whole table, in a process and a folder of its own; then the ids in what it wrote are counted, each once."""
import json
import os
import pathlib
import subprocess

import postgres
from lib.peers import first_line
from lib.reader import Ids, Reader
from lib.tools import BENCH, BUILD

TOOLS = BUILD / "bench-tools"
DLT, TAP, INGESTR = TOOLS / "pg-dlt/bin/python", TOOLS / "pg-tap/bin/tap-postgres", TOOLS / "pg-ingestr/bin/ingestr"
SLING = TOOLS / "pg-sling/sling"
JSON_ID, ZONE_ID, TAP_ID, CSV_ID, BARE_ID = rb'"id": ?(\d+)', rb'"data":\{"id":(\d+)', rb'"record": ?\{"id": ?(\d+)', rb'^"?(\d+)"?,', rb"^(\d+)$"


class Puller(Reader):
    slow = False                                  # one turn only, over fewer rows: pace is all that it is asked for
    program = None
    expected = True                               # missing is an error, not a note

    def missing(self):
        return super().missing() or ("" if self.program is None or os.access(self.program, os.X_OK) else f"{self.program} (bench/lib/install-debian.sh)")

    @property
    def server(self):
        return self.source.server

    @property
    def env(self):
        return self.server.environment

    def run(self, source, folder):
        """A cell of the table; `wrong` says what is wrong with the rows."""
        cell = super().run(source, folder)
        return {**cell, "rows": source.count, "heap_mb": source.heap_mb, "wrong": self.fault()}

    def ids(self, pattern):
        return Ids(pattern, self.source.count)

    def fault(self):
        return self.ids(JSON_ID).add_output("cat", self.file).fault()

    def told(self, number):
        return "" if number == self.source.count else f"{number:,} rows instead of {self.source.count:,}"


class Millrace(Puller):
    """`run --once` with a config of one stream; the program's own defaults but for what the row is about."""

    def __init__(self, binary, name, label, stream, compression, memory=None, slow=False):
        self.program, self.name, self.label, self.stream, self.compression, self.memory = pathlib.Path(binary).absolute(), name, label, stream, compression, memory
        self.kept, self.needs, self.slow = "disk", ("zstdcat",), slow

    def missing(self):
        return Reader.missing(self) or ("" if os.access(self.program, os.X_OK) else f"{self.program} (build it, or give --millrace)")

    @property
    def env(self):
        return {}

    def command(self):
        config = write_config(self.folder, self.server, {"orders": {"table": f"public.{self.source.name}", "key": ["id"], **self.stream}}, self.compression, self.memory,
                              **({"max_row": "1MiB"} if self.memory else {}))
        return [self.program, "run", "--once", "-c", config]

    def files(self):
        return zone_files(self.folder, "orders")

    def fault(self):
        files = self.files()
        if not files:
            return "no file in the zone"
        return self.ids(ZONE_ID).add_output("zstdcat" if self.compression == "zstd" else "cat", *files).fault()


def write_config(folder, server, streams, compression="none", memory=None, **source):
    """millrace.yaml in the folder. JSON is YAML."""
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    secret = folder / "password"
    secret.write_text(postgres.PASSWORD + "\n")
    secret.chmod(0o600)
    config = folder / "millrace.yaml"
    config.write_text(json.dumps({
        "environment": "bench", "data_dir": str(folder / "data"), "zone": {"url": f"file:{folder}/zone", "compression": compression},
        "admin": {"listen": "127.0.0.1:0"}, "http": {"listen": "127.0.0.1:0"}, **({"limits": {"memory": memory}} if memory else {}),
        "sources": {"shop": {"postgres": {"dsn": server.conninfo, "password": f"${{file:{secret}}}", **source, "streams": streams}}}}))
    return config


def zone_files(folder, stream="*"):
    return sorted(pathlib.Path(folder, "zone/source=shop").glob(f"stream={stream}/ingest_date=*/*.ndjson*"))


class Bound(Puller):
    def __init__(self, programs, mode, label, kept):
        self.program, self.name, self.mode, self.label, self.kept = programs / "mr_bench_postgres_bound", mode, mode, label, kept

    def command(self):
        return [self.program, self.server.conninfo, self.source.name, self.mode, *([] if self.mode == "null" else [self.file])]

    def files(self):
        return [] if self.mode == "null" else [self.file]

    def fault(self):
        if self.mode == "null":
            return self.told(int(self.stdout.read_text()))
        return self.ids(JSON_ID).add_output("cat" if self.mode == "lines" else "zstdcat", self.file).fault()


class Psql(Puller):
    """Says itself how many rows there were."""

    needs, kept = ("psql",), "nothing"

    def __init__(self, form):
        self.form, self.name, self.label = form, f"psql-{form}", f"psql, COPY {form} to /dev/null"

    def command(self):
        return ["psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", f"\\copy {self.source.name} to '/dev/null' (format {self.form})", self.server.conninfo]

    def files(self):
        return []

    def fault(self):
        return self.told(int(self.stdout.read_text().split()[1]))


class Dlt(Puller):
    program, kept = DLT, "page cache"

    def __init__(self, backend, form, label, slow):
        self.backend, self.form, self.name, self.label, self.slow = backend, form, f"dlt-{backend}", label, slow

    @property
    def env(self):
        return {"BENCH_URL": self.server.url_for(), "RUNTIME__DLTHUB_TELEMETRY": "false", "DLT_DATA_DIR": str(self.folder / "dlt"), "HOME": str(self.folder)}

    def command(self):
        return [DLT, BENCH / "peers/dlt/pull.py", self.backend, self.source.name, self.folder, self.form]

    def files(self):
        return sorted((self.folder / "files/bench" / self.source.name).glob("*"))

    def fault(self):
        files = self.files()
        if not files:
            return "no files"
        if self.form == "parquet":
            return self.ids(BARE_ID).add_output(DLT, BENCH / "peers/dlt/parquet_ids.py", *files).fault()
        return self.ids(JSON_ID).add_output("zcat", "-f", *files).fault()


class Tap(Puller):
    """The catalog is made beforehand. Its lines go into a file, as a target would read them."""

    program, name, label, kept, slow = TAP, "tap", "Singer tap-postgres 0.10.0 (MeltanoLabs), lines", "page cache", True

    def prepare(self):
        config, self.catalog = self.folder / "config.json", self.folder / "catalog.json"
        config.write_text(json.dumps({"host": "127.0.0.1", "port": self.server.port, "user": "postgres", "password": postgres.PASSWORD, "database": "postgres", "filter_schemas": ["public"]}))
        done = subprocess.run([TAP, "--config", config, "--discover"], capture_output=True, check=False, cwd=self.folder, timeout=120)
        if done.returncode:
            raise RuntimeError(f"tap-postgres --discover: {done.stderr.decode()[-500:]}")
        catalog = json.loads(done.stdout)
        catalog["streams"] = [self.choose(s) for s in catalog["streams"] if s["tap_stream_id"] == f"public-{self.source.name}"]
        self.catalog.write_text(json.dumps(catalog))

    @staticmethod
    def choose(stream):
        for entry in stream["metadata"]:
            entry["metadata"]["selected"] = True
        return {**stream, "replication_method": "FULL_TABLE"}

    def command(self):
        return [TAP, "--config", self.folder / "config.json", "--catalog", self.catalog]

    @property
    def stdout(self):
        return self.file

    def fault(self):
        return self.ids(TAP_ID).add_output("cat", self.file).fault()


class Ingestr(Puller):
    """One process with goroutines; the URIs by its environment, as nobody else should read them."""

    program, name, label, kept, expected = INGESTR, "ingestr", "ingestr 0.15.9, CSV", "page cache", False

    @property
    def env(self):
        return {"SOURCE_URI": self.server.url_for(), "DESTINATION_URI": f"csv://{self.file}", "HOME": str(self.folder), "DISABLE_TELEMETRY": "true", "INGESTR_DISABLE_TELEMETRY": "true"}

    def command(self):
        return [INGESTR, "ingest", "--source-table", f"public.{self.source.name}", "--dest-table", "bench.orders", "--yes", "--progress", "log"]

    def fault(self):
        return self.ids(CSV_ID).add_output("cat", self.file).fault()


class Sling(Puller):
    program, name, label, kept, expected = SLING, "sling", "Sling 1.4.11, JSON lines", "page cache", False

    @property
    def file(self):
        return self.folder / "out.jsonl"

    @property
    def env(self):
        return {"SHOP": self.server.url_for("postgres"), "SLING_HOME_DIR": str(self.folder / "home"), "HOME": str(self.folder), "SLING_DISABLE_TELEMETRY": "TRUE"}

    def command(self):
        return [SLING, "run", "--src-conn", "SHOP", "--src-stream", f"public.{self.source.name}", "--tgt-object", f"file://{self.file}"]

    def fault(self):
        return self.ids(JSON_ID).add_output("cat", self.file).fault()


FIRST_PULL = {"mode": "incremental", "watermark": "updated_at"}
PLAIN, PACKED = "millrace", "millrace-zstd"
PEERS = ("dlt-connectorx", "dlt-sqlalchemy", "tap", "ingestr", "sling")


def all_pullers(programs, binary, memory):
    """Every row of the table, in its order."""
    return [
        Millrace(binary, PLAIN, "**millrace**, first pull, plain", FIRST_PULL, "none", memory),
        Millrace(binary, PACKED, "**millrace**, first pull, zstd", FIRST_PULL, "zstd", memory),
        Millrace(binary, "snapshot", "**millrace**, snapshot, plain", {"mode": "snapshot"}, "none", memory),
        Millrace(binary, "snapshot-zstd", "**millrace**, snapshot, zstd", {"mode": "snapshot"}, "zstd", memory),
        Bound(programs, "null", "the null bound: libpq, binary COPY", "nothing"),
        Bound(programs, "lines", "the lines bound: + JSON lines, one file, synced", "disk"),
        Bound(programs, "zstd", "the zstd bound: + zstd level 1, same thread", "disk"),
        Psql("text"),
        Psql("binary"),
        Dlt("connectorx", "parquet", "dlt 1.31.0, connectorx, Parquet", False),
        Ingestr(),
        Sling(),
        Dlt("sqlalchemy", "jsonl", "dlt 1.31.0, sqlalchemy, JSON lines, gzip", True),
        Tap(),
    ]


def versions(binary, server):
    return {
        "millrace": first_line([str(binary), "--version"]),
        "PostgreSQL": server.version,
        "libpq": first_line(["pkg-config", "--modversion", "libpq"]),
        "libzstd": first_line(["pkg-config", "--modversion", "libzstd"]),
        "psql": first_line(["psql", "--version"]),
    }
