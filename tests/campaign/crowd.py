#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A crowd that idles, a flood at the door, and honest senders among them.

N connections send one event each and stay. Then another process opens more half requests than `http.connections` has
room for, and connects and goes away as fast as it can, while honest senders on connections of their own go on at a small
rate. Every honest answer must be a 2xx; memory must stay below its figure; the idle ones must still be served; all must
have landed once; and when everybody has left, the server must hold as many descriptors as before.

usage: crowd.py [--connections N] [--seed N]        exit 77 where so many descriptors are not to be had
"""
import argparse
import os
import random
import resource
import select
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import sign  # noqa: E402
import wire  # noqa: E402
from deliver import accepted, event, wait_landed  # noqa: E402
from pair import result, tell  # noqa: E402
from sender import Ledger, Load, Verdict  # noqa: E402
from server import SECRET, Home, Server, config, is_sanitized, until, webhook  # noqa: E402
from zone import Reader  # noqa: E402

BATCH = 100                                       # connections that are opened and served at a time
ROOM = 200                                        # connections that the cap leaves beside the idle ones
FIGURE_MIB = 100                                  # resident at 10,000 idle connections, as the performance page has it
PER_CONNECTION = 2 * 1024                         # of that: what one more connection may cost, kernel buffers apart
FIXED_MIB = 24                                    # what landing and capturing take besides, whatever the crowd
PATIENT = 60.0


def raise_descriptors(need):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < need:
        raise case.Skip(f"{need} descriptors are needed, {hard} are to be had")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def signed(path, ident):
    body = event(ident)
    return wire.request("POST", path, sign.github(SECRET, body), body)


class Honest(Load):
    """One request at a time on each connection, and how long each took."""

    def __init__(self, *args, **kw):
        super().__init__(*args, depth=1, **kw)
        self.took = []

    def _exchange(self, *args):
        begun = time.monotonic()
        try:
            return super()._exchange(*args)
        finally:
            self.took.append(time.monotonic() - begun)

    def percentile(self, share):
        took = sorted(self.took)
        return 1000 * took[int(share * (len(took) - 1))] if took else 0.0


class Crowd:
    """Connections that idle after one event each."""

    def __init__(self, port):
        self.port, self.conns, self.ledger = port, [], Ledger()

    def grow(self, many):
        for _ in range(0, many, BATCH):
            more = [wire.Conn(self.port, timeout=PATIENT) for _ in range(min(BATCH, many - len(self.conns)))]
            self.speak(more, len(self.conns), "first")
            self.conns += more

    def speak(self, conns, first, what):
        """One event on each of them."""
        idents = [f"{what}-{first + k}" for k in range(len(conns))]
        self.ledger.sent.update(idents)
        for conn, ident in zip(conns, idents):
            conn.send(signed("/hooks/crowd", ident))
        for conn, ident in zip(conns, idents):
            res = conn.final()
            self.ledger.count_status(res.status)
            if res.status == 204:
                self.ledger.acked.add(ident)

    def speak_all(self, what):
        for at in range(0, len(self.conns), BATCH):
            self.speak(self.conns[at:at + BATCH], at, what)

    def leave(self):
        for conn in self.conns:
            conn.close()
        self.conns = []


# ---- the flood: a process of its own ----

def rude(sock):
    """Its close is a reset: no port of ours waits for a minute afterwards."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return sock


