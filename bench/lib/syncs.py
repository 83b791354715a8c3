# SPDX-License-Identifier: Apache-2.0
"""How often a server makes something durable per event, as the kernel saw it: strace on a short run, one at a time."""
import os
import pathlib
import re
import shutil
import subprocess

CALLS = "fsync,fdatasync,msync,sync_file_range,pwritev2,write,writev,pwrite64,pwritev"


def dsync_fds(pids):
    """Descriptors that sync with every write, since they were opened with O_DSYNC."""
    found = set()
    for pid in pids:
        for info in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
            flags = re.search(r"^flags:\s*(\d+)", info.read_text(), re.M)
            if flags and int(flags.group(1), 8) & os.O_DSYNC:
                found.add(info.name)
    return found


def is_sync(call, fd, line, synced_fds):
    if call in ("fsync", "fdatasync"):
        return True
    if call == "msync":
        return "MS_SYNC" in line
    if call == "pwritev2" and re.search(r"RWF_D?SYNC", line):
        return True
    return "write" in call and fd in synced_fds


def count(pids, trace_path, send):
    """Syncs per event while `send` runs (it returns how many were acknowledged); None without strace."""
    if not shutil.which("strace"):
        return None
    command = ["strace", "-f", "-s", "0", "-e", f"trace={CALLS}", "-o", str(trace_path)]
    for pid in pids:
        command += ["-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        for _ in pids:
            if "attached" not in tracer.stderr.readline():
                return None
        events = send()
    finally:
        tracer.send_signal(2)
        tracer.wait(10)
        tracer.stderr.close()
    synced_fds, syncs = dsync_fds(pids), 0
    for line in open(trace_path, encoding="ascii", errors="replace"):
        # A call that was interrupted shows its arguments where it began; its "resumed" line does not match.
        call = re.match(r"\d+\s+(\w+)\((\d+)?", line)
        if call and is_sync(call.group(1), call.group(2), line, synced_fds):
            syncs += 1
    return syncs / events if events else None
