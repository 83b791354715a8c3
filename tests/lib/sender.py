# SPDX-License-Identifier: Apache-2.0
"""A vendor: many connections that send signed events, and a ledger that remembers what was promised for each.

Two kinds of vendor exist. One never sends twice (GitHub): an event whose answer got lost may have landed or not, an
acknowledged one has landed once. The other sends until it hears a 2xx (Stripe): with dedup each event lands once.
The ledger is the campaign's memory; millrace has no part in it.
"""
import json
import random
import threading
import time

import sign
import wire
from server import SECRET


class Ledger:
    def __init__(self):
        self.sent, self.acked, self.refused, self.unknown = set(), set(), set(), set()
        self.statuses = {}
        self.no_retry_after = 0
        self.lock = threading.Lock()

    def count_status(self, status):
        self.statuses[status] = self.statuses.get(status, 0) + 1


class Verdict:
    """What the zone holds against what the ledger remembers."""

    def __init__(self, ledger, counts, retrying=False, refused_may_land=False):
        self.sent, self.acked = len(ledger.sent), len(ledger.acked)
        self.landed = sum(counts.values())
        self.lost = sorted(i for i in ledger.acked if not counts.get(i))
        self.doubled = sorted(str(i) for i, n in counts.items() if n > 1)
        self.foreign = sorted(str(i) for i in counts if i not in ledger.sent)
        self.refused_landed = [] if refused_may_land else sorted(i for i in ledger.refused if counts.get(i))
        self.unsettled = sorted(ledger.sent - ledger.acked) if retrying else []

    def faults(self):
        named = (("lost", self.lost), ("doubled", self.doubled), ("never sent", self.foreign),
                 ("refused, yet landed", self.refused_landed), ("sent, never acknowledged", self.unsettled))
        return [f"{len(ids)} {what}, e.g. {', '.join(ids[:3])}" for what, ids in named if ids]

    def __str__(self):
        return (f"sent {self.sent} acked {self.acked} landed {self.landed} lost {len(self.lost)} "
                f"doubled {len(self.doubled)}")


