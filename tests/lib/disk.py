# SPDX-License-Identifier: Apache-2.0
"""File systems of our own: a small tmpfs that fills up, and ext4 on a loop device whose power can be cut.

Both need root and mount(2). Cannot says why they cannot be had; the campaign then counts the part as skipped.
"""
import errno
import fcntl
import os
import shutil
import struct
import subprocess

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2              # stop at once, without even flushing the journal: what a power cut does


class Cannot(Exception):
    pass


def _run(*cmd):
    try:
        done = subprocess.run(cmd, capture_output=True, text=True)
    except FileNotFoundError as e:
        raise Cannot(f"{cmd[0]} is not installed") from e
    if done.returncode:
        raise Cannot(f"{' '.join(cmd)}: {done.stderr.strip()}")


class Mount:
    """A mounted folder; unmounted at the end of the `with`."""

    def __init__(self, folder):
        self.folder = folder
        self.mounted = False

    def __enter__(self):
        self.mount()
        return self

    def __exit__(self, *exc):
        if self.mounted:
            self.umount()

    def umount(self):
        _run("umount", self.folder)
        self.mounted = False


class Tmpfs(Mount):
    def __init__(self, folder, size):
        super().__init__(folder)
        self.size = size

    def mount(self):
        if os.geteuid() != 0:
            raise Cannot("mounting needs root")
        os.makedirs(self.folder, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={self.size}", "tmpfs", self.folder)
        self.mounted = True

    def resize(self, size):
        _run("mount", "-o", f"remount,size={size}", self.folder)


class Ext4(Mount):
    """ext4 in an image file. cut() is the power cut; umount() and mount() bring the machine back."""

    def __init__(self, folder, image, size="1G"):
        super().__init__(folder)
        self.image, self.size = image, size

    def mount(self):
        if os.geteuid() != 0:
            raise Cannot("mounting needs root")
        if not os.path.exists(self.image):
            if not shutil.which("mkfs.ext4"):
                raise Cannot("mkfs.ext4 is not installed")
            _run("truncate", "-s", self.size, self.image)
            _run("mkfs.ext4", "-q", "-F", self.image)
        os.makedirs(self.folder, exist_ok=True)
        _run("mount", "-o", "loop", self.image, self.folder)
        self.mounted = True

    def cut(self):
        fd = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        except OSError as e:
            if e.errno in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EPERM):
                raise Cannot(f"ext4 cannot be shut down here: {e.strerror}") from e
            raise
        finally:
            os.close(fd)


def fill(folder, keep=0):
    """Takes all room but `keep` bytes; returns the ballast file, whose removal gives the room back."""
    name = os.path.join(folder, ".ballast")
    block = b"\xA5" * 4096
    with open(name, "wb", buffering=0) as f:
        try:
            while True:
                f.write(block)
        except OSError as e:
            if e.errno != errno.ENOSPC:
                raise
        if keep:
            f.truncate(max(0, f.tell() - keep))
    return name
