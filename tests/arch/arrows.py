#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every #include of src/ and include/ against arrows.txt: which way the arrows go, one home for each third-party header,
and files without loop or threads that stay so.

usage: arrows.py ROOT
"""
import os
import re
import sys

from calls import code_only

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
WORLD = re.compile(r"\b(uv_\w+|pthread_\w+|mr_wall_us|mr_mono_us|clock_gettime|gettimeofday|time\s*\()")
RULES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "arrows.txt")


class Rules:
    def __init__(self, path=RULES):
        self.folders, self.contracts, self.homes = {}, {}, {}
        self.noloop, self.pure, self.system = set(), set(), set()
        with open(path, encoding="utf-8") as f:
            for line in f:
                line = line.split("#")[0].strip()
                if line:
                    self.take(*[part.strip() for part in line.split(":", 1)])

    def take(self, head, words):
        words = set(words.split())
        if head in ("noloop", "pure", "system"):
            getattr(self, head).update(words)
        elif head.startswith("home "):
            self.homes[head[5:].strip("<>")] = words
        elif head.startswith("contract "):
            self.contracts[head[9:]] = words
        else:
            self.folders[head] = words


class File:
    """One file, by its short name: base/buf.c, or include/buf for a contract."""

    def __init__(self, root, path):
        self.path = os.path.relpath(path, root)
        if self.path.startswith("include/"):
            self.name = "include/" + os.path.basename(path).removesuffix(".h")
            self.folder = "include"
        else:
            self.name = os.path.relpath(self.path, "src")
            self.folder = os.path.dirname(self.name) or "main"
        with open(path, encoding="utf-8") as f:
            text = f.read()
        self.code = code_only(text)
        self.includes = [(kind, what, text.count("\n", 0, m.start(2)) + 1)
                         for m in INCLUDE.finditer(text) for kind, what in [m.groups()]]


def read(root):
    files = {}
    for top in ("src", "include"):
        for folder, folders, names in os.walk(os.path.join(root, top)):
            folders.sort()
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    file = File(root, os.path.join(folder, name))
                    files[file.name] = file
    return files


def target(file, what, files):
    """The short name of what a "…" include means, or None if there is no such file."""
    if what.startswith("millrace/"):
        name = "include/" + what[9:].removesuffix(".h")
        return name if name in files else None
    for name in (os.path.normpath(os.path.join(file.folder if file.folder != "main" else "", what)), what):
        if name in files:
            return name
    return None


def is_in(name, places):
    return any(name == p or (p.endswith("/") and name.startswith(p)) for p in places)


def check_local(file, to, rules):
    """Why this file may not include that one, or None."""
    if file.folder == "include":
        allowed = rules.contracts.get(file.name[8:])
        if allowed is None:
            return "this contract has no line in arrows.txt"
        return None if to.startswith("include/") and to[8:] in allowed else "not among what this contract may include"
    allowed = rules.folders.get(file.folder)
    if allowed is None:
        return f"folder {file.folder} has no line in arrows.txt"
    if to.startswith("include/"):
        return None if to[8:] in allowed else f"{file.folder} may not know that contract"
    folder = os.path.dirname(to)
    return None if folder == file.folder or folder + "/" in allowed else f"{file.folder} may not know {folder}'s inside"


def check_outside(file, what, rules):
    if what in rules.homes:
        at_home = file.name in rules.homes[what] or file.folder in rules.homes[what]
        return None if at_home else "its home is " + ", ".join(sorted(rules.homes[what]))
    return None if what in rules.system else "arrows.txt knows no home for it"


def reach(name, files):
    """Every outside header that a file reaches, with the way to it."""
    seen, found, todo = {name}, {}, [(name, [name])]
    while todo:
        at, way = todo.pop()
        for kind, what, _ in files[at].includes:
            if kind == "<":
                found.setdefault(what, way)
            else:
                to = target(files[at], what, files)
                if to and to not in seen:
                    seen.add(to)
                    todo.append((to, way + [to]))
    return found


def check_noloop(rules, files):
    for name, file in files.items():
        way = reach(name, files).get("uv.h") if is_in(name, rules.noloop) else None
        if way:
            yield f"{file.path}: reaches <uv.h> by {' -> '.join(way)}, but is below the loop"


def check_pure(rules, files):
    for name, file in files.items():
        for m in WORLD.finditer(file.code) if is_in(name, rules.pure) else ():
            yield f"{file.path}:{file.code.count(chr(10), 0, m.start()) + 1}: {m.group(1)}, but the file is to stay pure"


def check_rules(rules, files):
    for rule in ("noloop", "pure"):
        for place in sorted(getattr(rules, rule)):
            if not any(is_in(name, {place}) for name in files):
                yield f"arrows.txt: {rule} names {place}, which is not there"
    for folder in rules.folders:
        if not any(file.folder == folder for file in files.values()):
            yield f"arrows.txt: {folder} is no folder of src/"
    for contract in rules.contracts:
        if "include/" + contract not in files:
            yield f"arrows.txt: there is no contract {contract}"


def check_circles(files):
    """Contracts that include each other cannot be read from top to bottom."""
    for name in files:
        if name.startswith("include/"):
            todo, seen = [target(files[name], w, files) for k, w, _ in files[name].includes if k == '"'], set()
            while todo:
                at = todo.pop()
                if at == name:
                    yield f"{files[name].path}: includes itself by a circle"
                    break
                if at and at not in seen:
                    seen.add(at)
                    todo += [target(files[at], w, files) for k, w, _ in files[at].includes if k == '"']


def faults(root, rules=None):
    rules, files = rules or Rules(), read(root)
    found = []
    for file in files.values():
        for kind, what, line in file.includes:
            if kind == "<":
                why = check_outside(file, what, rules)
            else:
                to = target(file, what, files)
                why = check_local(file, to, rules) if to else "there is no such file"
            if why:
                found.append(f"{file.path}:{line}: {what}: {why}")
    for check in (check_noloop, check_pure, check_rules):
        found += check(rules, files)
    found += check_circles(files)
    return found, len(files)


def main():
    found, count = faults(sys.argv[1])
    print("\n".join(found) if found else f"{count} files keep to the arrows")
    sys.exit(1 if found or not count else 0)


if __name__ == "__main__":
    main()
