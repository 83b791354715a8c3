# SPDX-License-Identifier: Apache-2.0
"""What the pull bench asks of millrace alone: memory against the size of the table, a pull that finds nothing, many tables, and the time from a commit to its landing."""
import contextlib
import os
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import threading
import time

from lib import pgserver, proc, pullers, table
from lib.reader import Ids

SMALL_MEMORY = "64MiB"
TABLES, TABLE_ROWS = 200, 1000
POLL_S = 0.5
SAMPLE = re.compile(r"^(\w+)(?:\{[^}]*\})? ([0-9.eE+-]+)$", re.MULTILINE)


class Serving:
    """`millrace run` until it is stopped."""

    def __init__(self, binary, folder, server, streams, **source):
        self.folder, self.port = pathlib.Path(folder), proc.free_port()
        config = pullers.write_config(self.folder, server, streams, **source)
        config.write_text(config.read_text().replace('"admin": {"listen": "127.0.0.1:0"}', f'"admin": {{"listen": "127.0.0.1:{self.port}"}}'))
        self.process = proc.start([str(binary), "run", "-c", str(config)], self.folder, self.folder / "log")
        self.begun = time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        proc.stop(self.process)

    def metric(self, name):
        """The sum over its labels, 0 before it is there."""
        return sum(float(value) for found, value in SAMPLE.findall(proc.http_get(self.port, "/metrics") or "") if found == f"millrace_postgres_{name}")

    def until(self, ready, what, seconds=120):
        proc.until(ready, self.process, f"millrace, {what} (log: {self.folder / 'log'})", seconds)

    def until_rows(self, count):
        self.until(lambda: self.metric("rows_total") >= count, f"{count:,} rows landed")

    def cpu_seconds(self):
        return proc.cpu_seconds([self.process.pid])

    def stop(self):
        status = proc.stop(self.process)
        if status:
            raise RuntimeError(f"millrace ended with {status}; its log: {self.folder / 'log'}")


# -- memory ----------------------------------------------------------------------------------------------------------------

def memory(binary, folder, server, tables):
    """Peak MB of first pulls by limits.memory and rows."""
    cells, one = {}, pgserver.Orders(server, "orders_one", 1)
    for limit in (None, SMALL_MEMORY):
        for source in (one, *tables):
            reader = pullers.Millrace(binary, "memory", "", pullers.FIRST_PULL, "zstd", limit)
            where = folder / f"memory-{limit}-{source.count}"
            cell = cells[limit, source.count] = reader.run(source, where)
            if cell["wrong"]:
                raise RuntimeError(f"memory: {cell['wrong']}; its log: {where / 'log'}")
            shutil.rmtree(where)
    return cells


def memory_tables(cells):
    counts = sorted({count for _, count in cells})
    least, most = counts[1], counts[-1]
    limits = [limit for limit, count in cells if count == most]
    rows = [[limit or "default", *(f"{cells[limit, n]['peak_mb']:,.1f}" for n in counts), f"{cells[limit, most]['rate']:,.0f}"] for limit in limits]
    goals = []
    for limit in limits:
        peak = {n: cells[limit, n]["peak_mb"] for n in counts}
        goals += [table.Target(f"peak RSS MB above that with one row, {most:,} rows, limits.memory {limit or 'default'}", [peak[most] - peak[1]], 32),
                  table.Target(f"growth MB from {least:,} to {most:,} rows, limits.memory {limit or 'default'}", [peak[most] - peak[least]], 4)]
    return table.markdown(["limits.memory", *(f"peak RSS MB, rows: {n:,}" for n in counts), f"rows/s of {most:,}"], rows), goals


# -- a pull that finds nothing ---------------------------------------------------------------------------------------------

