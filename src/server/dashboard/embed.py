#!/usr/bin/env python3
"""Writes the dashboard's files as C++: embed.py OUT.cc NAME=PATH... Each is packed with gzip, the same bytes each time."""
import gzip
import hashlib
import pathlib
import sys

TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


def main(out, *files):
    arrays, rows = [], []
    for i, one in enumerate(sorted(files)):
        name, path = one.split("=", 1)
        plain = pathlib.Path(path).read_bytes()
        packed = gzip.compress(plain, 9, mtime=0)
        lines = [",".join(str(byte) for byte in packed[at:at + 1000]) for at in range(0, len(packed), 1000)]
        arrays.append(f"constexpr unsigned char kFile{i}[] = {{\n" + ",\n".join(lines) + "};\n")
        tag = hashlib.sha256(plain).hexdigest()[:20]
        rows.append(f'    {{"{name}", "{TYPES[pathlib.Path(name).suffix]}", "{tag}",\n'
                    f"     {{reinterpret_cast<const char*>(kFile{i}), sizeof kFile{i}}}, {len(plain)}}},\n")
    text = ('#include "server/dashboard/files.h"\n\nnamespace altlas::server {\nnamespace {\n' + "".join(arrays) +
            "}  // namespace\n\nstd::span<const DashboardFile> dashboard_files() {\n"
            "  static const DashboardFile files[] = {\n" + "".join(rows) + "  };\n  return files;\n}\n\n}  // namespace altlas::server\n")
    pathlib.Path(out).write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
