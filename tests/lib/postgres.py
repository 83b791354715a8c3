# SPDX-License-Identifier: Apache-2.0
"""A real Postgres server, started for a test in a folder and on a port of its own, with a password over TCP. It keeps its promises: fsync stays on."""
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

from case import Skip
from server import free_port, until

PASSWORD = "s3cret/of+the@store"
QUOTED = "s3cret%2Fof%2Bthe%40store"


def tool(name):
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    if not found:
        raise Skip("no Postgres server: deps/install-debian.sh test installs it")
    return found[-1]


def as_owner():
    """Of a command: root may not run the server."""
    if os.geteuid() != 0:
        return []
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        raise Skip("no user postgres: deps/install-debian.sh test makes it")
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]


class Postgres:
    def __init__(self, settings=()):
        self.place()
        secret = os.path.join(self.folder, "password")
        with open(secret, "w") as f:
            f.write(PASSWORD + "\n")
        self.own(secret)
        subprocess.run([*self.owner, tool("initdb"), "-D", self.data, "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--locale=C.UTF-8",
                        "--no-sync"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/")
        with open(os.path.join(self.data, "postgresql.conf"), "a") as f:
            f.write("\n".join(["listen_addresses='127.0.0.1'", f"port={self.port}", f"unix_socket_directories='{self.folder}'", "shared_buffers=16MB", *settings, ""]))
        self.start()

    def place(self):
        self.folder, self.owner = tempfile.mkdtemp(prefix="mr-pg-"), as_owner()
        self.data, self.port, self.process = os.path.join(self.folder, "data"), free_port(), None
        self.own(self.folder)

    def own(self, path):
        if os.geteuid() == 0:
            shutil.chown(path, "postgres", "postgres")

    @property
    def url(self):
        return self.at(self.port)

    def at(self, port, schema=None):
        return f"postgres://postgres:{QUOTED}@127.0.0.1:{port}/postgres" + (f"?schema={schema}" if schema else "")

    def start(self):
        self.log = open(os.path.join(self.folder, "server.log"), "ab")
        for tries in range(50):
            begun = self.log.tell()
            dies = ["--pdeathsig", "KILL"] if self.owner else [] # with who started it: its backends notice
            self.process = subprocess.Popen([*self.owner, *dies, tool("postgres"), "-D", self.data], stdout=self.log, stderr=self.log, cwd="/")
            try:
                until("Postgres answers", self.answers)
                return
            except AssertionError:
                # a child of the one that was killed has not noticed yet
                if b"shared memory block" not in open(self.log.name, "rb").read()[begun:]:
                    raise
            until("its children are gone", lambda: self.process.poll() is not None)
            time.sleep(0.1)
        raise AssertionError("Postgres cannot be started again")

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError("Postgres ended: " + open(self.log.name, errors="replace").read()[-2000:])
        return self.psql("SELECT 1", check=False) == "1"

    def psql(self, text, check=True):
        """Rows as text, columns apart by |; a reader that shares nothing with ours."""
        done = subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-c", text], capture_output=True, text=True,
                              env={**os.environ, "PGPASSWORD": PASSWORD, "PGCONNECT_TIMEOUT": "10"})
        if check and done.returncode:
            raise AssertionError(f"psql: {done.stderr}")
        return done.stdout.strip() if not done.returncode else None

    def kill(self):
        """As a power cut would, but for the page cache."""
        self.end(signal.SIGKILL)

    def end(self, how=signal.SIGINT):
        if self.process:
            if how == signal.SIGKILL: # its children too, at once
                subprocess.run(["pkill", "-KILL", "-P", str(self.process.pid)], check=False)
            self.process.send_signal(how)
            self.process.wait(30)
            self.log.close()
            self.process = None

    def stop(self):
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)