def empty(binary, folder, server, source, method, seconds, every="250ms"):
    """What N pulls cost that find nothing, after the table has landed."""
    where = folder / f"empty-{method}"
    stream = {"table": f"public.{source.name}", "key": ["id"], "method": method, **pullers.FIRST_PULL}
    with Serving(binary, where, server, {"orders": stream}, every=every) as door:
        door.until_rows(source.count)
        settled = door.metric("runs_total") + 4
        door.until(lambda: door.metric("runs_total") >= settled, "four pulls more")
        server.set(log_min_duration_statement="0")
        try:
            begin, pulls, own, backends, started = server.log_size(), door.metric("runs_total"), door.cpu_seconds(), server.backends_ns(), time.monotonic()
            time.sleep(seconds)
            pulls, own, took = door.metric("runs_total") - pulls, door.cpu_seconds() - own, time.monotonic() - started
            after, durations = server.backends_ns(), server.durations(begin)
        finally:
            server.set(log_min_duration_statement="-1")
        door.stop()
    fault = Ids(pullers.ZONE_ID, source.count).add_output("cat", *pullers.zone_files(where, "orders")).fault()
    if fault or not pulls or not durations:
        raise RuntimeError(f"empty pulls, {method}: {fault or 'none was counted'}; its log: {where / 'log'}")
    shutil.rmtree(where)
    return {"method": method, "pulls": pulls, "pulls_s": pulls / took, "server_ms": sum(ms for ms, _ in durations) / pulls, "statements": len(durations) / pulls,
            "backend_cpu_ms": sum(ns - backends.get(pid, 0) for pid, ns in after.items()) / 1e6 / pulls, "own_cpu_ms": own * 1e3 / pulls,
            "worst": [f"{ms} ms {text.decode(errors='replace')[:200]}" for ms, text in sorted(durations, reverse=True)[:5]]}


def empty_tables(cells):
    rows = [[c["method"], f"{c['pulls']:,.0f}", f"{c['pulls_s']:.2f}", f"{c['statements']:.1f}", f"{c['server_ms']:.2f}", f"{c['backend_cpu_ms']:.2f}", f"{c['own_cpu_ms']:.2f}"] for c in cells]
    goals = [table.Target("server ms of an empty pull, method exact", [c["server_ms"]], 2) for c in cells if c["method"] == "exact"]
    return table.markdown(["method", "pulls", "pulls/s", "statements a pull", "server ms a pull", "backends' CPU ms a pull", "millrace's CPU ms a pull"], rows), goals


# -- many tables -----------------------------------------------------------------------------------------------------------

def many(binary, folder, server, seconds):
    """All tables landed once, then what pulling them every second costs while nothing changes."""
    server.psql(f"""DO $$ BEGIN FOR i IN 1..{TABLES} LOOP
        EXECUTE format('CREATE TABLE many_%s (id bigint PRIMARY KEY, note text, updated_at timestamptz NOT NULL DEFAULT now())', i);
        EXECUTE format('INSERT INTO many_%s SELECT n, md5(n::text) FROM generate_series(1, {TABLE_ROWS}) n', i);
        EXECUTE format('CREATE INDEX ON many_%s (updated_at)', i);
        END LOOP; END $$""")
    server.psql("VACUUM ANALYZE")
    where = folder / "many"
    streams = {f"many_{i}": {"table": f"public.many_{i}", "key": ["id"], "method": "exact", **pullers.FIRST_PULL} for i in range(1, TABLES + 1)}
    with Serving(binary, where, server, streams, every="1s") as door:
        door.until(lambda: len({f.parts[-3] for f in pullers.zone_files(where, "many_*")}) == TABLES, f"a file of each of {TABLES} tables")
        landed = time.monotonic() - door.begun
        door.until_rows(TABLES * TABLE_ROWS)
        time.sleep(5)                             # what follows a first pull is over
        pulls, own, its, started = door.metric("runs_total"), door.cpu_seconds(), server.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        pulls, own, its, took = door.metric("runs_total") - pulls, door.cpu_seconds() - own, server.cpu_seconds() - its, time.monotonic() - started
        peak, connections = proc.memory_mb([door.process.pid], proc.PEAK), len(server.backends_ns())
        door.stop()
    for stream in streams:
        fault = Ids(pullers.ZONE_ID, TABLE_ROWS).add_output("cat", *pullers.zone_files(where, stream)).fault()
        if fault:
            raise RuntimeError(f"{stream}: {fault}; its log: {where / 'log'}")
    shutil.rmtree(where)
    return {"landed_s": landed, "pulls_s": pulls / took, "own_cpu": own / took, "server_cpu": its / took, "peak_mb": peak, "connections": connections}


