#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The form of the files that git knows: licence line first, at most 1,000 lines, LF, no blanks at line ends, no work left undone.

usage: form.py ROOT
"""
import os
import re
import subprocess
import sys

LINES_MAX = 1000
LICENCE = "SPDX-License-Identifier: Apache-2.0"
SOURCES = (".c", ".h", ".py", ".sh")
UNDONE = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
BYTES = ("tests/fuzz/corpus/",)     # outside bytes, kept as they came


def tracked(root):
    """Files that git knows or would add; without git (a tarball) all files."""
    done = subprocess.run(["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True)
    if done.returncode == 0:
        return [name for name in done.stdout.decode().split("\0") if name and os.path.isfile(os.path.join(root, name))]
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [f for f in folders if f not in ("build", ".git", "__pycache__")]
        found += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return found


def is_source(name, text):
    return name.endswith(SOURCES) or text.startswith("#!")


def faults_of(name, text):
    lines = text.split("\n")
    if is_source(name, text):
        if LICENCE not in (lines[1] if lines[0].startswith("#!") and len(lines) > 1 else lines[0]):
            yield f"{name}:1: the first line (after #!) is to be the licence: {LICENCE}"
        if len(lines) > LINES_MAX + 1:
            yield f"{name}: {len(lines) - 1} lines; a file that needs a table of contents is two files ({LINES_MAX})"
        if not text.endswith("\n"):
            yield f"{name}: the last line has no end"
    for number, line in enumerate(lines, 1):
        if line.endswith("\r"):
            yield f"{name}:{number}: CRLF"
        elif line != line.rstrip():
            yield f"{name}:{number}: blanks at the end of the line"
        if is_source(name, text) and UNDONE.search(line):
            yield f"{name}:{number}: {UNDONE.search(line).group(0)}: do it, or file it"


def main():
    root, found, count = sys.argv[1], [], 0
    for name in sorted(tracked(root)):
        if name.startswith(BYTES):
            continue
        with open(os.path.join(root, name), "rb") as f:
            data = f.read()
        try:
            found += faults_of(name, data.decode())
        except UnicodeDecodeError:
            found.append(f"{name}: is not UTF-8")
        count += 1
    print("\n".join(found) if found else f"{count} files are in form")
    sys.exit(1 if found or not count else 0)


if __name__ == "__main__":
    main()
