#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Starts a store that speaks S3 and has far.c tell the zone's promises against it, twice: as it is, and through a proxy that loses, cuts and refuses one answer in
five at random. Then looks at what is left on its disk.

usage: far.py TEST_ZONE_FAR
env SEED. MRT_S3_PORT, with MRT_S3_BUCKET, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: another store on 127.0.0.1, for a second opinion
"""
import os
import random
import subprocess
import sys
import tempfile
import types

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import case  # noqa: E402
from s3 import ACCESS, SECRET, Faults, Store, error  # noqa: E402

SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randint(1, 10 ** 6)


def told(port, bucket, access, secret, scratch, prefix):
    return subprocess.run([sys.argv[1], f"http://127.0.0.1:{port}", f"s3://{bucket}/{prefix}{os.getpid()}", access, secret, scratch]).returncode


def both(store, *more):
    """As it is, then with bad luck; each try of a call has its own."""
    rng = random.Random(SEED)
    print(f"seed {SEED}", flush=True)
    proxy = Faults(store, lambda n, method, target: rng.choice(["lost", "cut", "refuse", error("SlowDown"), error("InternalError", "200 OK") if method == "POST" else "lost"])
                   if rng.random() < 0.2 else None)
    try:
        return told(store.port, *more, "plain") or told(int(proxy.url.rsplit(":", 1)[1]), *more, "faults")
    finally:
        proxy.stop()


with tempfile.TemporaryDirectory(prefix="mr-s3.") as folder:
    scratch = os.path.join(folder, "scratch")
    os.mkdir(scratch)
    if os.environ.get("MRT_S3_PORT"):
        other = types.SimpleNamespace(port=int(os.environ["MRT_S3_PORT"]))
        sys.exit(both(other, os.environ["MRT_S3_BUCKET"], os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], scratch))
    try:
        store = Store(folder, "zone")
    except case.Skip as e:
        sys.exit(case.skipped(str(e)))
    try:
        code = both(store, "zone", ACCESS, SECRET, scratch)
        if code == 0:
            case.equal(store.uploads(), [], "uploads are left")
            case.equal(os.listdir(scratch), [], "files are left")
    finally:
        store.stop()
sys.exit(code)
