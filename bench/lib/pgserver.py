# SPDX-License-Identifier: Apache-2.0
"""The server of the pull bench: a PostgreSQL of its own with tables of the shop, everything in its cache, and its CPU time. Uses tests/lib/postgres.py to start it."""
import pathlib
import re
import subprocess
import time
import urllib.parse

import postgres
from lib import orders, proc

# As somebody would tune a server with 4 GB; checkpoints far apart, so that none falls into one reader's turn. fsync and all else as PostgreSQL has it.
TUNED = ("shared_buffers=1GB", "effective_cache_size=3GB", "max_wal_size=8GB", "checkpoint_timeout=1h", "log_checkpoints=off", "log_line_prefix='%p|%a|'")
PREFIX = re.compile(rb"^(\d+)\|([^|\n]*)\|LOG:  duration: ([0-9.]+) ms(?:  (?:statement|execute [^:]*): (.*))?", re.MULTILINE)


class Server(postgres.Postgres):
    def __init__(self):
        super().__init__(TUNED)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def version(self):
        return self.psql("SHOW server_version")

    @property
    def conninfo(self):
        """Without the password, which is in the environment of who needs it."""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres sslmode=disable"

    @property
    def environment(self):
        return {"PGPASSWORD": postgres.PASSWORD}

    def url_for(self, scheme="postgresql"):
        return f"{scheme}://postgres:{urllib.parse.quote(postgres.PASSWORD, safe='')}@127.0.0.1:{self.port}/postgres?sslmode=disable"

    def cpu_seconds(self):
        """Of all its processes, those that have ended included: they are children that it has waited for."""
        for _ in range(100):
            try:
                return proc.cpu_seconds(proc.tree(self.process.pid))
            except (FileNotFoundError, ProcessLookupError):
                time.sleep(0.001)                 # one ended between the two looks
        raise RuntimeError("the server's processes come and go too fast to be measured")

    def backends_ns(self, application=None):
        """{pid: nanoseconds on a processor} of the clients' backends, ours left out."""
        mine = "" if application is None else f" AND application_name = '{application}'"
        pids = self.psql(f"SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'psql'{mine}").split()
        return {int(pid): int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids}

    def log_size(self):
        return pathlib.Path(self.log.name).stat().st_size

    def durations(self, begin):
        """(ms, statement) of all that was logged since the log was `begin` long, but by psql."""
        with open(self.log.name, "rb") as log:
            log.seek(begin)
            return [(float(ms), text) for _pid, name, ms, text in PREFIX.findall(log.read()) if name != b"psql"]

    def set(self, **settings):
        """Of the whole server, without a restart."""
        for name, value in settings.items():
            self.psql(f"ALTER SYSTEM SET {name} = '{value}'")
        self.psql("SELECT pg_reload_conf()")
        time.sleep(0.2)

    def fill(self, name, lines):
        """Text of a COPY."""
        command = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", f"COPY {name} FROM STDIN", self.conninfo]
        with subprocess.Popen(command, stdin=subprocess.PIPE, env={"PATH": "/usr/bin:/bin", **self.environment}) as psql:
            for line in lines:
                psql.stdin.write(line)
            psql.stdin.close()
            if psql.wait():
                raise RuntimeError(f"psql ended with {psql.returncode} while it filled {name}")


class Orders:
    """One table of them, with an index on the watermark."""

    def __init__(self, server, name, count):
        self.server, self.name, self.count = server, name, count
        begun = time.monotonic()
        server.psql(f"CREATE TABLE {name} ({orders.TABLE})")
        server.fill(name, orders.rows(count))
        server.psql(f"CREATE INDEX ON {name} (updated_at)")
        server.psql(f"VACUUM (FREEZE, ANALYZE) {name}")
        server.psql("CHECKPOINT")
        if int(server.psql(f"SELECT count(*) FROM {name}")) != count:
            raise RuntimeError(f"{name} is not filled")
        self.heap_mb = int(server.psql(f"SELECT pg_relation_size('{name}')")) / 1e6
        self.filled_s = time.monotonic() - begun

    def server_cpu(self):
        return self.server.cpu_seconds()
