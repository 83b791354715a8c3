#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of connections against a Postgres server that is started for them; then those of a resolver that hangs.

usage: links.py TEST SLOW_RESOLVER
"""
import os
import subprocess
import sys
import tempfile

TEST, SLOW_RESOLVER = sys.argv[1:]
os.environ["MILLRACE_BIN"] = TEST  # whose sanitizer's runtime goes first into LD_PRELOAD
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
from case import Skip  # noqa: E402
from postgres import Postgres  # noqa: E402
from server import preload  # noqa: E402

try:
    server = Postgres()
except Skip as skip:
    print(f"SKIP: {skip}")
    sys.exit(77)
try:
    failed = subprocess.run([TEST, server.url]).returncode
    with tempfile.TemporaryDirectory() as folder:
        fifo = os.path.join(folder, "hang")
        os.mkfifo(fifo)
        env = {**os.environ, "LD_PRELOAD": preload(SLOW_RESOLVER), "ASAN_OPTIONS": "detect_leaks=0", "MRT_HANG": fifo}
        failed |= subprocess.run([TEST, server.url, "resolver"], env=env).returncode
    sys.exit(failed)
finally:
    server.stop()
