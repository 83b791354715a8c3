#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Connections come and go in every manner, for long: nothing may be left of them.

Senders open a connection, do one thing with it (a few events, pipelined ones, refused ones, half a request, an abort in
the middle, a half-close, a body too large) and leave. At every checkpoint all have left: the server must then hold the
same number of descriptors as before, and no more memory at the last one than at the second. In the end every
acknowledged event has landed once, and nothing else has but what was whole when its sender went away.

usage: soak.py [--seconds N] [--seed N]
"""
import argparse
import os
import random
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import sign  # noqa: E402
import wire  # noqa: E402
from deliver import accepted, event, wait_landed  # noqa: E402
from pair import result, tell  # noqa: E402
from sender import Ledger, Verdict  # noqa: E402
from server import SECRET, Home, Server, config, is_sanitized, until, webhook  # noqa: E402
from zone import Reader  # noqa: E402

CHECKPOINTS = 5
SENDERS = 6
GROWTH_KIB = 8 * 1024                             # allocators keep some of what they had, at whatever checkpoint
PATIENT = 60.0
LIMIT = 64 * 1024


class Sender:
    """One thread's connections, one after the other; what it may expect in the zone goes to the ledger."""

    def __init__(self, server, ledger, name, rnd, clock):
        self.server, self.ledger, self.name, self.rnd, self.clock = server, ledger, name, rnd, clock
        self.number, self.done, self.wrong = 0, 0, []
        self.ways = [self.events, self.pipelined, self.chunked, self.refused, self.half, self.aborted, self.half_closed,
                     self.too_large, self.malformed, self.silent]

    def run(self):
        while self.clock() and not self.wrong:
            way = self.rnd.choice(self.ways)
            try:
                with wire.Conn(self.server.port, timeout=PATIENT) as conn:
                    way(conn)
                self.done += 1
            except (OSError, wire.Closed, AssertionError, ValueError) as e:
                self.wrong.append(f"{way.__name__}: {type(e).__name__}: {e}")

    def fresh(self):
        self.number += 1
        ident = f"{self.name}-{self.number}"
        body = event(ident, pad="x" * self.rnd.randint(0, 2000 if self.rnd.random() < 0.95 else 40000))
        with self.ledger.lock:
            self.ledger.sent.add(ident)
        return ident, body

    def request(self, body, *lines, **kw):
        return wire.request("POST", "/hooks/github", [*sign.github(SECRET, body), *lines], body, **kw)

    def expect(self, conn, status):
        res = conn.final()
        if res.status != status:
            raise AssertionError(f"{res} instead of {status}")

    def acked(self, ident):
        with self.ledger.lock:
            self.ledger.acked.add(ident)

    def unacked(self, idents):
        with self.ledger.lock:
            self.ledger.unknown.update(idents)

    # -- manners --

    def events(self, conn):
        for _ in range(self.rnd.randint(1, 5)):
            ident, body = self.fresh()
            conn.send(self.request(body))
            self.expect(conn, 204)
            self.acked(ident)

    def pipelined(self, conn):
        batch = [self.fresh() for _ in range(self.rnd.randint(2, 12))]
        conn.send(b"".join(self.request(body) for _, body in batch))
        for ident, _ in batch:
            self.expect(conn, 204)
            self.acked(ident)

    def chunked(self, conn):
        ident, body = self.fresh()
        conn.send(wire.request("POST", "/hooks/github", [*sign.github(SECRET, body), ("Transfer-Encoding", "chunked")],
                               length=False))
        step = self.rnd.randint(1 + len(body) // 20, len(body))
        for at in range(0, len(body), step):
            piece = body[at:at + step]
            conn.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        conn.send(b"0\r\n\r\n")
        self.expect(conn, 204)
        self.acked(ident)

    def refused(self, conn):
        for status, data in ((401, wire.request("POST", "/hooks/github", sign.github("wrong", b"x"), b"x")),
                             (404, wire.request("POST", "/nowhere", (), b"x" * self.rnd.randint(0, 5000))),
                             (405, wire.request("GET", "/hooks/github")),
                             (415, wire.request("POST", "/hooks/github", [("Content-Encoding", "br")], b"x"))):
            conn.send(data)
            self.expect(conn, status)

    def half(self, conn):
        _, body = self.fresh()
        whole = self.request(body)
        conn.send(whole[:self.rnd.randint(1, len(whole) - 1)])

    def aborted(self, conn):
        """Reset while the server reads, stores, or answers."""
        batch = [self.fresh() for _ in range(self.rnd.randint(1, 4))]
        wires = b"".join(self.request(body) for _, body in batch)
        self.unacked(ident for ident, _ in batch)
        conn.send(wires[:self.rnd.randint(1, len(wires))])
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def half_closed(self, conn):
        ident, body = self.fresh()
        conn.send(self.request(body))
        conn.sock.shutdown(socket.SHUT_WR)
        self.expect(conn, 204)
        self.acked(ident)
        if not conn.is_closed_by_peer(PATIENT):
            raise AssertionError("kept after a half-close")

    def too_large(self, conn):
        conn.send(wire.request("POST", "/hooks/github", [("Content-Length", str(10 * LIMIT))], length=False))
        conn.send(b"x" * self.rnd.randint(0, LIMIT))
        self.expect(conn, 413)

    def malformed(self, conn):
        conn.send(self.rnd.choice([b"\0\1\2", b"GET / HTTP/1.1\r\n\r\n", b"x" * 9000, b"POST / HTTP/3.0\r\n\r\n",
                                   b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200]))
        if not 400 <= conn.final().status <= 505:
            raise AssertionError("taken")

    def silent(self, conn):
        pass


def checkpoint(server, fds):
    """Waits until all have left and nothing of them is open; what is resident then."""
    until("all have left", lambda: server.metrics()['millrace_http_connections{listener="webhook"}'] == 0, PATIENT)
    until(f"{fds} descriptors as at the start", lambda: server.descriptors_at_rest(PATIENT) == fds, PATIENT)
    return server.memory_kib("VmRSS")


def churn(server, ledger, seconds, seed, round_):
    """All senders for a while; how many connections they had, and what went wrong."""
    end = time.monotonic() + seconds
    senders = [Sender(server, ledger, f"r{round_}s{k}", random.Random(f"{seed}/{round_}/{k}"), lambda: time.monotonic() < end)
               for k in range(SENDERS)]
    threads = [threading.Thread(target=s.run, daemon=True) for s in senders]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return sum(s.done for s in senders), [w for s in senders for w in s.wrong]


def rounds(server, ledger, seconds, seed, faults):
    """The first checkpoint is no measure of memory: what is made once is made in its round."""
    fds, resident, done = server.descriptors_at_rest(), [], 0
    for k in range(CHECKPOINTS):
        came, wrong = churn(server, ledger, seconds / CHECKPOINTS, seed, k)
        done += came
        faults += wrong
        resident.append(checkpoint(server, fds))
    print(f"  {done} connections; at the checkpoints {fds} descriptors, resident KiB {resident}", flush=True)
    bound = GROWTH_KIB * (8 if is_sanitized() else 1)
    if resident[-1] - resident[1] > bound:
        faults.append(f"resident grew from {resident[1]} to {resident[-1]} KiB, bound {bound}")
    if done < 10 * seconds:
        faults.append(f"only {done} connections: that is no soak")


def campaign(seconds, seed):
    with Home("mr-soak") as home:
        server = Server(home, config(home, {"github": webhook(body_limit="64KiB")}, limits={"disk_reserve": "0B"}))
        # freed memory that a sanitizer holds back is not what is measured
        server.env["ASAN_OPTIONS"] = "detect_leaks=1:quarantine_size_mb=16"
        ledger, faults = Ledger(), []
        try:
            server.start()
            accepted(server, "warm")
            ledger.sent.add("warm")
            ledger.acked.add("warm")
            wait_landed(server, "warm")
            rounds(server, ledger, seconds, seed, faults)
            server.stop(timeout=90)
        except (AssertionError, OSError) as e:
            faults.append(f"{type(e).__name__}: {e}")
        finally:
            server.kill9()
        reader = Reader(server.zone)
        counts = reader.scan()["github"]
        verdict = Verdict(ledger, counts)
        strange = [i for i in counts if i in ledger.sent and i not in ledger.acked and i not in ledger.unknown]
        faults += verdict.faults() + reader.problems
        faults += [f"{len(strange)} landed that were never whole, e.g. {strange[:3]}"] if strange else []
        tell(faults)
        return result("soak", [verdict], faults, reader.problems, seed=seed)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--seconds", type=float, default=20)
    ap.add_argument("--seed", type=int, default=random.SystemRandom().randint(1, 10 ** 6))
    args = ap.parse_args()
    print(f"soak: seed {args.seed}")
    sys.exit(campaign(args.seconds, args.seed))


if __name__ == "__main__":
    main()
