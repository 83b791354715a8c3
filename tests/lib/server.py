# SPDX-License-Identifier: Apache-2.0
"""Starts, watches, kills and stops the real binary (env MILLRACE_BIN) in a home folder of its own.

    with Home() as home:
        server = Server(home, config(home, {"hooks": webhook()}))
        server.start()
        ...
        server.stop()

A Home is removed at the end, and kept (and named) when the test failed. A server never outlives its test: the kernel
kills it with the thread that started it.
"""
import contextlib
import ctypes
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from zone import Reader

SECRET = "s3cr3t-of-the-test-suite"
SECRET_ENV = "MRT_SECRET"
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

SANITIZER_MARKS = ("ERROR: AddressSanitizer", "runtime error:", "WARNING: ThreadSanitizer", "ERROR: LeakSanitizer",
                   "Assertion `", "stack smashing")


class Died(AssertionError):
    """The server ended when it should be alive."""


def binary():
    path = os.environ.get("MILLRACE_BIN")
    if not path:
        here = os.path.dirname(os.path.abspath(__file__))
        path = os.path.join(here, "..", "..", "build", "debug", "millrace")
    path = os.path.abspath(path)
    if not os.access(path, os.X_OK):
        sys.exit(f"no millrace at {path}: build it, or say where it is by MILLRACE_BIN")
    return path


