# SPDX-License-Identifier: Apache-2.0
"""The servers of the webhook bench. Each runs with a config, a port and a folder of its own, none as a service."""
import json
import os
import pathlib
import re
import shutil
import subprocess

from lib import proc

SECRET = "bench-secret-of-no-value"


class Peer:
    """One server: start() returns when it accepts events; stop() ends it by id."""

    name = label = acks = verifies = ""
    path, method, scheme = "/hooks/bench", "POST", "github"
    needs = ()  # programs that must be there
    tls = None  # (certificate, key): it speaks TLS

    def __init__(self, tools):
        self.tools = pathlib.Path(tools)
        self.processes = []

    def missing(self):
        """What this peer lacks here, as text; empty if nothing."""
        return ", ".join(program for program in self.needs if not shutil.which(program))

    def start(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = proc.free_port()
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{self.path}"
        self.processes = []
        self.launch()

    def launch(self):
        raise NotImplementedError

    def run(self, command, ready):
        process = proc.start([str(c) for c in command], self.folder, self.folder / "log", {"BENCH_SECRET": SECRET})
        self.processes.append(process)
        proc.until(ready, process, f"{self.name} (log: {self.folder / 'log'})")

    def pids(self):
        return [pid for process in self.processes for pid in proc.tree(process.pid)]

    def loop_gap_ms(self):
        return None

    def stop(self):
        for process in reversed(self.processes):
            status = proc.stop(process)
            if status not in (0, -15):
                raise RuntimeError(f"{self.name} ended with {status}; its log: {self.folder / 'log'}")
        self.processes = []


class Millrace(Peer):
    name, label, acks, verifies = "millrace", "**millrace**", "on disk", "yes"
    CONFIG = """\
environment: bench
data_dir: {folder}/data
zone: {{url: "file:{folder}/zone", compression: zstd, roll: {{size: 128MiB, age: {roll_age}}}}}
http: {{listen: "127.0.0.1:{port}"{tls}}}
admin: {{listen: "127.0.0.1:{admin}"}}
sources:
  bench:
    webhook:
      path: {path}
      verify: {{scheme: github, secrets: ["${{env:BENCH_SECRET}}"]}}
      dedup: {{id: /id, window: 7d, max_ids: 100000000}}
"""

    def __init__(self, tools, binary, roll_age):
        super().__init__(tools)
        self.binary = pathlib.Path(binary).absolute()
        self.roll_age = roll_age

    def missing(self):
        return "" if os.access(self.binary, os.X_OK) else f"{self.binary} (build it, or give --millrace)"

    def launch(self):
        self.admin = proc.free_port()
        config = self.folder / "millrace.yaml"
        config.write_text(self.CONFIG.format(folder=self.folder, port=self.port, admin=self.admin, path=self.path,
                                             roll_age=self.roll_age, tls=f", tls: {{cert: {self.tls[0]}, key: {self.tls[1]}}}" if self.tls else ""))
        self.run([self.binary, "run", "-c", config],
                 lambda: proc.http_get(self.admin, "/readyz") is not None and proc.accepts(self.port))

    def loop_gap_ms(self):
        """The loop's worst gap so far, or None if the server does not tell."""
        text = proc.http_get(self.admin, "/metrics") or ""
        values = [float(v) for n, v in re.findall(r"^(millrace_loop_(?:lag|gap)\w*)(?:\{[^}]*\})? (\S+)$", text, re.M)
                  if not n.endswith(("_sum", "_count", "_bucket"))]
        return max(values) * 1e3 if values else None


class Nginx(Peer):
    name, label, acks, verifies = "nginx", "nginx `return 204`, 1 worker: the HTTP bound", "nothing kept", "no"
    needs = ("nginx",)
    CONFIG = """\
worker_processes 1;
daemon off;
user root;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
    server {{
        listen 127.0.0.1:{port}{tls};
        location / {{ return 204; }}
    }}
}}
"""

    def launch(self):
        (self.folder / "nginx.conf").write_text(self.CONFIG.format(port=self.port, tls=f" ssl; ssl_certificate {self.tls[0]}; ssl_certificate_key {self.tls[1]}; ssl_protocols TLSv1.2" if self.tls else ""))
        self.run(["nginx", "-p", self.folder, "-c", "nginx.conf", "-e", "stderr"], lambda: proc.accepts(self.port))


class Bound(Peer):
    def __init__(self, tools, mode, label, acks):
        super().__init__(tools)
        self.name, self.mode, self.label, self.acks, self.verifies = mode, mode, label, acks, "yes"

    def launch(self):
        self.run([self.tools / "mr_bench_bound", "--port", self.port, "--mode", self.mode, "--log", "events.log"],
                 lambda: proc.accepts(self.port))


class Go(Peer):
    name, label, acks, verifies = "go", "Go net/http, one goroutine groups commits", "on disk", "yes"
    needs = ("go",)

    def launch(self):
        self.run([self.tools / "go-group", "-listen", f"127.0.0.1:{self.port}", "-log", "events.log"],
                 lambda: proc.accepts(self.port))


class Webdis(Peer):
    """An event is one RPUSH of the body. Redis rewrites nothing while it runs, to its favour."""

    name, label, acks, verifies = "webdis", "webdis + Redis, AOF always", "on disk", "no"
    path, method, scheme = "/RPUSH/bench", "PUT", "none"
    needs = ("redis-server", "webdis")

    def launch(self):
        redis = proc.free_port()
        self.run(["redis-server", "--port", redis, "--bind", "127.0.0.1", "--dir", self.folder, "--daemonize", "no",
                  "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"],
                 lambda: proc.accepts(redis))
        (self.folder / "webdis.json").write_text(json.dumps({
            "redis_host": "127.0.0.1", "redis_port": redis, "redis_auth": None, "http_host": "127.0.0.1",
            "http_port": self.port, "threads": 1, "pool_size": 4, "daemonize": False, "database": 0,
            "acl": [{"enabled": ["*"]}], "verbosity": 0, "logfile": str(self.folder / "webdis.log")}))
        self.run(["webdis", "webdis.json"], lambda: proc.accepts(self.port))


def all_peers(tools, binary, roll_age):
    """Every row of the table, in its order."""
    return [
        Millrace(tools, binary, roll_age),
        Nginx(tools),
        Bound(tools, "hmac", "the HMAC bound: libuv + llhttp + HMAC", "nothing kept"),
        Bound(tools, "inline", "the inline bound: + log, loop syncs", "on disk"),
        Bound(tools, "thread", "the thread bound: + log, writer thread syncs", "on disk"),
        Go(tools),
        Webdis(tools),
    ]


def first_line(command):
    try:
        out = subprocess.run(command, capture_output=True, text=True, check=False)
        return (out.stdout + out.stderr).strip().split("\n")[0]
    except FileNotFoundError:
        return "not installed"


def versions(binary):
    return {
        "millrace": first_line([str(binary), "--version"]),
        "nginx": first_line(["nginx", "-v"]),
        "go": first_line(["go", "version"]),
        "redis": first_line(["redis-server", "--version"]),
        "webdis": first_line(["dpkg-query", "-W", "-f", "${Version}", "webdis"]),
        "libuv": first_line(["pkg-config", "--modversion", "libuv"]),
        "libcrypto": first_line(["pkg-config", "--modversion", "libcrypto"]),
        "llhttp": first_line(["dpkg-query", "-W", "-f", "${Version}", "node-llhttp"]),
    }