def many_table(c):
    return table.markdown(["tables", "all landed once after s", "then pulls/s (of 200)", "millrace's CPUs", "server's CPUs", "connections", "peak RSS MB"],
                          [[f"{TABLES}", f"{c['landed_s']:.2f}", f"{c['pulls_s']:.1f}", f"{c['own_cpu']:.3f}", f"{c['server_cpu']:.3f}", f"{c['connections']}", f"{c['peak_mb']:,.1f}"]])


# -- from a commit to its landing ------------------------------------------------------------------------------------------

class Watcher(threading.Thread):
    """Notes when each file of a stream's folder was first seen."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.seen, self.over = folder, {}, False

    def run(self):
        while not self.over:
            for day in self.folder.glob("ingest_date=*"):
                with os.scandir(day) as entries:
                    for entry in entries:
                        if entry.name.endswith(".ndjson") and entry.path not in self.seen:
                            self.seen[entry.path] = time.time()
            time.sleep(0.002)


def write_rows(server, seconds):
    """Single rows, each its own transaction, at odd times: how many. The stamp is taken before the commit, so what is measured includes the commit."""
    count, rnd, end = 0, random.Random(1), time.monotonic() + seconds
    with subprocess.Popen(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", server.conninfo], stdin=subprocess.PIPE, env={"PATH": "/usr/bin:/bin", **server.environment}, text=True) as psql:
        while time.monotonic() < end:
            psql.stdin.write("INSERT INTO ticks DEFAULT VALUES;\n")
            psql.stdin.flush()
            count += 1
            time.sleep(rnd.uniform(0.005, 0.045))
        psql.stdin.close()
        if psql.wait():
            raise RuntimeError(f"the writer ended with {psql.returncode}")
    return count


def latency(binary, folder, server, seconds):
    server.psql("CREATE TABLE ticks (id bigserial PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT clock_timestamp())")
    server.psql("CREATE INDEX ON ticks (updated_at)")
    where = folder / "latency"
    stream = {"table": "public.ticks", "key": ["id"], "method": "exact", **pullers.FIRST_PULL}
    with Serving(binary, where, server, {"ticks": stream}, every=f"{int(POLL_S * 1000)}ms") as door:
        door.until(lambda: door.metric("runs_total") >= 2, "two pulls")
        watcher = Watcher(where / "zone/source=shop/stream=ticks")
        watcher.start()
        try:
            count = write_rows(server, seconds)
            with contextlib.suppress(RuntimeError):  # what is missing is found below
                door.until(lambda: door.metric("rows_total") >= count, "all rows", 20)
            time.sleep(1)
        finally:
            watcher.over = True
            watcher.join()
        door.stop()
    stamps = dict(line.split("|") for line in server.psql("SELECT id, extract(epoch FROM updated_at) FROM ticks").splitlines())
    ids = Ids(pullers.ZONE_ID, count)
    waits = []
    for path, seen in watcher.seen.items():
        text = pathlib.Path(path).read_bytes()
        ids.add(text)
        waits += [seen - float(stamps[number.decode()]) for number in ids.pattern.findall(text)]
    if ids.fault() or len(stamps) != count:
        raise RuntimeError(f"commit to landed: {ids.fault()} of {len(stamps):,} in the table; its log: {where / 'log'}")
    shutil.rmtree(where)
    cuts = statistics.quantiles(waits, n=100)
    return {"rows": count, "files": len(watcher.seen), "p50_s": statistics.median(waits), "p90_s": cuts[89], "p99_s": cuts[98], "max_s": max(waits)}


def latency_tables(c):
    goal = table.Target("p99 s from the row's clock stamp to its file", [c["p99_s"]], POLL_S + 0.3)
    return table.markdown(["every", "rows", "files", "p50 s", "p90 s", "p99 s", "max s"],
                          [[f"{POLL_S} s", f"{c['rows']:,}", f"{c['files']:,}", *(f"{c[k]:.3f}" for k in ("p50_s", "p90_s", "p99_s", "max_s"))]]), [goal]


TITLES = {
    "memory": "Memory of a first pull into zstd, by the table's size:",
    "empty": "A pull that finds nothing, of the large table:",
    "many": f"{TABLES} tables of {TABLE_ROWS:,} rows in one source, every second:",
    "latency": "From the clock stamp in a row to its file in the zone:",
}
