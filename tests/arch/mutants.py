#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The checks themselves: a copy of the sources with one thing wrong must be found, whichever it is.

usage: mutants.py ROOT
"""
import os
import shutil
import sys
import tempfile

import arrows
import calls
import form

# (file, line that is put at its end, what the finding says)
ARROWS = [
    ("src/base/buf.c", '#include "millrace/loop.h"', "base may not know that contract"),
    ("src/base/buf.c", '#include "queue/format.h"', "base may not know queue's inside"),
    ("src/telemetry/log.c", '#include "millrace/zone.h"', "telemetry may not know that contract"),
    ("src/queue/queue.c", '#include "millrace/http.h"', "queue may not know that contract"),
    ("src/landing/decide.c", '#include "sources/webhook/hub.h"', "landing may not know sources/webhook's inside"),
    ("src/sources/webhook/land.c", '#include "millrace/zone.h"', "sources/webhook may not know that contract"),
    ("src/sources/webhook/land.c", '#include "millrace/store.h"', "sources/webhook may not know that contract"),
    ("src/sources/webhook/hub.c", "#include <sqlite3.h>", "its home is"),
    ("src/config/load.c", "#include <llhttp.h>", "its home is net"),
    ("src/app/app.c", "#include <uv.h>", "its home is"),
    ("src/net/http_conn.c", "#include <libxml/parser.h>", "knows no home"),
    ("src/landing/roll.c", "static int mutant(void) { return uv_version(); }", "stay pure"),
    ("src/queue/scan.c", "static void mutant(void) { (void)mr_wall_us(); }", "stay pure"),
    ("src/app/app.c", '#include "no/such.h"', "no such file"),
    ("include/millrace/str.h", '#include "millrace/buf.h"', "not among what this contract may include"),
    ("include/millrace/buf.h", '#include "millrace/loop.h"', "is below the loop"),
]
CALLS = [
    ("src/app/app.c", "static void mutant(void) { sleep(1); }", "sleep()"),
    ("src/zone/local.c", 'static void mutant(char *s) { sprintf(s, "x"); }', "sprintf()"),
    ("src/cli/send.c", "static int mutant(const char *s) { return atoi(s); }", "atoi()"),
    ("src/queue/tend.c", "static void mutant(uv_loop_t *l, uv_fs_t *r) { uv_fs_fsync(l, r, 3, NULL); }", "synchronous"),
]
INNOCENT = [
    ("src/app/app.c", "/* sleep(1), and #include <sqlite3.h> in the middle of a text */"),
    ("src/app/app.c", 'static const char *mutant = "atoi(3)";'),
]
FORM = [
    ("int x;\n", "licence"),
    (f"/* {form.LICENCE} */\nint x; \n", "blanks"),
    (f"/* {form.LICENCE} */\n" + "int x;\n" * form.LINES_MAX, "table of contents"),
    (f"/* {form.LICENCE} */\nint x; /* TO" + "DO */\n", "do it"),
    (f"/* {form.LICENCE} */\nint x;", "no end"),
]


def with_line(root, path, line, check):
    full = os.path.join(root, path)
    with open(full, encoding="utf-8") as f:
        before = f.read()
    with open(full, "a", encoding="utf-8") as f:
        f.write(line + "\n")
    try:
        return check(root)[0]
    finally:
        with open(full, "w", encoding="utf-8") as f:
            f.write(before)


def main():
    wrong, count = [], 0
    with tempfile.TemporaryDirectory() as root:
        for top in ("src", "include"):
            shutil.copytree(os.path.join(sys.argv[1], top), os.path.join(root, top))
        for check, mutants in ((arrows.faults, ARROWS), (calls.faults, CALLS)):
            clean = set(check(root)[0])     # other checks tell of these
            for path, line, says in mutants:
                found = set(with_line(root, path, line, check)) - clean
                count += 1
                if not any(says in f for f in found):
                    wrong.append(f"{path} with `{line}` is not found: {sorted(found)}")
            for path, line in INNOCENT:
                found = set(with_line(root, path, line, check)) - clean
                count += 1
                if found:
                    wrong.append(f"{path} with `{line}` is innocent: {sorted(found)}")
    for text, says in FORM:
        count += 1
        if not any(says in f for f in form.faults_of("mutant.c", text)):
            wrong.append(f"{text[:60]!r} is not found")
    print("\n".join(wrong) if wrong else f"{count} mutants are told apart")
    sys.exit(1 if wrong or not count else 0)


if __name__ == "__main__":
    main()
