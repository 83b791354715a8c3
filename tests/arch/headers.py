#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each header of include/ and src/ compiles alone, and twice: it includes what it needs, and has its guard.

usage: headers.py ROOT COMPILER [FLAGS...]
"""
import os
import subprocess
import sys


def headers(root):
    for top in ("include", "src"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith(".h"))


def main():
    root, compiler, flags = sys.argv[1], sys.argv[2], sys.argv[3:]
    base = [compiler, "-std=c17", "-D_GNU_SOURCE", "-DMR_FAULTS=1", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", os.path.join(root, "include"),
            "-I", os.path.join(root, "src"), *flags, "-x", "c", "-"]
    found, count = [], 0
    for path in headers(root):
        text = f'#include "{path}"\n#include "{path}"\ntypedef int nothing;\n'
        done = subprocess.run(base, input=text, capture_output=True, text=True)
        if done.returncode:
            found.append(f"{os.path.relpath(path, root)} does not compile alone:\n{done.stderr}")
        count += 1
    print("\n".join(found) if found else f"{count} headers compile alone")
    sys.exit(1 if found or not count else 0)


if __name__ == "__main__":
    main()