def free_port():
    """A free port below the ephemeral range, so that no client's own port can take it between two starts."""
    while True:
        port = random.SystemRandom().randint(15000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def until(what, condition, timeout=20.0, every=0.02):
    """Waits for what only a look from outside can tell; its value, or AssertionError naming what was awaited."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(every)


class Home:
    """A temporary folder, kept when the test in it fails."""

    def __init__(self, name="millrace", under=None):
        self.path = tempfile.mkdtemp(prefix=name + ".", dir=under or os.environ.get("MILLRACE_TEST_TMP"))

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        if kind is None or kind is KeyboardInterrupt or os.environ.get("MILLRACE_TEST_KEEP") == "no":
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            print(f"kept: {self.path}", file=sys.stderr)

    def at(self, *parts):
        return os.path.join(self.path, *parts)


def webhook(scheme="github", path=None, env=SECRET_ENV, **more):
    """A webhook source as the config has it."""
    verify = {"scheme": scheme}
    if scheme != "none":
        verify["secrets"] = [f"${{env:{e}}}" for e in ([env] if isinstance(env, str) else env)]
    verify.update(more.pop("verify", {}))
    return {"webhook": {"path": path or "/hooks/" + scheme, "verify": verify, **more}}


def state_url():
    """A store of its own for each config: SQLite, or a schema of the server that MRT_STATE names."""
    server = os.environ.get("MRT_STATE")
    return f"{server}?schema=t{random.SystemRandom().getrandbits(48):012x}" if server else "sqlite"


def zone_url(home):
    """A zone of its own for each config: a folder, or a prefix of the bucket that MRT_ZONE names (and MRT_ZONE_ROOT holds)."""
    bucket = os.environ.get("MRT_ZONE")
    return f"{bucket}/z{random.SystemRandom().getrandbits(48):012x}" if bucket else "file:" + home.at("zone")


def config(home, sources, zone=None, data_dir=None, **top):
    """A whole config as a dict; the roll is one second so that landings happen while we look."""
    zone_cfg = {"url": zone_url(home), "roll": {"age": "1s"}}
    zone_cfg.update(zone or {})
    base = {"environment": "test", "data_dir": data_dir or home.at("data"), "state": state_url(), "zone": zone_cfg,
            "http": {"listen": f"127.0.0.1:{free_port()}"}, "admin": {"listen": f"127.0.0.1:{free_port()}"},
            "sources": sources}
    for key, value in top.items():
        if isinstance(base.get(key), dict) and isinstance(value, dict):
            base[key] = {**base[key], **value}
        else:
            base[key] = value
    return base


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    def __init__(self, home, cfg, env=None, wrapper=(), file="millrace.yaml"):
        self.home, self.cfg, self.wrapper = home, cfg, list(wrapper)
        self.file = home.at(file)
        self.env = {SECRET_ENV: SECRET, "TZ": "UTC", **(env or {})}
        self.log_path = home.at("server.log")
        self.proc = None
        self.extra_env = {}
        self.write_config()

    # -- places -------------------------------------------------------------------------------------------------

    @property
    def port(self):
        return int(self.cfg["http"]["listen"].rsplit(":", 1)[1])

    @property
    def admin(self):
        return int(self.cfg["admin"]["listen"].rsplit(":", 1)[1])

    @property
    def zone(self):
        """The folder where it lies: of a bucket, the store's own."""
        url = self.cfg["zone"]["url"]
        if url.startswith("s3://"):
            return os.path.join(os.environ["MRT_ZONE_ROOT"], *url.split("/", 3)[3:])
        return url.removeprefix("file:")

    @property
    def data_dir(self):
        return self.cfg["data_dir"]

    @property
    def pid(self):
        return self.proc.pid

    def write_config(self):
        """JSON is YAML; a test that is about YAML itself writes its own text."""
        text = self.cfg if isinstance(self.cfg, str) else json.dumps(self.cfg, indent=1)
        with open(self.file, "w") as f:
            f.write(text + "\n")

    def environment(self, extra=None):
        env = {**os.environ, **self.env, **self.extra_env, **(extra or {})}
        for name, more in (("ASAN_OPTIONS", "detect_leaks=1"), ("UBSAN_OPTIONS", "print_stacktrace=1")):
            env.setdefault(name, more)
        return env

    # -- life ---------------------------------------------------------------------------------------------------

    def spawn(self, *args, extra=None, wrapper=None):
        log = open(self.log_path, "ab")
        log.write(f"---- start {' '.join(args)} {extra or ''}\n".encode())
        log.flush()
        self.log_mark = log.tell()
        cmd = (self.wrapper if wrapper is None else list(wrapper)) + [binary(), "run", "-c", self.file, *args]
        self.proc = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.home.path,
                                     env=self.environment(extra), preexec_fn=_die_with_parent)
        log.close()
        return self

    def start(self, extra=None, timeout=30.0, wrapper=None):
        """Starts and waits for /readyz."""
        self.spawn(extra=extra, wrapper=wrapper)
        self.wait_ready(timeout)
        return self

    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def ready(self):
        try:
            return self.get("/readyz", timeout=5).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait_ready(self, timeout=30.0):
        def look():
            if not self.alive():
                raise Died(f"ended with {self.proc.returncode} before it was ready:\n{self.tail()}")
            return self.ready()
        try:
            until("/readyz answers 200", look, timeout)
        except Died:
            raise
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.tail()}") from None

    def kill9(self):
        if self.proc is None:
            return None
        if self.alive():
            os.kill(self.proc.pid, signal.SIGKILL)
        return self.proc.wait()

    def dies_at(self, point, work, timeout=20.0):
        """Starts anew, works, and is killed when it passes the point for the first time."""
        self.kill9()
        self.spawn(extra={"MILLRACE_CRASH": f"{point}:1"})
        self.wait_ready()
        work()
        if self.wait(timeout) != -signal.SIGKILL:
            raise AssertionError(f"it should have died at {point}:\n{self.tail()}")

    def signal(self, number):
        os.kill(self.proc.pid, number)

    def wait(self, timeout=60.0):
        try:
            return self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout:g} s:\n{self.tail()}") from None

    def stop(self, want=0, timeout=60.0):
        """SIGTERM; the exit code must be `want`, and no sanitizer may have spoken."""
        self.signal(signal.SIGTERM)
        code = self.wait(timeout)
        self.sanitized()
        if want is not None and code != want:
            raise AssertionError(f"exit code {code} after SIGTERM, {want} expected:\n{self.tail()}")
        return code

    def drain(self, timeout=120.0, want=0):
        """run --once: lands whatever the queue holds."""
        self.spawn("--once", wrapper=[])
        code = self.wait(timeout)
        self.sanitized()
        if want is not None and code != want:
            raise AssertionError(f"run --once ended with {code}:\n{self.tail()}")
        return code

    # -- looking in ---------------------------------------------------------------------------------------------

    def get(self, path, timeout=10.0):
        """GET from the admin listener."""
        conn = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=timeout)
        try:
            conn.request("GET", path)
            res = conn.getresponse()
            res.text = res.read().decode("utf-8", "replace")
            return res
        finally:
            conn.close()

    def status(self):
        """What the status page says."""
        return json.loads(self.get("/api/status").text)

    def metrics(self):
        """Prometheus text as {'name{labels}': value}."""
        out = {}
        for line in self.get("/metrics").text.splitlines():
            if line and not line.startswith("#"):
                key, value = line.rsplit(" ", 1)
                out[key] = float(value)
        return out

    def memory_kib(self, key="VmHWM"):
        with open(f"/proc/{self.proc.pid}/status") as f:
            for line in f:
                if line.startswith(key + ":"):
                    return int(line.split()[1])
        raise AssertionError(f"no {key} in /proc/{self.proc.pid}/status")

    def descriptors(self):
        """How many it holds, but for those of files that are just being staged."""
        folder, count = f"/proc/{self.proc.pid}/fd", 0
        for fd in os.listdir(folder):
            try:
                count += not os.readlink(os.path.join(folder, fd)).endswith(".part")
            except FileNotFoundError:
                pass                             # closed meanwhile
        return count

    def connected(self):
        """How many of its sockets are connections: all but those that listen."""
        listening = set()
        for table in ("tcp", "tcp6"):
            with open(f"/proc/{self.proc.pid}/net/{table}", encoding="ascii") as f:
                listening |= {line.split()[9] for line in f.readlines()[1:] if line.split()[3] == "0A"}
        folder, held = f"/proc/{self.proc.pid}/fd", []
        for fd in os.listdir(folder):
            try:
                held += re.findall(r"^socket:\[(\d+)\]$", os.readlink(os.path.join(folder, fd)))
            except FileNotFoundError:
                pass                             # closed meanwhile
        return len(set(held) - listening)

    def descriptors_at_rest(self, timeout=20.0):
        """How many it holds when nobody is connected any more, not even who last asked for its metrics."""
        until("nobody is connected", lambda: self.connected() == 0, timeout)
        return self.descriptors()

    def log(self, since_start=True):
        if not os.path.exists(self.log_path): # it was never started
            return ""
        with open(self.log_path, "rb") as f:
            f.seek(self.log_mark if since_start else 0)
            return f.read().decode("utf-8", "replace")

    def tail(self, lines=25):
        return "\n".join(self.log().splitlines()[-lines:])

    def sanitized(self):
        text = self.log(since_start=False)
        for mark in SANITIZER_MARKS:
            at = text.find(mark)
            if at >= 0:
                raise AssertionError("the binary's own checks failed:\n" + text[max(0, at - 200):at + 3000])

    def cli(self, verb, *args, stdin=b"", extra=None, timeout=60.0, file=True):
        """Another millrace command on the same config; args follow -c FILE."""
        cmd = [binary(), *verb.split()] + (["-c", self.file] if file else []) + list(args)
        return subprocess.run(cmd, input=stdin, capture_output=True, env=self.environment(extra), cwd=self.home.path,
                              timeout=timeout)


