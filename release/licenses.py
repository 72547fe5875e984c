"""Write the licences of what is compiled into a wheel to a file: THIRD_PARTY_LICENSES.

Looks at the packages of Cargo.lock that the features of a wheel bring, on all systems, without what
only builds. A package without a text of its own has that of its owner; one without any is an error.
"""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

FEATURES = "python,sandbox"
NAMES = ("license", "licence", "copying", "copyright", "notice", "unlicense")
RULE = "=" * 80
ABOUT = """polars-edfi contains the packages below, and Rust's standard library, which is licensed
as "MIT OR Apache-2.0", copyright The Rust Project Contributors. Each licence stands after the
packages that came with it. SQLite, which libsqlite3-sys brings, is in the public domain.
"""


def compiled() -> list[dict[str, Any]]:
    """Give the packages whose code is in a wheel."""
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--features={FEATURES}"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in found["packages"]}
    nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
    seen: set[str] = set()
    todo = [found["resolve"]["root"]]
    while todo:
        for dependency in nodes[todo.pop()]["deps"]:
            name = dependency["pkg"]
            normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            builds = any("proc-macro" in target["kind"] for target in packages[name]["targets"])
            if normal and not builds and name not in seen:
                seen.add(name)
                todo.append(name)
    return sorted((packages[name] for name in seen), key=lambda one: (one["name"], one["version"]))


def own_texts(package: dict[str, Any]) -> list[str]:
    """Give the texts that a package comes with."""
    folder = Path(package["manifest_path"]).parent
    files = [file for file in folder.iterdir() if file.name.lower().startswith(NAMES)]
    if package["license_file"]:
        files.append(folder / package["license_file"])
    there = sorted(file for file in set(files) if file.is_file())
    read = [trimmed(file.read_text("utf-8", errors="replace")) for file in there]
    return [text for text in read if text]


def owner(package: dict[str, Any]) -> str:
    """Tell who publishes a package: a host and the first part of a path."""
    return "/".join((package["repository"] or package["name"]).split("/")[:4])


def trimmed(text: str) -> str:
    """Make texts equal that differ in spaces at the ends of lines."""
    return "\n".join(line.rstrip() for line in text.strip("\ufeff\n ").splitlines())


def main(path: str) -> None:
    """Write the file."""
    packages = compiled()
    texts = {package["id"]: own_texts(package) for package in packages}
    siblings: dict[str, list[str]] = {}
    apache = next(
        text
        for package in packages
        for text in texts[package["id"]]
        if "Apache" in package["license"] and text.lstrip().startswith("Apache License")
    )
    for package in packages:
        if texts[package["id"]]:
            siblings.setdefault(owner(package), texts[package["id"]])
    by_text = defaultdict(list)
    for package in packages:
        found = texts[package["id"]]
        if not found and "Apache-2.0" in package["license"]:
            found = [apache]
        found = found or siblings.get(owner(package), [])
        if not found:
            sys.exit(f"{package['name']} {package['version']} ({package['license']}) has no text")
        for text in found:
            by_text[text].append(package)
    with Path(path).open("w", encoding="utf-8") as file:
        file.write(ABOUT)
        for text, owners in by_text.items():
            file.write(f"\n{RULE}\n\n")
            for one in owners:
                where = f", {one['repository']}" if one["repository"] else ""
                file.write(f"{one['name']} {one['version']} ({one['license']}){where}\n")
            file.write(f"\n{text}\n")
    print(f"{path}: {len(packages)} packages, {len(by_text)} texts")


if __name__ == "__main__":
    main(*sys.argv[1:])
