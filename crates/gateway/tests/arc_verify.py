"""Verifies messages with dkimpy, an implementation of DKIM and ARC that shares nothing with Posthouse.

Usage: arc_verify.py DIR, with NAME.eml and dns.json (name to TXT). Prints a line for each: NAME arc=… dkim=….
"""
import json
import pathlib
import sys

import dkim

folder = pathlib.Path(sys.argv[1])
records = json.loads((folder / "dns.json").read_text())


def txt(name, timeout=5):
    name = name.decode() if isinstance(name, bytes) else name
    found = records.get(name.rstrip(".").lower())
    return found.encode() if found else None


def verified(raw):
    try:
        return dkim.verify(raw, dnsfunc=txt)
    except dkim.DKIMException:
        return False


for file in sorted(folder.glob("*.eml")):
    raw = file.read_bytes()
    arc, _, why = dkim.arc_verify(raw, dnsfunc=txt)
    said = arc.decode() if arc else "ended"
    print(f"{file.stem} arc={said} dkim={'pass' if verified(raw) else 'none'}")
    if said == "fail":
        print(f"  {file.stem}: {why}", file=sys.stderr)
