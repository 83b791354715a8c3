#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Starts a store that speaks S3 and has far.c tell the zone's promises against it; then looks at what is left on its disk.

usage: far.py TEST_ZONE_FAR
env MRT_S3_ENDPOINT, with MRT_S3_BUCKET, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: another store, for a second opinion
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import case  # noqa: E402
from s3 import ACCESS, SECRET, Store  # noqa: E402


def told(endpoint, bucket, access, secret, scratch):
    return subprocess.run([sys.argv[1], endpoint, f"s3://{bucket}/told{os.getpid()}", access, secret, scratch]).returncode


with tempfile.TemporaryDirectory(prefix="mr-s3.") as folder:
    scratch = os.path.join(folder, "scratch")
    os.mkdir(scratch)
    if os.environ.get("MRT_S3_ENDPOINT"):
        sys.exit(told(os.environ["MRT_S3_ENDPOINT"], os.environ["MRT_S3_BUCKET"], os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], scratch))
    try:
        store = Store(folder, "zone")
    except case.Skip as e:
        sys.exit(case.skipped(str(e)))
    try:
        code = told(store.url, "zone", ACCESS, SECRET, scratch)
        if code == 0:
            case.equal(store.uploads(), [], "uploads are left")
            case.equal(os.listdir(scratch), [], "files are left")
    finally:
        store.stop()
sys.exit(code)
