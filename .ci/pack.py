#!/usr/bin/env python3
"""Makes the files of a release out of what was built. The same input gives the same bytes.

    pack.py licenses TARGET          the licences of all that is linked in, to standard output
    pack.py sign FILE                an ad-hoc signature for a file for macOS that has none
    pack.py universal FILE THIN...   one file for macOS from one for each processor
    pack.py archive FILE FOLDER      a .tar.gz or .zip, dated SOURCE_DATE_EPOCH
"""

import gzip
import hashlib
import html.parser
import json
import os
import re
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

LICENSE_NAMES = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


# Licences


def linked_packages(target):
    """Returns the crates linked into the program, without those that only run while it is built."""
    # `cargo metadata` alone also has crates of features that are off.
    edges = "--edges=normal,no-proc-macro"
    tree = output("cargo", "tree", "--locked", edges, f"--target={target}", "--prefix=none", "--format={p}")
    linked = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    metadata = json.loads(output("cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={target}"))
    packages = [each for each in metadata["packages"] if each["source"] and (each["name"], f"v{each['version']}") in linked]
    if len(packages) != len(linked) - 1:
        sys.exit(f"cargo tree has {len(linked) - 1} crates, of which cargo metadata knows {len(packages)}")
    return sorted(packages, key=lambda package: package["name"])


def package_texts(package):
    """Returns the texts of all licence files of a crate; code of others has its own, further down."""
    folder = Path(package["manifest_path"]).parent
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name.upper().startswith(LICENSE_NAMES)]
    files = [file for file in files if file.suffix in ("", ".md", ".txt")]
    if not files:
        sys.exit(f"{package['name']} {package['version']} has no file with its licence")
    return [file.read_text() for file in files]


class Html(html.parser.HTMLParser):
    """The text of Rust's COPYRIGHT-library.html: what concerns all, and the texts of each crate."""

    def __init__(self, text):
        super().__init__()
        self.general, self.crates, self.current, self.tag = [], {}, None, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tag = tag
        if tag in ("div", "h2", "p"):
            self.general.append("\n")
        if ("id", "longer-version") in attributes:
            # Above is a shorter version, and a table of contents.
            self.general.clear()
        if tag == "pre" and self.current:
            self.crates[self.current].append("")

    def handle_endtag(self, _):
        self.tag = None

    def handle_data(self, data):
        if self.tag == "h3":
            self.current = re.sub(r"^\W+|-\d.*$", "", data)
            self.crates[self.current] = []
        elif self.tag == "pre" and self.current:
            self.crates[self.current][-1] += data
        elif self.tag != "summary" and not self.current:
            self.general.append(re.sub(r"\s+", " ", data))


def standard_library(target):
    """Returns a heading and the texts of Rust's standard library and the crates within it."""
    rustc = os.environ.get("RUSTC", "rustc")
    version = output(rustc, "--version").strip()
    page = Path(output(rustc, "--print=sysroot").strip(), "share/doc/rust/COPYRIGHT-library.html")
    if not page.exists():
        debian = sorted(Path("/usr/share/doc").glob("libstd-rust-*/copyright"))
        if not debian:
            sys.exit(f"{page} is missing: it has the licences of the standard library")
        return [(f"the Rust standard library ({version})", [debian[0].read_text()])]
    libraries = Path(output(rustc, "--print=target-libdir", f"--target={target}").strip()).glob("lib*.rlib")
    names = {re.sub(r"^lib|-[0-9a-f]+$", "", library.stem).replace("_", "-") for library in libraries}
    # These are for tests and macros.
    names -= {"getopts", "rustc-literal-escaper"}
    parsed = Html(page.read_text())
    general = re.sub(r"\s*\n\s*", "\n", "".join(parsed.general))
    unicode = page.with_name("licenses") / "Unicode-3.0.txt"
    entries = [(f"the Rust standard library ({version})", [general, unicode.read_text()])]
    for name in sorted(names & parsed.crates.keys()):
        entries.append((f"{name}, in the Rust standard library", parsed.crates[name]))
    return entries


def licenses(target):
    entries = [(f"{each['name']} {each['version']} ({each['license']})", package_texts(each)) for each in linked_packages(target)]
    entries += standard_library(target)
    # The C library of the static files, and the start of Windows' programs.
    if "musl" in target:
        entries.append(("musl", [Path("/usr/share/doc/musl/copyright").read_text()]))
    if "windows" in target:
        entries.append(("mingw-w64", [Path("/usr/share/doc/mingw-w64-common/copyright").read_text()]))
    if zig := os.environ.get("ZIG_LICENSE"):
        entries.append(("compiler-rt of Zig", [Path(zig).read_text()]))

    # Most licences are the same text many times: it stands there once, below all that it is for.
    texts = {}
    for name, own in entries:
        for text in own:
            key = " ".join(text.split())
            names, _ = texts.setdefault(key, ([], text.strip("\n")))
            if name not in names:
                names.append(name)
    print(f"proxmox-mcp for {target} holds code of others, under these licences.\n")
    for name, _ in entries:
        print(f"- {name}")
    for names, text in texts.values():
        print(f"\n{'=' * 80}\n{'; '.join(names)}\n{'=' * 80}\n\n{text}")


