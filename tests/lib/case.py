# SPDX-License-Identifier: Apache-2.0
"""The smallest runner: every function of a script whose name begins with `test_` is one story, told by its name.

Exit 0 all passed, 1 one failed, 77 all that could run was skipped (ctest's SKIP_RETURN_CODE).
"""
import argparse
import sys
import time
import traceback

SKIPPED = 77


class Skip(Exception):
    """Raised by a story that cannot be told on this machine; the text says why."""


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what + ': ' if what else ''}got {got!r}, expected {want!r}")


def true(value, what):
    if not value:
        raise AssertionError(what)


def skipped(reason):
    print(f"SKIPPED: {reason}", flush=True)
    return SKIPPED


def main(scope):
    ap = argparse.ArgumentParser(description=scope.get("__doc__"))
    ap.add_argument("only", nargs="*", help="run only the stories whose name contains one of these")
    only = ap.parse_args().only
    tests = [(n, f) for n, f in scope.items() if n.startswith("test_") and callable(f)]
    if only:
        tests = [(n, f) for n, f in tests if any(o in n for o in only)]
    outcome = {"ok": 0, "FAILED": 0, "skipped": 0}
    for name, story in tests:
        begun, why = time.monotonic(), ""
        try:
            story()
            result = "ok"
        except Skip as e:
            result, why = "skipped", f"SKIPPED: {e}"
        except Exception:                         # a broken story must not hide the ones after it
            result, why = "FAILED", traceback.format_exc()
        outcome[result] += 1
        print(f"{result:8}{name[5:].replace('_', ' ')} ({time.monotonic() - begun:.1f} s)", flush=True)
        if why:
            print("    " + why.rstrip().replace("\n", "\n    "), flush=True)
    print(f"{outcome['ok']} passed, {outcome['FAILED']} failed, {outcome['skipped']} skipped")
    if outcome["FAILED"] or not tests:
        sys.exit(1)
    sys.exit(SKIPPED if not outcome["ok"] else 0)