class Load:
    """Sends to one route on several connections until stop().

    retry: send each event again until it is acknowledged. repeat: share of acknowledged events that are sent once
    more afterwards, as vendors do. conflict: share sent again under the same id with another body. depth: requests
    in flight on a connection at a time (pipelined).
    """

    def __init__(self, port, path, name, connections=4, rate=800, retry=False, repeat=0.0, conflict=0.0, depth=4,
                 big=0.01, big_size=20000, secret=SECRET, seed=1, limit=None):
        self.port, self.path, self.name, self.retry = port, path, name, retry
        self.repeat, self.conflict, self.depth, self.big, self.big_size = repeat, conflict, depth, big, big_size
        self.secret, self.limit = secret, limit
        self.pause = connections / rate if rate else 0
        self.ledger = Ledger()
        self.halt = threading.Event()
        self.finish = threading.Event()          # settle what is open, begin nothing new
        self.progress = threading.Condition(self.ledger.lock)
        self.threads = [threading.Thread(target=self._run, args=(k, random.Random(f"{seed}/{name}/{k}")), daemon=True)
                        for k in range(connections)]

    def start(self):
        for t in self.threads:
            t.start()
        return self

    def stop(self):
        """Ends at once; a retrying sender leaves what is open unsettled."""
        self.halt.set()
        for t in self.threads:
            t.join()
        return self.ledger

    def finished(self, timeout=60.0):
        """Waits until the whole `limit` has been sent and answered."""
        end = time.monotonic() + timeout
        for t in self.threads:
            t.join(max(0.0, end - time.monotonic()))
        if any(t.is_alive() for t in self.threads):
            raise AssertionError(f"{self.name}: not all sent within {timeout:g} s: {self.ledger.statuses}")
        return self.ledger

    def settle(self, timeout=60.0):
        """Begins nothing new, waits until every event of a retrying sender is acknowledged."""
        self.finish.set()
        end = time.monotonic() + timeout
        for t in self.threads:
            t.join(max(0.0, end - time.monotonic()))
        if any(t.is_alive() for t in self.threads):
            self.stop()
            raise AssertionError(f"{self.name}: events are still refused after {timeout:g} s: {self.ledger.statuses}")
        return self.ledger

    def wait_acked(self, more, timeout=30.0):
        """Waits until `more` further events are acknowledged; False if that does not happen."""
        with self.progress:
            goal = len(self.ledger.acked) + more
            return self.progress.wait_for(lambda: len(self.ledger.acked) >= goal, timeout)

    def wait_status(self, status, timeout=30.0):
        """Waits until an answer with this status has been seen."""
        with self.progress:
            return self.progress.wait_for(lambda: self.ledger.statuses.get(status), timeout)

    # -- a connection's thread ----------------------------------------------------------------------------------

    def _body(self, ident, rnd, note="first"):
        size = self.big_size if rnd.random() < self.big else rnd.randint(40, 400)
        return json.dumps({"id": ident, "note": note, "n": rnd.randint(0, 10 ** 18), "pad": "x" * size}).encode()

    def _request(self, body):
        headers = [("Content-Type", "application/json"), *sign.github(self.secret, body)]
        return wire.request("POST", self.path, headers, body)

    def _run(self, k, rnd):
        conn, number = None, 0
        again = []                                # (ident, request) to send once more
        while not self.halt.is_set() and not (self.finish.is_set() and not again):
            batch, again = again[:self.depth], again[self.depth:]
            while len(batch) < self.depth and not self.finish.is_set():
                if self.limit is not None and number >= self.limit:
                    break
                number += 1
                ident = f"{self.name}-{k}-{number}"
                batch.append((ident, self._request(self._body(ident, rnd))))
            if not batch:
                break
            if conn is None:
                conn = self._connect()
                if conn is None:
                    break
            open_, conn = self._exchange(conn, batch, rnd, again)
            again = open_ + again
            if self.pause:
                self.halt.wait(self.pause * len(batch))
        if conn:
            conn.close()

    def _connect(self):
        while not self.halt.is_set():
            try:
                return wire.Conn(self.port)
            except OSError:
                self.halt.wait(0.02)              # nobody listens now: ask again, nothing was sent
        return None

    def _exchange(self, conn, batch, rnd, again):
        """Sends a batch, reads its answers; gives back what must be sent again and the connection, None if ended."""
        with self.ledger.lock:
            self.ledger.sent.update(ident for ident, _ in batch)
        done, wait, ended = 0, 0.0, False
        try:
            conn.send(b"".join(req for _, req in batch))
            for ident, req in batch:
                res = conn.final()
                done += 1
                wait = max(wait, self._note(ident, req, res, rnd, again))
                if (res.header("Connection") or "").lower() == "close":
                    ended = True
                    break
        except (OSError, wire.Closed, ValueError):
            ended = True
        left = batch[done:]
        if left and not self.retry:
            with self.ledger.lock:
                self.ledger.unknown.update(ident for ident, _ in left)
            left = []
        if ended:
            conn.close()
            conn = None
        if wait:
            self.halt.wait(wait)
        return left, conn

    def _note(self, ident, req, res, rnd, again):
        """Writes one answer down; returns how long the sender should hold back."""
        with self.progress:
            self.ledger.count_status(res.status)
            self.progress.notify_all()
            if 200 <= res.status < 300:
                if ident not in self.ledger.acked:
                    self.ledger.acked.add(ident)
                    if rnd.random() < self.repeat:
                        again.append((ident, req))
                    elif rnd.random() < self.conflict:
                        again.append((ident, self._request(self._body(ident, rnd, "other"))))
                return 0.0
            if res.status == 503 and not res.header("Retry-After"):
                self.ledger.no_retry_after += 1
            if self.retry:
                again.append((ident, req))
            elif ident not in self.ledger.acked:
                self.ledger.refused.add(ident)
        return 0.1
