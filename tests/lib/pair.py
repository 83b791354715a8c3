# SPDX-License-Identifier: Apache-2.0
"""The two vendors of every campaign on one server, and the count at the end.

`single` has no dedup and its vendor never sends twice: a doubled event is our own doing, nothing hides it.
`stubborn` has dedup; its vendor sends until it hears a 2xx, repeats some events anyway, and reuses some ids with other
bodies: every event must land exactly once.
"""
import threading
import time

from sender import Load, Verdict
from server import Server, config, webhook
from zone import Reader

SINGLE, STUBBORN = "single", "stubborn"


def sources():
    return {SINGLE: webhook(path="/hooks/single"),
            STUBBORN: webhook(path="/hooks/stubborn", dedup={"id": "/id", "window": "7d"})}


class Pair:
    def __init__(self, home, seed, rate=800, env=None, connections=3, big=0.01, big_size=20000, limit=None, name="s",
                 **top):
        self.name = name                          # of what `single` sends; two pairs on one zone need two
        self.server = Server(home, config(home, top.pop("sources", None) or sources(), **top), env=env)
        self.reader = Reader(self.server.zone)
        self.loads, self.seed, self.rate, self.connections = {}, seed, rate, connections
        self.big, self.big_size, self.limit, self.round = big, big_size, limit, 0
        self.past = {SINGLE: [], STUBBORN: []}
        self.quiet = threading.Event()            # waits for a length of time, not for an event: the kill's own clock

    def send(self):
        """Starts both vendors (again: with fresh ids)."""
        self.round += 1
        common = {"connections": self.connections, "rate": self.rate / 2, "seed": f"{self.seed}/{self.round}",
                  "big": self.big, "big_size": self.big_size, "limit": self.limit}
        self.loads = {
            SINGLE: Load(self.server.port, "/hooks/single", f"{self.name}{self.round}", **common).start(),
            STUBBORN: Load(self.server.port, "/hooks/stubborn", f"d{self.round}", retry=True, repeat=0.02,
                           conflict=0.01, **common).start()}
        for name, load in self.loads.items():
            self.past[name].append(load)
        return self

    def wait_acked(self, more, timeout=30.0):
        """Waits until both vendors have `more` further acknowledgements."""
        end = time.monotonic() + timeout
        return all(load.wait_acked(more, max(0.0, end - time.monotonic())) for load in self.loads.values())

    def hang_up(self):
        """Both vendors end at once; nothing is settled."""
        for load in self.loads.values():
            load.halt.set()
        for load in self.loads.values():
            load.stop()

    def settle(self, timeout=60.0):
        """The server is up: the one that never retries ends, the stubborn one gets its last 2xx."""
        self.loads[SINGLE].stop()
        self.loads[STUBBORN].settle(timeout)

    def finish(self, start=True):
        """Brings the server up once more, lets the vendors settle, drains by SIGTERM and by run --once."""
        if start and not self.server.alive():
            self.server.start()
        self.settle()
        self.server.stop(timeout=90)
        self.server.drain()

    def verdicts(self, refused_may_land=False, fresh=False):
        """Counts the zone against both ledgers; the list of faults is empty when all is as promised."""
        if fresh:
            self.reader = Reader(self.server.zone)
        return judge(self.reader, self.past, refused_may_land)


def judge(reader, past, refused_may_land=False):
    """Counts a zone against the ledgers of whoever sent to it: {source: Verdict}, faults."""
    counts = reader.scan()
    out, faults = {}, list(reader.problems)
    for name in (SINGLE, STUBBORN):
        merged = merge([load.ledger for load in past[name]])
        out[name] = Verdict(merged, counts[name], name == STUBBORN, refused_may_land)
        faults += [f"{name}: {f}" for f in out[name].faults()]
        if merged.no_retry_after:
            faults.append(f"{name}: {merged.no_retry_after} answers 503 without Retry-After")
        odd = {s: n for s, n in merged.statuses.items() if not (200 <= s < 300 or s in (429, 503))}
        if odd:
            faults.append(f"{name}: answers nobody expects under load: {odd}")
    faults += [f"source {s} was never configured" for s in counts if s not in out and counts[s]]
    return out, faults


def merge(ledgers):
    from sender import Ledger
    total = Ledger()
    for one in ledgers:
        with one.lock:
            for part in ("sent", "acked", "refused", "unknown"):
                getattr(total, part).update(getattr(one, part))
            total.no_retry_after += one.no_retry_after
            for status, n in one.statuses.items():
                total.statuses[status] = total.statuses.get(status, 0) + n
    return total


def result(part, verdicts, faults, problems=(), **more):
    """The line that tests/campaign/run reads into its table."""
    total = {k: sum(len(getattr(v, k)) if k in ("lost", "doubled") else getattr(v, k) for v in verdicts)
             for k in ("sent", "acked", "landed", "lost", "doubled")}
    total["torn"] = sum("torn" in p for p in problems)
    fields = {"part": part, **more, **total, "outcome": "FAILED" if faults else "ok"}
    print("RESULT " + " ".join(f"{k}={v}" for k, v in fields.items()), flush=True)
    return 1 if faults else 0


def tell(faults):
    for fault in faults:
        print(f"FAULT {fault}", flush=True)
