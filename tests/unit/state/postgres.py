#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The store in Postgres, with real servers that die, processes that die, answers that get lost and many who want the same. Rows are counted by psql.

usage: postgres.py TEST
"""
import atexit
import functools
import os
import re
import signal
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import case  # noqa: E402
from postgres import PASSWORD, QUOTED, Postgres, tool  # noqa: E402
from server import until  # noqa: E402

TEST = sys.argv[1]
sys.argv[1:2] = []
made = []


def server():
    if not made:
        made.append(Postgres())
        atexit.register(made[0].stop)
    return made[0]


def codes():
    """The program's own numbers of its codes."""
    text = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "include", "millrace", "err.h")).read()
    return {name: 10 + i for i, name in enumerate(re.findall(r"X\((MR_\w+),", text))}


CODE = codes()


def start(what, url, **variables):
    return subprocess.Popen([TEST, what, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **variables})


def child(what, url, **variables):
    """Exit code and what it said; never the password."""
    process = start(what, url, **variables)
    out, err = process.communicate(timeout=120)
    for secret in (PASSWORD, QUOTED):
        case.true(secret not in out + err, f"{what} tells the password: {out}{err}")
    return process.returncode, out.strip()


def whole(schema, steps):
    count = "; ".join(f"SELECT {column} FROM {schema}.{table}" for column, table in
                      (("max(version)", "positions"), ("count(*)", "landings"), ("count(*)", "files"), ("max(version)", "source_rows"), ("sum(ids)", "seen_days"),
                       ("count(*)", "seen_20260216")))
    case.equal(server().psql(count).split(), [str(steps)] * 6, f"of {schema}")


