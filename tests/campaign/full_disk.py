#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The disk runs full under the queue, the state and the zone: 503 with Retry-After, and service resumes by itself.

Three stories: everything on one small tmpfs; only the zone on it (the queue then holds what cannot land); only the
queue and the state on it. Nothing acknowledged is lost, nothing lands twice, and nobody restarts the server.

usage: full_disk.py [--seed N]       exit 77 where a tmpfs cannot be mounted
"""
import argparse
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
from disk import Cannot, Tmpfs, fill  # noqa: E402
from pair import Pair, result, tell  # noqa: E402
from server import Home, until  # noqa: E402

# No reserve: the file system itself must say ENOSPC.
SMALL = {"queue": {"segment_size": "1MiB"}, "limits": {"disk_reserve": "0B"}}


def full(what, seed):
    """(verdicts, faults, zone problems) of one story; what: all, zone or queue."""
    with Home("mr-full") as home, Tmpfs(home.at("small"), "48m") as disk:
        data = home.at("small", "data") if what in ("all", "queue") else home.at("data")
        zone = home.at("small", "zone") if what in ("all", "zone") else home.at("zone")
        pair = Pair(home, seed, rate=300, data_dir=data, zone={"url": "file:" + zone}, **SMALL)
        server, faults = pair.server, []
        try:
            server.start()
            pair.send()
            pair.wait_acked(100)
            until("something lands", pair.reader.files)
            ballast = fill(disk.folder)
            if what == "zone":
                stalls(pair, faults)
            elif not pair.loads["single"].wait_status(503, 60):
                faults.append("the disk is full and no request was answered 503")
            if not server.alive():
                faults.append(f"the server ended on a full disk with {server.proc.returncode}:\n{server.tail(8)}")
            os.unlink(ballast)
            if server.alive() and not pair.wait_acked(100, 60):
                faults.append("there is room again, and still no event is acknowledged")
            if server.alive():
                lands_again(pair, faults)
            pair.finish()
        except AssertionError as e:
            faults.append(str(e))
        finally:
            server.kill9()
            pair.hang_up()
        verdicts, more = pair.verdicts()
        faults = [f"full disk ({what}): {f}" for f in faults + more]
        print(f"  {what}: " + "; ".join(f"{n}: {v}" for n, v in verdicts.items()), flush=True)
        return list(verdicts.values()), faults, pair.reader.problems


def stalls(pair, faults):
    """The zone is full: events are still acknowledged, since the queue has room, and none lands."""
    if not pair.wait_acked(300, 30):
        faults.append("the zone is full and the queue is not, yet nothing is acknowledged")


def lands_again(pair, faults):
    with pair.loads["single"].ledger.lock:
        wanted = set(list(pair.loads["single"].ledger.acked)[-20:])
    try:
        until("what was acknowledged lands", lambda: all(pair.reader.scan()["single"].get(i) for i in wanted), 60)
    except AssertionError as e:
        faults.append(f"there is room again: {e}")


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--seed", type=int, default=random.SystemRandom().randint(1, 10 ** 6))
    args = ap.parse_args()
    verdicts, faults, problems = [], [], []
    print(f"full_disk: seed {args.seed}")
    try:
        for what in ("all", "zone", "queue"):
            got = full(what, args.seed)
            verdicts += got[0]
            faults += got[1]
            problems += got[2]
    except Cannot as e:
        sys.exit(case.skipped(str(e)))
    tell(faults)
    sys.exit(result("full-disk", verdicts, faults, problems, kills=0, seed=args.seed))


if __name__ == "__main__":
    main()
