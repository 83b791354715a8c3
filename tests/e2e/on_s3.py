#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tells another script's stories with the zone in a bucket of an S3 server that is started for them; at the end no upload is left.

usage: on_s3.py SCRIPT [STORY...]
"""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import case  # noqa: E402
from s3 import Store  # noqa: E402

with tempfile.TemporaryDirectory(prefix="mr-s3.") as folder:
    try:
        store = Store(folder, "zone")
    except case.Skip as e:
        sys.exit(case.skipped(str(e)))
    try:
        code = subprocess.run([sys.executable, os.path.join(HERE, sys.argv[1]), *sys.argv[2:]], env={**os.environ, **store.environment()}).returncode
        left = store.uploads()
        if code == 0 and left:
            code = f"uploads were left behind: {left}"
    finally:
        store.stop()
sys.exit(code)