def knock(port, n):
    """Comes from one of many addresses, says nothing, a part of a request, or a whole one, and goes."""
    try:
        with rude(socket.socket()) as s:
            s.settimeout(PATIENT)
            s.bind((f"127.0.{1 + n % 7}.{1 + n % 251}", 0))
            s.connect(("127.0.0.1", port))
            if n % 3:
                s.send(b"POST /hooks/crowd HTTP/1.1\r\nHost: x\r\n" if n % 3 == 1 else b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return True
    except OSError:
        return False                              # the queue of the listener is full, or we were reset: it is a flood


def flood(port, half_open, knocks):
    """Runs as the other process: holds half requests, knocks, says so, and stays until its input ends."""
    raise_descriptors(half_open + 100)
    held = []
    for n in range(half_open):
        s = rude(socket.create_connection(("127.0.0.1", port), PATIENT))
        try:
            s.send(b"POST /hooks/crowd HTTP/1.1\r\nHost: x\r\nX-Half: ")
        except OSError:
            pass                                  # refused at the door
        held.append(s)
    came = sum(knock(port, n) for n in range(knocks))
    answered = select.poll()
    for s in held:
        answered.register(s, select.POLLIN)
    print(f"{came} of {knocks} came in; of {half_open} half requests {len(answered.poll(0))} were sent away", flush=True)
    sys.stdin.read()


def start_flood(server, half_open, knocks):
    return subprocess.Popen([sys.executable, os.path.abspath(__file__), "--flood", str(server.port), str(half_open),
                             str(knocks)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


# ---- the campaign ----

def open_connections(server):
    return server.metrics()['millrace_http_connections{listener="webhook"}']


def bounds_kib(many, base):
    """What the crowd may add; a sanitizer adds red zones, shadow and freed memory that it keeps."""
    times = 4 if is_sanitized() else 1
    return base + times * (many * PER_CONNECTION // 1024 + FIXED_MIB * 1024)


def under_flood(server, crowd, honest, knocks, faults):
    """The flood, from its first connection to the moment when honest senders have come through it."""
    cap = server.cfg["http"]["connections"]
    other = start_flood(server, cap - len(crowd.conns) + ROOM, knocks)
    try:
        said = other.stdout.readline().strip()
        print("  flood: " + said, flush=True)
        if not said:
            faults.append("the flood ended early")
        if open_connections(server) < cap - 20:
            faults.append("the flood did not fill the house")
        if not honest.wait_acked(200, PATIENT):
            faults.append(f"honest senders do not come through: {honest.ledger.statuses}")
    finally:
        other.stdin.close()
        other.wait(PATIENT)


def judge(server, crowd, honest, faults):
    reader = Reader(server.zone)
    counts = reader.scan()
    verdicts = [Verdict(crowd.ledger, counts["crowd"]), Verdict(honest.ledger, counts["honest"])]
    for name, verdict in zip(("crowd", "honest"), verdicts):
        faults += [f"{name}: {f}" for f in verdict.faults()]
    for name, ledger in (("crowd", crowd.ledger), ("honest", honest.ledger)):
        if set(ledger.statuses) != {204} or ledger.unknown or ledger.sent != ledger.acked:
            faults.append(f"{name}: not all answers are 2xx: {ledger.statuses}, {len(ledger.unknown)} got none")
    faults += reader.problems
    return verdicts, reader.problems


def campaign(many, seed):
    raise_descriptors(many + ROOM + 500)
    http = {"connections": many + ROOM, "header_timeout": "1h", "first_byte_timeout": "1h", "idle_timeout": "1h"}
    with Home("mr-crowd") as home:
        server = Server(home, config(home, {name: webhook(path="/hooks/" + name) for name in ("crowd", "honest")}, http=http,
                                     limits={"disk_reserve": "0B"}))
        server.env["ASAN_OPTIONS"] = "detect_leaks=1:quarantine_size_mb=16"
        server.start()
        accepted(server, "warm", path="/hooks/crowd")
        wait_landed(server, "warm")
        until("nobody is left", lambda: open_connections(server) == 0)
        fds, base, faults, seen = server.descriptors_at_rest(), server.memory_kib("VmRSS"), [], {}
        crowd = Crowd(server.port)
        crowd.ledger.sent.add("warm")
        crowd.ledger.acked.add("warm")
        honest = Honest(server.port, "/hooks/honest", "honest", connections=4, rate=100, seed=seed)
        try:
            crowd.grow(many)
            seen["idle"] = server.memory_kib("VmRSS")
            honest.start()
            under_flood(server, crowd, honest, many * 4, faults)
            seen["flooded"] = server.memory_kib("VmRSS")
            crowd.speak_all("second")
            seen["all spoke"] = server.memory_kib("VmRSS")
            honest.finish.set()
            honest.finished(PATIENT)
            crowd.leave()
            until("all have left", lambda: open_connections(server) == 0, PATIENT)
            until(f"{fds} descriptors as before", lambda: server.descriptors_at_rest(PATIENT) == fds, PATIENT)
            server.stop(timeout=90)
        except (AssertionError, OSError, wire.Closed) as e:
            faults.append(f"{type(e).__name__}: {e}")
        finally:
            honest.halt.set()
            server.kill9()
            crowd.leave()
        verdicts, problems = judge(server, crowd, honest, faults)
        bound = bounds_kib(many, base)
        faults += [f"{when}: {kib} KiB resident, bound {bound}" for when, kib in seen.items() if kib > bound]
        if not is_sanitized():
            faults += [f"{when}: {kib} KiB resident, documented {FIGURE_MIB} MiB" for when, kib in seen.items()
                       if kib > FIGURE_MIB * 1024]
        each = (seen.get("idle", base) - base) * 1024 // many
        print(f"  {many} idle: {each} bytes resident each; KiB before {base}, {seen}, bound {bound}; honest answers "
              f"{len(honest.took)}, p50 {honest.percentile(0.5):.1f} ms, p99 {honest.percentile(0.99):.1f} ms", flush=True)
        tell(faults)
        return result("crowd", verdicts, faults, problems, seed=seed)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--connections", type=int, default=1000)
    ap.add_argument("--seed", type=int, default=random.SystemRandom().randint(1, 10 ** 6))
    ap.add_argument("--flood", nargs=3, type=int, help=argparse.SUPPRESS)
    args = ap.parse_args()
    if args.flood:
        flood(*args.flood)
        return
    print(f"crowd: seed {args.seed}")
    try:
        sys.exit(campaign(args.connections, args.seed))
    except case.Skip as e:
        sys.exit(case.skipped(str(e)))


if __name__ == "__main__":
    main()
