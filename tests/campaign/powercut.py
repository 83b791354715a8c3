#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real power cuts: ext4 on a loop device, shut down without flushing its journal while the server works, mounted again.

kill -9 proves nothing about fsync, the page cache survives it; this does. Two layouts take turns: all of millrace on
one device, and the zone on a second one, whose journal no sync of the queue or of the state can flush along the way.
Two moments take turns: any moment, and just after a file got its final name.

usage: powercut.py [--cuts 20] [--seed N]      exit 77 where loop devices cannot be mounted
"""
import argparse
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
from disk import Cannot, Ext4  # noqa: E402
from pair import Pair, result, tell  # noqa: E402
from server import Died, Home, until  # noqa: E402


class Machine:
    """The devices of one layout; cut() takes the power away from all of them, boot() mounts them again."""

    def __init__(self, home, layout):
        self.disks = [Ext4(home.at("disk"), home.at("disk.img"))]
        if layout == "two":
            self.disks.append(Ext4(home.at("zonedisk"), home.at("zonedisk.img")))
        self.data_dir = home.at("disk", "data")
        self.zone = os.path.join(self.disks[-1].folder, "zone")

    def boot(self):
        for d in self.disks:
            d.mount()

    def cut(self):
        for d in self.disks:
            d.cut()

    def off(self):
        for d in self.disks:
            if d.mounted:
                d.umount()


def run(cuts, seed, layout, mutant=None, moments=("any", "published"), rate=600):
    """Cuts the power `cuts` times, or until the first fault: (verdicts, faults, zone problems, cuts made)."""
    rnd = random.Random(f"{seed}/{layout}")
    with Home("mr-power") as home:
        machine = Machine(home, layout)
        try:
            machine.boot()
            pair = Pair(home, seed, rate=rate, data_dir=machine.data_dir, zone={"url": "file:" + machine.zone})
            server, made = pair.server, 0
            server.extra_env = {"MILLRACE_MUTANT": mutant} if mutant else {}
            while made < cuts:
                server.start()
                pair.send()
                if not pair.wait_acked(20):
                    raise AssertionError(f"no events are acknowledged:\n{server.tail()}")
                moment = moments[made % len(moments)]
                if moment == "published":
                    before = len(pair.reader.files())
                    until("a new file in the zone", lambda: len(pair.reader.files()) > before, 20, 0.002)
                    pair.quiet.wait(rnd.uniform(0.0, 0.4))
                else:
                    pair.quiet.wait(rnd.uniform(0.3, 1.8))
                machine.cut()
                server.kill9()
                made += 1
                machine.off()
                machine.boot()
                faults = after_boot(pair)
                verdicts, more = pair.verdicts(fresh=True)
                faults += more
                print(f"  {layout} device(s), cut {made} ({moment}): "
                      + "; ".join(f"{n}: {v}" for n, v in verdicts.items()), flush=True)
                if faults:
                    break
            return list(verdicts.values()), faults, pair.reader.problems, made
        finally:
            if "pair" in locals():
                if pair.server.alive():
                    pair.server.kill9()
                pair.hang_up()
            machine.off()


def after_boot(pair):
    """Starts the server on what the disk kept; the vendors, who never noticed, settle what is open; all lands."""
    try:
        pair.finish()
        return []
    except (AssertionError, Died) as e:
        if pair.server.alive():
            pair.server.kill9()
        pair.hang_up()
        return [str(e)]


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--cuts", type=int, default=20)
    ap.add_argument("--seed", type=int, default=random.SystemRandom().randint(1, 10 ** 6))
    args = ap.parse_args()
    print(f"powercut: {args.cuts} cuts, seed {args.seed}")
    verdicts, faults, problems, made = [], [], [], 0
    try:
        for layout, cuts in (("one", args.cuts // 2), ("two", args.cuts - args.cuts // 2)):
            if cuts and not faults:
                got = run(cuts, args.seed, layout)
                verdicts += got[0]
                faults += got[1]
                problems += got[2]
                made += got[3]
    except Cannot as e:
        sys.exit(case.skipped(str(e)))
    except AssertionError as e:
        faults.append(str(e))
    tell(faults)
    sys.exit(result("powercut", verdicts, faults, problems, kills=made, seed=args.seed))


if __name__ == "__main__":
    main()
