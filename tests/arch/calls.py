#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Calls that nobody in src/ may make, because a better one is there or because they block the loop.

usage: calls.py ROOT
"""
import os
import re
import sys

BANNED = {
    "sleep usleep nanosleep": "await an event, or use a timer of the loop; in a thread, a condition with a time-out",
    "system popen": "no shell is ever needed",
    "strcpy strcat sprintf vsprintf gets": "cannot be bounded: snprintf, memcpy or struct mr_buf",
    "strncpy": "leaves texts without an end: snprintf",
    "atoi atol atoll atof": "say nothing of errors: config/units.h, mr_json_i64",
    "localtime localtime_r gmtime mktime ctime asctime strftime": "tied to TZ and to shared memory: millrace/clock.h",
    "strtok": "keeps state between calls: strtok_r",
    "rand srand random drand48": "guessable: mr_random of millrace/hash.h",
    "setlocale": "changes how the whole process reads numbers",
    "longjmp setjmp siglongjmp": "jumps over what must be freed",
    "alloca": "the stack is not for sizes from outside",
    "fork vfork": "threads and locks do not survive it",
}
# A synchronous uv_fs_*: its callback is NULL, and it blocks whoever calls it.
SYNCHRONOUS = re.compile(r"\buv_fs_(?!req_cleanup|event_|poll_|get_)\w+\s*\([^;]*,\s*NULL\s*\)")
TOKENS = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_only(text):
    """The text with comments, strings and characters blanked; every line keeps its number."""
    return TOKENS.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)) if not m.group(0).startswith(('"', "'")) else '""' +
                      " " * (len(m.group(0)) - 2), text)


def faults_of(path, text):
    code = code_only(text)
    for words, why in BANNED.items():
        for m in re.finditer(r"(?<![\w.>])(" + "|".join(words.split()) + r")\s*\(", code):
            yield f"{path}:{code.count(chr(10), 0, m.start()) + 1}: {m.group(1)}(): {why}"
    for m in SYNCHRONOUS.finditer(code):
        yield f"{path}:{code.count(chr(10), 0, m.start()) + 1}: a synchronous uv_fs call blocks: use a job on a lane"


def faults(root):
    found, count = [], 0
    for folder, _, names in os.walk(os.path.join(root, "src")):
        for name in sorted(names):
            if name.endswith((".c", ".h")):
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8") as f:
                    found += faults_of(os.path.relpath(path, root), f.read())
                count += 1
    return found, count


def main():
    found, count = faults(sys.argv[1])
    print("\n".join(found) if found else f"{count} files make no banned call")
    sys.exit(1 if found or not count else 0)


if __name__ == "__main__":
    main()
