"""Compares messages before and after an edit with Python's email package, which shares no code with Posthouse.

Usage: independent.py DIR, with pairs NAME.before and NAME.after. Prints what differs; exit code 1 if anything does.
"""
import email
import pathlib
import sys


def parts(raw):
    return list(email.message_from_bytes(raw).walk())


def shown(part):
    return part.get_content_type() in ("text/plain", "text/html") and not part.get_filename() \
        and part.get_content_disposition() != "attachment"


def inserted_once(old, new):
    """True when `new` is `old` with one piece put in, or taken out."""
    short, long = sorted((old, new), key=len)
    front = next((n for n, (a, b) in enumerate(zip(short, long)) if a != b), len(short))
    rest = short[front:]
    return long.endswith(rest)


def compare(before, after):
    old, new = parts(before), parts(after)
    if [p.get_content_type() for p in old] != [p.get_content_type() for p in new]:
        yield "other parts"
        return
    for n, (a, b) in enumerate(zip(old, new)):
        if n and a.items() != b.items():
            yield f"part {n}: other header"
        if a.is_multipart():
            if (a.preamble, a.epilogue) != (b.preamble, b.epilogue):
                yield f"part {n}: other preamble or epilogue"
        elif not shown(a):
            if a.get_payload() != b.get_payload():
                yield f"part {n}: not shown, and changed"
        elif not inserted_once(a.get_payload(decode=True), b.get_payload(decode=True)):
            yield f"part {n}: more than one piece changed"


def main():
    wrong = edited = 0
    for before in sorted(pathlib.Path(sys.argv[1]).glob("*.before")):
        raw, out = before.read_bytes(), before.with_suffix(".after").read_bytes()
        edited += raw != out
        for why in compare(raw, out):
            wrong += 1
            print(f"{before.stem}: {why}")
    print(f"{edited} edited")
    sys.exit(1 if wrong or not edited else 0)


main()
