# SPDX-License-Identifier: Apache-2.0
"""Processes of a bench: started with a log of their own, measured through /proc, always ended by their id."""
import os
import pathlib
import resource
import select
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")
NOW, PEAK = "VmRSS:", "VmHWM:"


def free_port():
    """A port that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def tree(pid):
    """pid and all its descendants."""
    found, queue = [], [pid]
    while queue:
        pid = queue.pop()
        found.append(pid)
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
            queue += [int(child) for child in task.read_text().split()]
    return found


def cpu_seconds(pids):
    """User and system time of these processes and of the children that they have reaped."""
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += sum(int(f) for f in fields[11:15])
    return total / TICKS


def busy_seconds():
    """CPU time that the whole machine has used so far, stolen time included."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(f) for f in fields)
    return (user + nice + system + irq + softirq + steal) / TICKS


def ended_children_seconds():
    """CPU time of the children that this process has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def memory_mb(pids, which):
    """The sum of the processes' resident sizes: NOW, or each one's PEAK so far."""
    total = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(which):
                total += int(line.split()[1])
    return total / 1024


def until(ready, process, what, seconds=30):
    """Asks `ready` every few milliseconds until it says yes; a dead process or the end of the time is an error."""
    end = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None:
            raise RuntimeError(f"{what} ended with {process.returncode} instead of getting ready")
        if time.monotonic() > end:
            raise RuntimeError(f"{what} was not ready within {seconds} s")
        time.sleep(0.005)


def accepts(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def http_get(port, path):
    """The body of a 200, else None."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.read().decode() if response.status == 200 else None
    except (urllib.error.URLError, OSError):
        return None


def start(command, cwd, log, env=None):
    with open(log, "ab") as out:
        return subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                env={**os.environ, **(env or {})})


def stop(process, seconds=60):
    """SIGTERM, then the exit status; a process that does not end is killed, which is reported as -9."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def watch(process, what, seconds, done=lambda: False):
    """Until the process has ended or `done` says yes: (CPU seconds, peak MB, exit status or None). The peak is looked up every 20 ms, since what wait4 tells of it begins
    with the size of the process that forked."""
    end, peak = time.monotonic() + seconds, 0.0
    with open(os.pidfd_open(process.pid), "rb", buffering=0) as ended:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        while not poll.poll(20):
            peak = max(peak, memory_mb([process.pid], PEAK))
            if done():
                return cpu_seconds([process.pid]), peak, None
            if time.monotonic() > end:
                raise RuntimeError(f"{what} was not done within {seconds} s")
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime, peak, process.returncode