class Between:
    """A wire to the server that meddles with the n-th COMMIT: `lost`, the server commits and nobody hears of it; `cut`, it never arrives; `late`, the
    client is cut off, and the server gets it once the client has looked what became of it."""

    def __init__(self, how, n):
        self.how, self.n, self.commits = how, n, 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            upstream = socket.create_connection(("127.0.0.1", server().port))
            state = {"mute": False, "ended": threading.Event()}
            threading.Thread(target=self.up, args=(client, upstream, state), daemon=True).start()
            threading.Thread(target=self.down, args=(upstream, client, state), daemon=True).start()

    def up(self, client, upstream, state):
        try:
            while data := client.recv(65536):
                if b"Q\0\0\0\x0bCOMMIT\0" in data:
                    self.commits += 1
                    if self.commits == self.n:
                        self.meddle(client, upstream, state, data)
                        return
                upstream.sendall(data)
        except OSError:
            pass
        self.end(client, upstream)

    def meddle(self, client, upstream, state, data):
        state["mute"] = True
        if self.how == "lost":
            upstream.sendall(data)
            upstream.settimeout(10)
            until("it has committed", lambda: server().psql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'millrace' AND state <> 'idle'") == "0", every=0.01)
        elif self.how == "late":
            self.end(client)
            state["ended"].wait(20)              # its transaction, by the client's next connection
            try:
                upstream.sendall(data)
            except OSError:
                pass
            return
        self.end(client, upstream)

    def down(self, upstream, client, state):
        try:
            while data := upstream.recv(65536):
                if state["mute"]:
                    break
                client.sendall(data)
        except OSError:
            pass
        state["ended"].set()
        if not state["mute"]:
            self.end(client, upstream)

    @staticmethod
    def end(*sockets):
        for s in sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()

    def stop(self):
        self.socket.close()


@functools.cache                                 # the schema serves once
def has_faults():
    return child("stale", server().at(server().port, "probe"), MILLRACE_MUTANT="no_cas")[0] != CODE["MR_EFENCED"]


def need_faults():
    if not has_faults():
        raise case.Skip("this build has no points to die at")


def test_a_killed_decision_is_there_whole_or_not_at_all():
    need_faults()
    for i, (point, steps) in enumerate((("decide_begin", 1), ("decide_commit", 1), ("decide_committed", 2))):
        url = server().at(server().port, f"killed{i}")
        case.equal(child("chain", url, MILLRACE_CRASH=f"{point}:2")[0], -signal.SIGKILL, point)
        whole(f"killed{i}", steps)


def test_a_failed_decision_says_the_truth_and_the_store_goes_on():
    need_faults()
    for i, (fail, what, code, steps) in enumerate((("decide_begin:2:ENOSPC", "chain", "MR_ENOSPC", 1), ("decide_commit:2:EIO", "chain", "MR_EIO", 1),
                                                   ("decide_commit:2:ENOSPC", "again", "MR_OK", 2), ("decide_committed:2:EIO", "chain", "MR_OK", 2))):
        case.equal(child(what, server().at(server().port, f"failed{i}"), MILLRACE_FAIL=fail)[0], CODE[code], fail)
        whole(f"failed{i}", steps)


def test_without_compare_and_swap_a_stale_decision_gets_in():
    need_faults()
    case.equal(child("stale", server().at(server().port, "stale"))[0], CODE["MR_EFENCED"])
    case.true(child("stale", server().at(server().port, "mutant"), MILLRACE_MUTANT="no_cas")[0] != CODE["MR_EFENCED"], "the row or the id stopped it")


def meddled(how):
    """An instance begins (1), a decision (2), another (3): that one's commit."""
    schema = f"wire_{how}"
    case.equal(child("make", server().at(server().port, schema))[0], CODE["MR_OK"])
    wire = Between(how, 3)
    try:
        code, said = child("again2", server().at(wire.port, schema))
    finally:
        wire.stop()
    case.equal(code, CODE["MR_OK"], said)
    case.true(wire.commits >= 3, "the commit came by")
    whole(schema, 2)
    return said


def test_a_commit_whose_answer_is_lost_is_found_out():
    case.equal(meddled("lost"), "", "it had taken, so nothing failed")


def test_a_commit_that_never_arrived_is_found_out():
    case.equal(len(meddled("cut").splitlines()), 1, "it failed once, and was tried again")


def test_a_commit_that_arrives_after_its_connection_is_gone_does_not_take_twice():
    case.equal(len(meddled("late").splitlines()), 1, "the transaction was ended before its commit came")


def test_many_processes_make_one_store():
    url = server().at(server().port, "crowd")
    crowd = [start("make", url) for _ in range(8)]
    for p in crowd:
        out, err = p.communicate(timeout=60)
        case.equal(p.returncode, CODE["MR_OK"], out + err)
    case.equal(server().psql("SELECT count(*) FROM crowd.meta WHERE key = 'id'"), "1")


def test_each_step_is_won_by_one_though_the_server_dies_in_between():
    own, climbers = Postgres(), []
    try:
        url = own.at(own.port, "climb")
        case.equal(child("make", url)[0], CODE["MR_OK"])
        climbers = [start("climb", url) for _ in range(3)]
        for p in climbers:
            case.equal(p.stdout.readline(), "up\n")
        for _ in range(3):
            before = int(own.psql("SELECT coalesce(max(version), 0) FROM climb.positions"))
            until_above(own, before + 5)
            own.kill()
            own.start()
        lost = 0
        for p in climbers:
            out = p.stdout.read()                # not communicate(), which forgets what readline() has read ahead
            case.equal(p.wait(30), CODE["MR_OK"], out + p.stderr.read())
            lost += int(out)
        climbers = []
        case.true(lost > 0, "nobody was ever in another's way: the story tells nothing")
        case.equal(own.psql("SELECT max(version) FROM climb.positions; SELECT count(*) FROM climb.landings; SELECT count(*) FROM climb.files").split(), ["300"] * 3)
    finally:
        for p in climbers:
            p.kill()
        own.stop()


def until_above(own, version):
    until("the climbers climb", lambda: int(own.psql("SELECT coalesce(max(version), 0) FROM climb.positions")) >= min(version, 280), 60)


def test_of_several_hosts_the_deaf_one_does_not_hold_up_the_next():
    deaf = socket.create_server(("127.0.0.1", 0), backlog=1)
    try:
        s = server()
        url = f"postgres://postgres:{QUOTED}@127.0.0.1:{deaf.getsockname()[1]},127.0.0.1:{s.port}/postgres?connect_timeout=2&schema=hosts"
        case.equal(child("make", url)[0], CODE["MR_OK"])
    finally:
        deaf.close()


def test_what_is_wrong_is_said_without_the_password():
    s = server()
    base = f"127.0.0.1:{s.port}"
    s.psql("CREATE SCHEMA foreigner; CREATE TABLE foreigner.meta(x int)")
    s.psql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    s.psql("CREATE ROLE guest LOGIN PASSWORD 'guest'; CREATE SCHEMA newer; CREATE TABLE newer.meta(key text, value text); INSERT INTO newer.meta VALUES('application', 'millrace'), ('schema', '99')")
    for url, what, code, words in (
            (f"postgres://postgres:wrong%2Fhunter2@{base}/postgres", "make", "MR_ENET", "password authentication failed"),
            (f"postgres://postgres:{QUOTED}@{base}/nowhere", "make", "MR_ENET", 'database "nowhere" does not exist'),
            (f"postgres://postgres:{QUOTED}@127.0.0.1:1/postgres", "make", "MR_ENET", "refused"),
            (f"postgres://postgres:{QUOTED}@{base}/postgres?schema=none", "open", "MR_ENOENT", "`millrace run -c FILE` makes it"),
            (f"postgres://postgres:{QUOTED}@{base}/postgres?schema=foreigner", "make", "MR_ECONFIG", "belongs to another program"),
            (f"postgres://postgres:{QUOTED}@{base}/postgres?schema=newer", "make", "MR_ECONFIG", "run the newer millrace"),
            (f"postgres://postgres:{QUOTED}@{base}/postgres?schema=Bad-Name", "make", "MR_ECONFIG", "small letters"),
            (f"postgres://postgres:{QUOTED}@{base}/postgres?application=x", "make", "MR_ECONFIG", "no URL of Postgres"),
            (f"postgres://postgres:{QUOTED}@{base}/latin", "make", "MR_ECONFIG", "ENCODING 'UTF8'"),
            (f"postgres://guest:guest@{base}/postgres?schema=guests", "make", "MR_EPERM", "GRANT CREATE ON DATABASE"),
            (f"postgres://postgres:{QUOTED}@{base}/postgres?options=-cdefault_transaction_read_only%3Don", "make", "MR_EPERM", "only reads")):
        got, said = child(what, url)
        case.equal((got, words in said, "hunter2" in said), (CODE[code], True, False), f"{url}: {said}")


if __name__ == "__main__":
    case.main(globals())
