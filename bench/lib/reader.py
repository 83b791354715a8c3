# SPDX-License-Identifier: Apache-2.0
"""What takes the whole of something, in a process and a folder of its own, is measured from the start of the process to its end, and is then asked what it has."""
import os
import pathlib
import re
import shutil
import subprocess
import time

from lib import proc

PATIENCE = 900                                    # seconds, for one run
PIECE = 16 << 20


def counted(*command):
    """Lines of what the command prints."""
    with subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE) as source:
        lines = subprocess.run(["wc", "-l"], stdin=source.stdout, capture_output=True, check=True).stdout
    if source.returncode:
        raise RuntimeError(f"{command[0]} ended with {source.returncode}")
    return int(lines)


class Ids:
    """The numbers from 1 on that stand in lines, as `pattern` finds them: how many, how many different ones, and how many that should not be there."""

    def __init__(self, pattern, count):
        self.pattern, self.seen, self.rows, self.strange = re.compile(pattern, re.MULTILINE), bytearray(count + 1), 0, 0

    def add(self, text):
        found = self.pattern.findall(text)
        self.rows += len(found)
        for number in map(int, found):
            if 0 < number < len(self.seen):
                self.seen[number] = 1
            else:
                self.strange += 1

    def add_output(self, *command):
        with subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE) as source:
            rest = b""
            while piece := source.stdout.read(PIECE):
                whole, end, rest = (rest + piece).rpartition(b"\n")
                self.add(whole + end)
            self.add(rest)
        if source.returncode:
            raise RuntimeError(f"{command[0]} ended with {source.returncode}")
        return self

    @property
    def different(self):
        return sum(self.seen)

    def fault(self):
        """What is wrong with them, as text; empty if nothing."""
        wanted = len(self.seen) - 1
        if (self.rows, self.different, self.strange) == (wanted, wanted, 0):
            return ""
        return f"{self.rows:,} rows, {self.different:,} different, {self.strange:,} that are not in the table, instead of {wanted:,}"


class Reader:
    """`source` has count (what is in it) and server_cpu() (CPU seconds that its server has used so far)."""

    name = label = kept = ""
    needs = ()                                    # programs that must be there
    env = {}                                      # besides what it inherits

    def missing(self):
        """What it lacks here, as text; empty if nothing."""
        return ", ".join(program for program in self.needs if not shutil.which(program))

    def prepare(self):
        """What goes before, unmeasured."""

    def command(self):
        raise NotImplementedError

    @property
    def file(self):
        return self.folder / "out"

    @property
    def stdout(self):
        return self.folder / "stdout"

    @property
    def log(self):
        return self.folder / "log"

    def done(self):
        """For one that does not end by itself."""
        return False

    def run(self, source, folder):
        """A cell of the table, before its records are counted."""
        self.source, self.folder, self.started = source, pathlib.Path(folder), None
        self.folder.mkdir()
        self.prepare()
        command = [str(c) for c in self.command()]
        os.sync()
        machine, server = proc.busy_seconds(), source.server_cpu()
        with open(self.stdout, "wb") as out, open(self.log, "wb") as log:
            self.begun = time.monotonic()
            process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=log, env={**os.environ, **self.env})
        try:
            cpu, peak, status = proc.watch(process, f"{self.name} (log: {self.log})", PATIENCE, self.done)
            took = time.monotonic() - self.begun
            server = source.server_cpu() - server
            others = max(0.0, proc.busy_seconds() - machine - cpu - server) / took
            if status is None:
                proc.stop(process)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if status:
            raise RuntimeError(f"{self.name} ended with {status}; its log: {self.log}")
        return {"rate": source.count / took, "seconds": took, "cpu_seconds": cpu, "cpu_us": cpu * 1e6 / source.count, "peak_mb": peak,
                "server_us": server * 1e6 / source.count, "others_cpus": others, "start_s": self.started, "file_mb": sum(f.stat().st_size for f in self.files()) / 1e6}

    def files(self):
        return [self.file]
