"""Make a wheel of the command line `tidings`, so that `pip install` brings it to machines without Rust.

    python infra/wheel.py [--output FOLDER] [--program PATH]

The wheel has one file of substance, the program, which pip puts onto the PATH. It is built with the release profile, or taken as
it is from --program. On Linux the wheel says by its name which glibc the program asks for; build on an old system for one that
installs everywhere. Prints where the wheel is.
"""

import argparse
import base64
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "tidings-local"
PROGRAM = "tidings.exe" if os.name == "nt" else "tidings"

# What every Linux of the manylinux kind has.
LIBRARIES = {"ld-linux-aarch64.so.1", "ld-linux-x86-64.so.2", "libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6",
             "libpthread.so.0", "librt.so.1"}
# The machine of an ELF file's head.
MACHINES = {62: "x86_64", 183: "aarch64"}

DESCRIPTION = """\
Real-time notifications on AWS: the command line.

    tidings new shop --git URL      an application of your own
    tidings dev                     runs its stack on this machine, without Docker or an AWS account
    tidings listen --topic news     a client
    tidings notify --topic news 1   a producer

`tidings --help` lists all commands. Building functions needs Rust; `tidings dev --lambda-endpoint` and all others do not.
"""


def cargo(*arguments):
    """Run cargo in the clone; return what it prints."""
    run = subprocess.run(["cargo", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"`cargo {' '.join(arguments)}` failed; its messages are above")
    return run.stdout


def package():
    """What Cargo knows of the command line's package."""
    metadata = json.loads(cargo("metadata", "--no-deps", "--format-version", "1"))
    package, = (package for package in metadata["packages"] if package["name"] == PACKAGE)
    return package | {"target_directory": metadata["target_directory"]}


def version_for_python(version):
    """Cargo's version as Python writes it: 1.2.0-rc.1 is 1.2.0rc1."""
    match = re.fullmatch(r"(\d+\.\d+\.\d+)(?:-(alpha|beta|rc)\.(\d+))?", version)
    if not match:
        sys.exit(f"Python has no way to write the version {version}: use X.Y.Z or X.Y.Z-rc.N")
    number, kind, count = match.groups()
    return number + ({"alpha": "a", "beta": "b", "rc": "rc"}[kind] + count if kind else "")


def platform_tag(program):
    """Where the program runs, as wheels say it."""
    if sys.platform == "darwin":
        text = subprocess.run(["rustc", "--print", "deployment-target"], capture_output=True, text=True, check=True).stdout
        major, minor = re.search(r"(\d+)\.(\d+)", text).groups()
        return f"macosx_{major}_{minor}_{platform.machine()}"
    if os.name == "nt":
        return {"AMD64": "win_amd64", "ARM64": "win_arm64"}[platform.machine()]
    return linux_tag(program)


def linux_tag(program):
    """By the newest symbol of glibc that an ELF file names, as PEP 600 wants it."""
    if program[:4] != b"\x7fELF":
        sys.exit("the program is no ELF file, so it does not run on this system")
    machine = MACHINES.get(int.from_bytes(program[18:20], "little"))
    if not machine:
        sys.exit("the program is for a processor for which there are no wheels here: x86_64 and aarch64 are known")
    others = {name.decode() for name in re.findall(rb"\0((?:lib|ld-)[\w.+-]+\.so[.\d]*)(?=\0)", program)} - LIBRARIES
    if others:
        sys.exit(f"the program needs {', '.join(sorted(others))}, which not every Linux has")
    minor = max((int(minor) for minor in re.findall(rb"\0GLIBC_2\.(\d+)", program)), default=None)
    if minor is None:
        sys.exit("the program names no glibc; build it for a target that ends with -gnu")
    return f"manylinux_2_{max(minor, 17)}_{machine}"


def write_wheel(folder, package, program):
    """Write the wheel and return its path."""
    version, tag = version_for_python(package["version"]), f"py3-none-{platform_tag(program)}"
    info = f"tidings-{version}.dist-info"
    metadata = (
        f"Metadata-Version: 2.4\nName: tidings\nVersion: {version}\nSummary: {package['description']}\n"
        f"License-Expression: {package['license']}\nLicense-File: LICENSE\nKeywords: {','.join(package['keywords'])}\n"
        f"Requires-Python: >=3.8\nDescription-Content-Type: text/markdown\n\n{DESCRIPTION}"
    )
    wheel = f"Wheel-Version: 1.0\nGenerator: tidings\nRoot-Is-Purelib: false\nTag: {tag}\n"
    files = {
        f"tidings-{version}.data/scripts/{PROGRAM}": program,
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": wheel.encode(),
        f"{info}/licenses/LICENSE": (ROOT / "LICENSE").read_bytes(),
    }
    record = "".join(f"{name},sha256={digest(content)},{len(content)}\n" for name, content in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"tidings-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            # Always the same time, so that the same program makes the same wheel.
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if "/scripts/" in name else 0o100644) << 16
            archive.writestr(entry, content)
    return path


def digest(content):
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "target" / "wheel", metavar="FOLDER", help="where the wheel goes")
    parser.add_argument("--program", type=Path, metavar="PATH", help="a program that is there, instead of building one")
    arguments = parser.parse_args()
    known = package()
    program = arguments.program
    if not program:
        cargo("build", "--release", "--locked", "--package", PACKAGE, "--bin", "tidings")
        program = Path(known["target_directory"]) / "release" / PROGRAM
    print(write_wheel(arguments.output, known, program.read_bytes()))


if __name__ == "__main__":
    main()
