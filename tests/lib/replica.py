# SPDX-License-Identifier: Apache-2.0
"""A Postgres to read tables from: a primary that streams to a standby, roles that may see more or less, sessions for a test's own writers (psycopg), and a way between
server and reader that can be cut or held up.

    if __name__ == "__main__":
        replica.ensure()                         # the system's Python has no client: goes on under the one that has
        case.main(globals())

    primary = Primary()
    standby = Standby(primary)
    with primary.session("shop") as s: s.execute(...)
"""
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import case
from case import Skip
from certs import Certs
from postgres import PASSWORD, Postgres, tool
from server import free_port, until

try:
    import psycopg
    from psycopg import sql as names
except ImportError:
    psycopg = names = None

BUILD = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build"))
# Who reads, and what they may: all there is, all but other sessions' times, nothing but what a story grants.
READER, BLIND = "millrace", "blind"
SECRET = "r3ad/er+of@tables"
WORLD = ["wal_level=replica", "max_prepared_transactions=60", "max_connections=120", "deadlock_timeout=100ms", "fsync=off", "max_wal_senders=6", "wal_keep_size=64MB",
         "autovacuum_naptime=5s", "log_min_messages=log", "restart_after_crash=on"]
STANDBY = ["max_standby_streaming_delay=500ms", "wal_receiver_status_interval=1s", "wal_retrieve_retry_interval=100ms"]


def ensure():
    """Called first: where this Python lacks the client, the script goes on under one that has it, or ends as skipped."""
    if psycopg:
        return
    for python in (os.environ.get("MILLRACE_DUCKDB_PYTHON"), os.path.join(BUILD, "venv", "bin", "python")):
        if python and os.path.exists(python) and subprocess.run([python, "-c", "import psycopg"], capture_output=True).returncode == 0:
            sys.stdout.flush()
            os.execv(python, [python, *sys.orig_argv[1:]])
    sys.exit(case.skipped("no Python with psycopg: deps/install-debian.sh test installs it"))


def quoted(value):
    """As a keyword's value in a connection string."""
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


