# SPDX-License-Identifier: Apache-2.0
"""What the scripts of the bench share: its own programs built, the lines above a table, and the end."""
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import time

BENCH = pathlib.Path(__file__).resolve().parents[1]
BUILD = BENCH.parent / "build"


def build(*targets):
    """The folder with the bench's own programs (of `targets`, else all), built if need be."""
    where = BUILD / "bench"
    for command in (["cmake", "-S", BENCH, "-B", where, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"],
                    ["cmake", "--build", where, *(["--target", *targets] if targets else [])]):
        subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL)
    return where / "bin"


def print_header(versions):
    """versions: {name: text}"""
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="ascii")
                  if line.startswith("model name")), platform.machine())
    print(f"command: {' '.join(sys.argv)}")
    print(f"date: {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime())}; kernel {platform.release()}; "
          f"{os.cpu_count()} CPUs, {model}; load average before {' '.join(f'{n:.2f}' for n in os.getloadavg())}")
    print("versions: " + "; ".join(f"{name} {text}" for name, text in versions.items()))
    print(flush=True)


def end(folder, keep, failed):
    """The exit status; the folder is kept if it is wanted, or may tell why."""
    if keep or failed:
        print(f"kept: {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return 1 if failed else 0
