#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The queue grows past what memory allows while the zone has no room: memory stays bounded, and all lands afterwards.

A process with `limits.memory: 64MiB` acknowledges several times that in events while its zone is full, is killed,
recovers the queue, and lands it, each event once. Its peak (VmHWM) is watched in all three acts.

usage: memory.py [--ci] [--seed N]      exit 77 where a tmpfs cannot be mounted
"""
import argparse
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
from disk import Cannot, Tmpfs, fill  # noqa: E402
from pair import Pair, result, tell  # noqa: E402
from server import Home, is_sanitized, until  # noqa: E402

LIMIT_MIB = 64
BODY = 60000


def bound_kib():
    """limits.memory, the program itself, and what a sanitizer adds (shadow, quarantine of freed memory, tables)."""
    return (LIMIT_MIB + 48) * 1024 * (4 if is_sanitized() else 1)


def campaign(seed, megabytes):
    events = megabytes * 1000000 // BODY // 2    # for each of the two vendors
    with Home("mr-memory") as home, Tmpfs(home.at("small"), "8m") as disk:
        zone = os.path.join(disk.folder, "zone")
        pair = Pair(home, seed, rate=0, big=1.0, big_size=BODY, limit=events // 2, connections=2,
                    zone={"url": "file:" + zone, "compression": "none"},
                    limits={"memory": f"{LIMIT_MIB}MiB", "disk_reserve": "0B"})
        server, faults, peaks = pair.server, [], {}
        # glibc keeps freed memory of several arenas; a sanitizer keeps it in quarantine. Neither is what is measured.
        server.env["ASAN_OPTIONS"] = "detect_leaks=1:quarantine_size_mb=16"
        try:
            server.start()
            fill(disk.folder)
            pair.send()
            for load in pair.loads.values():
                if len(load.finished(240).acked) < events // 2:
                    faults.append(f"{load.name}: only {len(load.ledger.acked)} of {events} events are acknowledged")
            peaks["accepting"] = server.memory_kib()
            server.kill9()
            server.start(timeout=120)
            peaks["recovering"] = server.memory_kib()
            os.unlink(os.path.join(disk.folder, ".ballast"))
            disk.resize("2g")
            wanted = pair.loads["single"].ledger.acked
            until("the whole queue lands", lambda: set(pair.reader.scan()["single"]) >= wanted, 240, 0.3)
            peaks["landing"] = server.memory_kib()
            pair.finish()
        except AssertionError as e:
            faults.append(str(e))
        finally:
            server.kill9()
            pair.hang_up()
        verdicts, more = pair.verdicts()
        print(f"  peaks in KiB {peaks}, bound {bound_kib()}; "
              + "; ".join(f"{n}: {v}" for n, v in verdicts.items()), flush=True)
        faults += more
        faults += [f"{act}: VmHWM {kib} KiB, bound {bound_kib()}" for act, kib in peaks.items() if kib > bound_kib()]
        tell(faults)
        return result("memory", verdicts.values(), faults, pair.reader.problems, kills=1, seed=seed)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--ci", action="store_true", help="120 MB instead of 400")
    ap.add_argument("--seed", type=int, default=random.SystemRandom().randint(1, 10 ** 6))
    args = ap.parse_args()
    print(f"memory: seed {args.seed}")
    try:
        sys.exit(campaign(args.seed, 120 if args.ci else 400))
    except Cannot as e:
        sys.exit(case.skipped(str(e)))


if __name__ == "__main__":
    main()