def ran(done, code=0):
    """What a command said that should end like this."""
    if done.returncode != code:
        raise AssertionError(f"{' '.join(done.args[1:3])}: exit code {done.returncode}, {code} expected: {(done.stdout + done.stderr).decode()[-1500:]}")
    return done.stdout.decode()


def has_faults():
    """True in builds with named points."""
    done = subprocess.run([binary(), "run", "--points"], capture_output=True, text=True)
    return done.returncode == 0 and bool(done.stdout.split())


def points():
    done = subprocess.run([binary(), "run", "--points"], capture_output=True, text=True)
    return [line.split()[0] for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def preload(*libs):
    """LD_PRELOAD for these libraries; a sanitizer's runtime must come first in the list, or it refuses to start."""
    ldd = subprocess.run(["ldd", binary()], capture_output=True, text=True).stdout
    runtime = [w for line in ldd.splitlines() for w in line.split()
               if w.startswith("/") and ("libasan" in w or "libtsan" in w)]
    return ":".join(runtime[:1] + list(libs))


def is_sanitized():
    return any(w in subprocess.run(["ldd", binary()], capture_output=True, text=True).stdout
               for w in ("libasan", "libtsan"))


@contextlib.contextmanager
def living(*servers, stop=True):
    """They end with the story: drained by SIGTERM where that has not ended them. If it fails their last words are told."""
    try:
        yield
        for server in servers:
            if stop and server.alive():
                server.stop()
            if server.proc:
                server.sanitized()
    except BaseException:
        for server in servers:
            if server.proc:
                print(f"---- {server.file}\n{server.tail()}", file=sys.stderr)
        raise
    finally:
        for server in servers:
            server.kill9()


@contextlib.contextmanager
def running(sources, name="mr-e2e", env=None, start=True, stop=True, **top):
    """A server in a home of its own, started if nothing else is said."""
    with Home(name) as home:
        server = Server(home, config(home, sources, **top), env=env)
        with living(server, stop=stop):
            if start:
                server.start()
            yield server


def landed(server, source=None):
    """Drains the server by SIGTERM and reads the zone: all records, which are then all that there will be."""
    if server.alive():
        server.stop()
    reader = Reader(server.zone)
    records = reader.all(source)
    reader.strangers()
    if reader.problems:
        raise AssertionError("the zone: " + "; ".join(reader.problems))
    return records
