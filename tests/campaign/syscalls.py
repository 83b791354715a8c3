#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""System calls fail for real, injected by strace from outside: syncs, writes, renames; and the process is stopped.

Works with every build, release too. Each story is one injection under load; the server must refuse for a while or end
with exit 1 and an error, and in the end every acknowledged event has landed once.

usage: syscalls.py [--ci] [--seed N]      exit 77 where strace is missing or may not trace
"""
import argparse
import os
import random
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
from pair import Pair, result, tell  # noqa: E402
from server import Home, until  # noqa: E402

# Positions count passings in one thread of the server, once it is up.
INJECTIONS = {
    "fdatasync fails": "fdatasync:error=EIO:when=2+7",
    "fsync fails": "fsync:error=EIO:when=2+5",
    "queue writes fail": "pwritev2:error=EIO:when=20+50",
    "queue writes find no room": "pwritev2:error=ENOSPC:when=20+50",
    "renames fail": "rename,renameat,renameat2:error=EIO:when=2+3",
    "syncs are slow": "fdatasync,fsync:delay_enter=200000:when=3+3",
}


def attach(server, injection, log):
    """strace on the server that is up: what a start needs is not hit, and counts begin now, for each thread."""
    calls = injection.split(":")[0]
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", log, "-e", f"trace={calls}", "-e", f"inject={injection}", "-p", str(server.pid)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def traced():
        tasks = f"/proc/{server.pid}/task"
        return all("TracerPid:\t0\n" not in open(f"{tasks}/{t}/status").read() for t in os.listdir(tasks))
    until("strace is attached to every thread", traced, 20)
    return tracer


def injected(log):
    """How often a call really was made to fail or wait: an injection that hits nothing proves nothing."""
    with open(log, errors="replace") as f:
        return sum("(INJECTED)" in line or "(DELAYED)" in line for line in f)


def may_trace():
    if not shutil.which("strace"):
        return "strace is not installed"
    done = subprocess.run(["strace", "-D", "-f", "-o", "/dev/null", "true"], capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else None


def under_injection(name, injection, seed):
    with Home("mr-strace") as home:
        pair = Pair(home, seed, rate=200)
        server, faults = pair.server, []
        try:
            server.spawn(extra={"ASAN_OPTIONS": "detect_leaks=0"})
            server.wait_ready(60)
            tracer = attach(server, injection, home.at("strace.log"))
            pair.send()
            pair.quiet.wait(5.0)
            if server.alive():
                if not pair.wait_acked(20, 60):
                    faults.append("no events are acknowledged any more")
                server.signal(signal.SIGTERM)
                server.wait(90)
            if server.proc.returncode not in (0, 1):
                faults.append(f"ended with {server.proc.returncode}:\n{server.tail(8)}")
            server.sanitized()
            tracer.wait(20)
            if not injected(home.at("strace.log")):
                faults.append("no call was hit: the injection does not fit the server's calls any more")
            pair.finish()
        except AssertionError as e:
            faults.append(str(e))
        finally:
            server.kill9()
            pair.hang_up()
        verdicts, more = pair.verdicts()
        faults = [f"{name}: {f}" for f in faults + more]
        print(f"  {name}: " + "; ".join(f"{n}: {v}" for n, v in verdicts.items()), flush=True)
        return list(verdicts.values()), faults, pair.reader.problems


def stopped(seed):
    """SIGSTOP for longer than a roll, then SIGCONT, several times: as a machine that is suspended."""
    with Home("mr-stop") as home:
        pair = Pair(home, seed, rate=400)
        server, faults = pair.server, []
        try:
            server.start()
            pair.send()
            for _ in range(3):
                pair.wait_acked(50)
                server.signal(signal.SIGSTOP)
                pair.quiet.wait(2.0)
                server.signal(signal.SIGCONT)
            if not pair.wait_acked(50, 30):
                faults.append("no events are acknowledged after SIGCONT")
            pair.finish()
        except AssertionError as e:
            faults.append(str(e))
        finally:
            server.kill9()
            pair.hang_up()
        verdicts, more = pair.verdicts()
        print("  SIGSTOP, SIGCONT: " + "; ".join(f"{n}: {v}" for n, v in verdicts.items()), flush=True)
        return list(verdicts.values()), [f"SIGSTOP: {f}" for f in faults + more], pair.reader.problems


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--ci", action="store_true", help="two injections instead of all")
    ap.add_argument("--seed", type=int, default=random.SystemRandom().randint(1, 10 ** 6))
    args = ap.parse_args()
    print(f"syscalls: seed {args.seed}")
    total = stopped(args.seed)
    why = may_trace()
    if why:
        print(f"SKIPPED: injections: {why}")
    else:
        names = list(INJECTIONS) if not args.ci else ["fdatasync fails", "queue writes fail"]
        for name in names:
            for whole, more in zip(total, under_injection(name, INJECTIONS[name], args.seed)):
                whole += more
    verdicts, faults, problems = total
    tell(faults)
    code = result("syscalls", verdicts, faults, problems, kills=0, seed=args.seed)
    sys.exit(code or (case.SKIPPED if why else 0))


if __name__ == "__main__":
    main()
