#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The test is itself tested: with one promise of millrace switched off, the campaign must find what that breaks.

no_sync     nothing is synced: a power cut must lose acknowledged events
no_dirsync  directories are not synced: a power cut just after a publish must lose a file of the zone
no_cas      positions move without compare-and-swap: a landing under way must override a position that a person set

usage: mutants.py [--seed N] [--tries 5]       exit 77 where loop devices cannot be mounted or the build has no faults
"""
import argparse
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import powercut  # noqa: E402
import steal  # noqa: E402
from disk import Cannot  # noqa: E402
from server import has_faults  # noqa: E402


def cut_finds(mutant, seed, tries):
    """The power-cut campaign against a mutant: what it found, nothing if it was fooled."""
    if mutant == "no_sync":
        _, faults, _, cuts = powercut.run(tries, seed, "one", mutant, ("any",))
    else:
        _, faults, _, cuts = powercut.run(tries, seed, "two", mutant, ("published",))
    return faults, cuts


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--seed", type=int, default=random.SystemRandom().randint(1, 10 ** 6))
    ap.add_argument("--tries", type=int, default=5)
    args = ap.parse_args()
    print(f"mutants: seed {args.seed}")
    if not has_faults():
        sys.exit(case.skipped("this build has no named points, so no mutants"))
    missed, skipped = [], []
    for mutant in ("no_sync", "no_dirsync", "no_cas"):
        try:
            if mutant == "no_cas":
                faults, cuts = steal.run(mutant), 0
            else:
                faults, cuts = cut_finds(mutant, args.seed, args.tries)
        except Cannot as e:
            print(f"SKIPPED: {mutant}: {e}")
            skipped.append(mutant)
            continue
        print(f"  {mutant}: {'found: ' + faults[0][:300] if faults else 'NOT FOUND'}", flush=True)
        if not faults:
            missed.append(mutant)
        print(f"RESULT part=mutant-{mutant} seed={args.seed} kills={cuts} found={len(faults)} "
              f"outcome={'ok' if faults else 'FAILED'}", flush=True)
    healthy = steal.run(None)
    if healthy:
        print(f"FAULT without any mutant: {healthy}")
        missed.append("steal without mutant")
    if missed:
        sys.exit(f"mutants: the campaign was fooled by {', '.join(missed)}")
    sys.exit(case.SKIPPED if len(skipped) == 3 else 0)


if __name__ == "__main__":
    main()