# macOS

LC_SEGMENT_64, LC_CODE_SIGNATURE = 0x19, 0x1D


def load_commands(data):
    """Returns a Mach-O file's load commands: where each is, its kind and its size."""
    magic, _, _, _, count, _ = struct.unpack_from("<6I", data)
    if magic != 0xFEEDFACF:
        sys.exit("this is not a Mach-O file for one processor")
    commands, at = [], 32
    for _ in range(count):
        kind, size = struct.unpack_from("<II", data, at)
        commands.append((at, kind, size))
        at += size
    return commands


def sign(file):
    """Adds an ad-hoc signature, as a linker does: a hash of each page, which names nobody.

    Linkers sign for ARM64, where nothing runs without; and for x86-64 not.
    """
    data = bytearray(Path(file).read_bytes())
    commands = load_commands(data)
    if any(kind == LC_CODE_SIGNATURE for _, kind, _ in commands):
        return
    segments = {bytes(data[at + 8 : at + 24]).rstrip(b"\0"): at for at, kind, _ in commands if kind == LC_SEGMENT_64}
    text, linkedit = segments[b"__TEXT"], segments[b"__LINKEDIT"]
    # The new command goes behind the others, into the room before the first section.
    end = commands[-1][0] + commands[-1][2]
    sections = struct.unpack_from("<I", data, text + 64)[0]
    first = min(struct.unpack_from("<I", data, text + 72 + 80 * each + 48)[0] for each in range(sections))
    if end + 16 > first:
        sys.exit(f"{file} has no room for one more load command")

    # What is signed includes the command, so its numbers come first.
    data += bytes(-len(data) % 16)
    limit, page, name = len(data), 4096, b"proxmox-mcp\0"
    pages = -(-limit // page)
    hashes = 88 + len(name)
    size = 20 + hashes + 32 * pages
    size += -size % 16
    count, commands_size = struct.unpack_from("<II", data, 16)
    struct.pack_into("<II", data, 16, count + 1, commands_size + 16)
    struct.pack_into("<IIII", data, end, LC_CODE_SIGNATURE, 16, limit, size)
    _, _, start, _ = struct.unpack_from("<4Q", data, linkedit + 24)
    struct.pack_into("<Q", data, linkedit + 48, limit + size - start)
    struct.pack_into("<Q", data, linkedit + 32, -(-(limit + size - start) // 0x4000) * 0x4000)

    adhoc, linker_signed, main_binary = 0x2, 0x20000, 0x1
    text_size = struct.unpack_from("<Q", data, text + 48)[0]
    directory = struct.pack(
        ">9I4BIIIIQQQQ", 0xFADE0C02, hashes + 32 * pages, 0x20400, adhoc | linker_signed, hashes, 88, 0, pages, limit,
        32, 2, 0, 12, 0, 0, 0, 0, 0, 0, text_size, main_binary,
    )  # fmt: skip
    directory += name
    for at in range(0, limit, page):
        directory += hashlib.sha256(data[at : min(at + page, limit)]).digest()
    blob = struct.pack(">5I", 0xFADE0CC0, 20 + len(directory), 1, 0, 20) + directory
    Path(file).write_bytes(data + blob.ljust(size, b"\0"))


def universal(target, thin):
    """Writes a fat file: a header that says where the file for each processor is, and these files."""
    alignment = 14  # 2**14, the page of ARM64; the other has smaller ones
    header, body = struct.pack(">II", 0xCAFEBABE, len(thin)), b""
    start = 1 << alignment
    for file in thin:
        data = Path(file).read_bytes()
        load_commands(data)
        processor, subtype = struct.unpack_from("<II", data, 4)
        body += bytes(-len(body) % start)
        header += struct.pack(">IIIII", processor, subtype, start + len(body), len(data), alignment)
        body += data
    Path(target).write_bytes(header.ljust(start, b"\0") + body)
    os.chmod(target, 0o755)


# Archives


def archive(target, folder):
    folder = Path(folder)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])

    def mode(file):
        return 0o755 if os.access(file, os.X_OK) else 0o644

    def name(file):
        return f"{folder.name}/{file.relative_to(folder)}"

    if target.endswith(".zip"):
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
            for file in files:
                entry = zipfile.ZipInfo(name(file), time.gmtime(epoch)[:6])
                entry.create_system, entry.external_attr = 3, (0o100000 | mode(file)) << 16
                made.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
        return
    with open(target, "wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=epoch) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as made:
            for file in files:
                entry = tarfile.TarInfo(name(file))
                entry.size, entry.mode, entry.mtime = file.stat().st_size, mode(file), epoch
                entry.uname = entry.gname = "root"
                with open(file, "rb") as data:
                    made.addfile(entry, data)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["licenses", target]:
            licenses(target)
        case ["sign", file]:
            sign(file)
        case ["universal", target, *thin]:
            universal(target, thin)
        case ["archive", target, folder]:
            archive(target, folder)
        case _:
            sys.exit(__doc__)
