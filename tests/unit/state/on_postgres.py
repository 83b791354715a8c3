#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a test against a Postgres server that is started for it.

usage: on_postgres.py TEST
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
from case import Skip  # noqa: E402
from postgres import Postgres  # noqa: E402

try:
    server = Postgres()
except Skip as skip:
    print(f"SKIP: {skip}")
    sys.exit(77)
try:
    sys.exit(subprocess.run([sys.argv[1], server.url]).returncode)
finally:
    server.stop()
