#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tells another script's stories with the state in a Postgres server that is started for them.

usage: on_postgres.py SCRIPT [STORY...]
"""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import case  # noqa: E402
from postgres import Postgres  # noqa: E402

try:
    server = Postgres()
except case.Skip as e:
    sys.exit(case.skipped(str(e)))
try:
    sys.exit(subprocess.run([sys.executable, os.path.join(HERE, sys.argv[1]), *sys.argv[2:]], env={**os.environ, "MRT_STATE": server.url}).returncode)
finally:
    server.stop()
