#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The generated pages against the binary that generates them; and every config in conf/ against `millrace check`.

usage: pages.py ROOT MILLRACE [--write]
--write: makes the pages anew
"""
import json
import os
import re
import subprocess
import sys
import tempfile

PAGES = {"docs": "docs/config.md", "metrics": "docs/metrics.md", "sample": "conf/millrace.yaml",
         "schemes": "docs/webhook-schemes.md"}
SECRET = re.compile(r"\$\{(env|file):([^}]+)\}")


def page(binary, name):
    return subprocess.run([binary, "config", name], capture_output=True, text=True, check=True).stdout


def check_pages(root, binary, write):
    for name, path in PAGES.items():
        made, path = page(binary, name), os.path.join(root, path)
        if write:
            with open(path, "w", encoding="utf-8") as f:
                f.write(made)
            continue
        try:
            with open(path, encoding="utf-8") as f:
                kept = f.read()
        except FileNotFoundError:
            kept = ""
        if kept != made:
            yield f"{path} is not what `millrace config {name}` prints: tests/arch/pages.py . BINARY --write"


def check_schema(binary):
    schema = json.loads(page(binary, "schema"))
    if schema.get("type") != "object" or "sources" not in schema.get("properties", {}):
        yield "`millrace config schema` is not the schema of a config"


def check_config(path, binary, folder):
    """A copy in a folder of its own, whose secrets are there."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    env, secret = dict(os.environ), os.path.join(folder, "secret")
    with open(secret, "w", encoding="utf-8") as f:
        f.write("c2VjcmV0LW9mLXRoZS1leGFtcGxlcw==")
    env.update({name: "c2VjcmV0LW9mLXRoZS1leGFtcGxlcw==" for kind, name in SECRET.findall(text) if kind == "env"})
    copy = os.path.join(folder, os.path.basename(path))
    with open(copy, "w", encoding="utf-8") as f:
        f.write(SECRET.sub(lambda m: m.group(0) if m.group(1) == "env" else f"${{file:{secret}}}", text))
    done = subprocess.run([binary, "check", "-c", copy, "--offline"], capture_output=True, text=True, env=env)
    if done.returncode != 0 or "\nwarn" in "\n" + done.stdout:
        yield f"{path}: millrace check --offline ends with {done.returncode}:\n{done.stdout}{done.stderr}"


def configs(root):
    for folder, _, names in os.walk(os.path.join(root, "conf")):
        yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith(".yaml") and name != "millrace.yaml")


def main():
    root, binary, write = sys.argv[1], sys.argv[2], "--write" in sys.argv[3:]
    found, count = [*check_pages(root, binary, write), *check_schema(binary)], 0
    with tempfile.TemporaryDirectory() as folder:
        for path in configs(root):
            found += check_config(path, binary, folder)
            count += 1
    print("\n".join(found) if found else f"{len(PAGES)} pages and {count} configs are as the binary has them")
    sys.exit(1 if found or not count else 0)


if __name__ == "__main__":
    main()