class Node(Postgres):
    """What primary and standby have in common."""

    def dsn(self, database="postgres", user=READER, password=SECRET, port=None, **more):
        """Keywords. Without a password it is left out."""
        told = {"host": "127.0.0.1", "port": port or self.port, "user": user, "dbname": database, **({"password": password} if password else {}), **more}
        return " ".join(f"{k}={quoted(v)}" for k, v in told.items())

    def session(self, database="postgres", user="postgres", password=PASSWORD, autocommit=True, **more):
        """A connection of psycopg's; as a context it ends."""
        if not psycopg:
            raise Skip("no psycopg: replica.ensure() comes first")
        try:
            return psycopg.connect(self.dsn(database, user, password, connect_timeout=10, **more), autocommit=autocommit)
        except psycopg.OperationalError:
            if self.process and self.process.poll() is not None:
                raise psycopg.OperationalError(f"Postgres has ended with {self.process.returncode}: {self.log_text()[-3000:]}") from None
            raise

    def rows(self, text, *values, database="postgres"):
        """What a statement answers, in a session of its own; None of one that answers nothing."""
        with self.session(database) as s:
            done = s.execute(text, values or None)
            return done.fetchall() if done.description else None

    def value(self, text, *values, database="postgres"):
        return self.rows(text, *values, database=database)[0][0]

    def terminate(self, user=READER, where="true"):
        """Ends the sessions of this user; how many there were."""
        return self.value(f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = %s AND pid <> pg_backend_pid() AND ({where})", user)

    def activity(self, where, user=READER):
        """Rows of its sessions: (pid, state, query)"""
        return self.rows(f"SELECT pid, state, query FROM pg_stat_activity WHERE usename = %s AND ({where})", user)

    def end_prepared(self, decide=lambda gid: True):
        """Commits the prepared transactions of all databases, or rolls back those of which decide(gid) is not true."""
        for gid, database in self.rows("SELECT gid, database FROM pg_prepared_xacts"):
            with self.session(database) as s:
                s.execute(names.SQL("COMMIT PREPARED {}" if decide(gid) else "ROLLBACK PREPARED {}").format(names.Literal(gid)))

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def set(self, **settings):
        """ALTER SYSTEM and reload."""
        with self.session() as s:
            for name, value in settings.items():
                s.execute(names.SQL("ALTER SYSTEM SET {} = {}").format(names.Identifier(name), names.Literal(str(value))))
            s.execute("SELECT pg_reload_conf()")

    def crash(self):
        """A backend dies by kill -9: the server ends all sessions and recovers by itself."""
        with self.session() as s:
            victim = s.info.backend_pid
            os.kill(victim, signal.SIGKILL)
        until("the server has recovered", lambda: self.psql("SELECT pg_is_in_recovery()", check=False) in ("f", "t"))

    def restart(self, how=signal.SIGINT):
        self.end(how)
        self.start()

    def close(self):
        self.stop()

    def log_text(self):
        with open(os.path.join(self.folder, "server.log"), errors="replace") as f:
            return f.read()


class Primary(Node):
    def __init__(self, settings=(), tls=False):
        self.certs = None
        super().__init__((*WORLD, *settings))
        self.roles()
        if tls:
            self.speak_tls()

    def roles(self):
        with self.session() as s:
            for name in (READER, BLIND):
                s.execute(names.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(names.Identifier(name), names.Literal(SECRET)))
            s.execute(f"GRANT pg_read_all_stats TO {READER}")

    def speak_tls(self):
        """A certificate for localhost by a CA of its own; TLS alone over TCP for the reader."""
        self.certs = Certs(os.path.join(self.folder, "tls"))
        self.certs.ca()
        self.certs.leaf("server")
        os.chmod(os.path.join(self.folder), 0o755) # the reader may be somebody else, and wants the CA
        for path in (self.certs.key("server"), self.certs.crt("server"), self.certs.folder):
            self.own(path)
        os.chmod(self.certs.key("server"), 0o600)
        self.set(ssl_cert_file=self.certs.crt("server"), ssl_key_file=self.certs.key("server"), ssl="on")
        self.hba([f"hostnossl all {READER} all reject"])

    def hba(self, first):
        """Lines before all others of pg_hba.conf."""
        path = os.path.join(self.data, "pg_hba.conf")
        with open(path) as f:
            old = f.read()
        with open(path, "w") as f:
            f.write("\n".join([*first, old]))
        self.reload()

    def database(self, name, *statements):
        """A database of its own, made anew; the two readers may read all that its owner makes in it."""
        with self.session() as s:
            s.execute(names.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(names.Identifier(name)))
            s.execute(names.SQL("CREATE DATABASE {} STRATEGY file_copy").format(names.Identifier(name)))
        with self.session(name) as s:
            s.execute(f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {READER}, {BLIND}")
            for statement in statements:
                s.execute(statement)
        return name

    def freeze(self, database="postgres"):
        self.rows("VACUUM (FREEZE)", database=database)

    def lsn(self):
        return self.value("SELECT pg_current_wal_insert_lsn()::text")


class Standby(Node):
    """By streaming, from a base backup. A slot keeps what it has not had."""
    made = 0

    def __init__(self, primary, settings=(), port=None):
        """port: of a way to the primary."""
        Standby.made += 1
        self.primary, self.slot = primary, f"standby{Standby.made}"
        self.place()
        done = subprocess.run([*self.owner, tool("pg_basebackup"), "-D", self.data, "-d", primary.dsn("postgres", "postgres", PASSWORD, port), "-X", "stream", "-R", "-C", "-S", self.slot,
                               "--checkpoint=fast", "--no-sync"], capture_output=True, text=True, cwd="/")
        if done.returncode:
            raise AssertionError(f"no base backup: {done.stderr}")
        # a setting that was made by ALTER SYSTEM would come after these
        with open(os.path.join(self.data, "postgresql.conf"), "a") as f:
            f.write("\n".join([f"port={self.port}", f"unix_socket_directories='{self.folder}'", *STANDBY, *settings, ""]))
        self.start()

    def replayed(self, lsn):
        return self.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", lsn)

    def catch_up(self, timeout=30):
        """Waits until it shows what the primary shows now."""
        lsn = self.primary.lsn()
        until(f"the standby has replayed up to {lsn}", lambda: self.replayed(lsn), timeout)

    def pause(self):
        self.rows("SELECT pg_wal_replay_pause()")
        until("replay is paused", lambda: self.value("SELECT pg_get_wal_replay_pause_state()") == "paused")

    def resume(self):
        self.rows("SELECT pg_wal_replay_resume()")

    def promote(self):
        case.true(self.value("SELECT pg_promote(true, 30)"), "the standby is promoted")

    def stop(self):
        super().stop()
        if self.primary.process:
            self.primary.psql(f"SELECT pg_drop_replication_slot('{self.slot}')", check=False)


# -- the way between server and reader ----------------------------------------------------------------------------


class Way:
    """A TCP port that leads to another one. cut(): what is open is reset; stall(): it stays open and nothing passes any more; limit: each connection is reset after so many
    bytes from the server; refuse(): nobody is let in."""

    def __init__(self, port, host="127.0.0.1"):
        self.target, self.port = (host, port), free_port()
        self.limit, self.stalled, self.refused, self.resets, self.passed, self.halt = None, False, False, 0, 0, False
        self.pairs, self.lock = set(), threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.listener.settimeout(0.05)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *rest):
        self.close()

    def close(self):
        self.halt = True
        self.cut()
        self.thread.join(5)
        self.listener.close()

    def lead(self, port):
        """To another server from now on."""
        self.target = (self.target[0], port)

    def stall(self):
        self.stalled = True

    def flow(self):
        self.stalled = False

    def refuse(self, yes=True):
        self.refused = yes
        if yes:
            self.cut()

    def cut(self):
        with self.lock:
            for pair in self.pairs:
                pair.doomed = True

    def open(self):
        """How many there are."""
        with self.lock:
            return len(self.pairs)

    def run(self):
        while not self.halt:
            try:
                near, _ = self.listener.accept()
            except OSError:
                continue
            try:
                if self.refused:
                    raise OSError
                far = socket.create_connection(self.target, 5)
            except OSError:
                reset(near)
                continue
            pair = Pair(self, near, far)
            with self.lock:
                self.pairs.add(pair)
            pair.start()


class Pair:
    """One connection: a thread for each direction, the last of which closes both ends."""

    def __init__(self, way, near, far):
        self.way, self.near, self.far = way, near, far
        self.came, self.doomed, self.ended, self.left, self.lock = 0, False, False, 2, threading.Lock()

    def start(self):
        for sock in (self.near, self.far):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for ends in ((self.near, self.far), (self.far, self.near)):
            threading.Thread(target=self.pump, args=ends, daemon=True).start()

    def over(self):
        return self.doomed or self.ended

    def waits(self, readable=(), writable=()):
        """Until one is ready; False when it is all over."""
        while not self.over():
            if self.way.stalled:
                time.sleep(0.02)
            elif any(select.select(readable, writable, [], 0.05)[:2]):
                return True
        return False

    def pump(self, here, there):
        try:
            while self.waits([here]):
                data = here.recv(65536)
                if not data:
                    break
                if here is self.far:
                    self.came += len(data)
                    self.way.passed += len(data)
                    if self.way.limit is not None and self.came > self.way.limit:
                        self.doomed = True
                while data and self.waits((), [there]):
                    data = data[there.send(data):]
        except OSError:
            pass
        self.ended = True
        with self.lock:
            self.left -= 1
            if self.left:
                return
        with self.way.lock:
            self.way.pairs.discard(self)
            self.way.resets += self.doomed
        for sock in (self.near, self.far):
            reset(sock) if self.doomed else sock.close()


def reset(sock):
    """RST, not FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
