#!/usr/bin/env python3
"""Verifies an Entas archive: python3 verify.py [ARCHIVE] [--key FILE] [--witness FILE]. Needs Python 3.11 alone.

ARCHIVE is a folder or a .tar (default: the folder that this file stands in). It was made to be read before it is
trusted: some fifteen minutes, from here to the end. What it shows, when it says that all is well:

1. Each service signed (Ed25519) how many events its log had and what the root of its Merkle tree (RFC 6962) was.
2. Hashing every event of the archive anew gives exactly those roots. So no event was changed, left out, put in or put
   elsewhere after it was signed; sequences have no gap; each event follows the one before it in its partition.
3. The versions of each stream (a person, a cohort …) are 1, 2, 3 … without a gap.
4. The counts by topic are those that were signed.
5. Every file is the one that the archive's maker listed and signed.

What it cannot know: whose the keys are. Compare those in `keys/` with the ones that you were given by another way, or
hand those in with --key. Whether the service signed more since, or something else: a witness may know (--witness). And
what was never written to the log stands in no archive.
"""

import argparse
import base64
import binascii
import codecs
import gc
import hashlib
import json
import multiprocessing
import re
import struct
import sys
import tarfile
import tempfile
import time
import zlib
from collections import Counter
from functools import lru_cache, partial
from operator import itemgetter
from pathlib import Path

SHOWN = 20  # findings of one kind; the others are counted
CHUNK = 1 << 18
read_json = json.JSONDecoder().scan_once


# --- The events of a segment, and what is hashed of each --------------------------------------------------------------
#
# A service's log is cut into segments: a gzip file of JSON lines, an event each, and a file with the leaf of each event
# as the tree had it (32 bytes each). A segment begins at a multiple of its length, which is a power of two; so each
# full segment is one node of the tree, and segments can be checked side by side.


def leaf_of(entry, decode=binascii.a2b_base64, sha256=hashlib.sha256):
    """The event's leaf in the tree: what contracts/envelope.py calls `proof_bytes`, hashed as RFC 6962 says.

    It covers the texts below, each behind its length in four bytes, the cause, and the SHA-256 of the value.
    """
    source, sequence, topic, key, version, kind, id_, at, recorded, actor, correlation, cause, value = COVERED(entry)
    sequence, version = str(sequence), str(version)
    try:
        # One expression, since this is where the time goes. A length up to 127 is four ASCII characters.
        covered = (
            f"{L[14]}entas-event-v1{L[len(source)]}{source}{L[len(sequence)]}{sequence}{L[len(topic)]}{topic}"
            f"{L[len(key)]}{key}{L[len(version)]}{version}{L[len(kind)]}{kind}{L[len(id_)]}{id_}{L[len(at)]}{at}"
            f"{L[len(recorded)]}{recorded}{L[len(actor)]}{actor}{L[len(correlation)]}{correlation}"
            f"{'' if cause is None else L[len(cause)] + cause}"
        ).encode("ascii")
    except (IndexError, UnicodeEncodeError):  # Some text is longer, or not ASCII alone.
        texts = ["entas-event-v1", source, sequence, topic, key, version, kind, id_, at, recorded, actor, correlation]
        texts += [] if cause is None else [cause]
        covered = b"".join([len(text.encode()).to_bytes(4, "big") + text.encode() for text in texts])
    if cause is None:
        covered += b"\xff\xff\xff\xff"
    return sha256(b"\x00" + covered + b"\x00\x00\x00\x20" + sha256(decode(value)).digest()).digest()


COVERED = itemgetter(
    "source", "sequence", "topic", "key", "version", "type", "id", "time", "recorded", "actor", "correlation_id",
    "causation_id", "value",
)  # fmt: skip
L = ["\0\0\0" + chr(length) for length in range(128)]


SHARED = {}  # what every process has: where the archive's files are, and the keys


def prepare(archive, keys):
    SHARED.update(archive=archive, keys=keys)
    gc.disable()  # Looking for cycles, of which there are none, takes a tenth of the time.


def check_segment(job):
    """Reads a segment once, from its first line to its last, and gives what the whole log's check needs of it."""
    service, segment, notes, folder = job
    archive, keys = SHARED["archive"], SHARED["keys"]
    first, count = segment["first"], segment["count"]
    found = Findings(service)
    known = read_whole(archive, segment["leaves"], found)
    if len(known) != 32 * count:
        known = b""  # It was changed, which is said already. The events have to speak for themselves.
    leaves, missing, firsts, cuts, streams = [], {}, {}, [], {}
    counts, tails, peaks, waiting = (
        Counter(),
        {},
        [],
        sorted(notes, key=lambda note: (note["size"], not note["witnessed"])),
    )
    expected, lost = first, False
    try:
        for line in lines_of(archive, segment["log"], found):
            try:
                entry = read_json(line, 0)[0]
                sequence, topic, place = entry["sequence"], entry["topic"], f"{entry['topic']}/{entry['partition']:d}"
                leaf = leaf_of(entry)
                before, previous, version = tails.get(place), entry["previous_sequence"] + 0, entry["version"] + 0
                sealed = known[32 * (sequence - first) : 32 * (sequence - first) + 32]
            except (ValueError, LookupError, TypeError, AttributeError, StopIteration, RecursionError) as error:
                found.add("unreadable", expected, None, f"a line of {segment['log']} is no event: {error!r:.80}")
                continue
            if sequence != expected:
                if not expected < sequence < first + count:
                    late, lost = sequence in missing, True
                    missing.pop(sequence, None)
                    text = f"comes only after sequence {expected - 1}" if late else "does not belong here"
                    found.add("reordered" if late else "duplicate", sequence, place, text)
                    if late and sealed and leaf != sealed:
                        found.add("changed", sequence, place, f"{entry['type']} is not what was sealed")
                    continue
                lost = True
                for number in range(expected, sequence):
                    missing[number] = None
                    leaves.append(known[32 * (number - first) : 32 * (number - first) + 32])
            if before is None:
                firsts[place] = (sequence, previous)
            elif before != previous:
                if previous in missing:
                    missing[previous] = place
                else:
                    found.add("chain", sequence, place, f"says that it follows {previous}, but {before} is before it")
            if sealed and leaf != sealed:
                found.add("changed", sequence, place, f"{entry['type']} is not what was sealed: its hash differs")
            leaves.append(sealed or leaf)
            tails[place] = sequence
            counts[topic] += 1
            stream = streams.get((topic, entry["key"]))
            if stream is None:
                streams[topic, entry["key"]] = [sequence, version, version]
            elif version == stream[2] + 1:
                stream[2] += 1
            else:
                found.add("version", sequence, place, f"is version {version} of its stream, after {stream[2]}")
                stream[2] = version
            expected = sequence + 1
            while waiting and waiting[0]["size"] <= expected:
                cuts.append(cut(waiting.pop(0), keys, leaves, peaks, first, counts, tails, lost, found))
    except (zlib.error, UnicodeDecodeError) as error:
        found.add("unreadable", expected, None, f"{segment['log']} cannot be read on: {error}")
    for number in range(expected, first + count):
        missing[number], lost = None, True
        leaves.append(known[32 * (number - first) : 32 * (number - first) + 32])
    cuts += [cut(note, keys, leaves, peaks, first, counts, tails, lost, found) for note in waiting]
    grow(peaks, leaves)
    spill(streams, folder)
    return {
        "found": found.list,
        "more": found.more,
        "missing": missing,
        "firsts": firsts,
        "cuts": cuts,
        "peaks": peaks,
        "counts": counts,
        "tails": tails,
        "lost": lost,
    }


def cut(note, keys, leaves, peaks, first, counts, tails, lost, found):
    """What the segment is at the size that a checkpoint speaks of; and whether the checkpoint is signed."""
    trouble = check_signature(note["text"], keys.get(note["origin"]))
    if trouble:
        found.add("wrong-key", note["size"], None, f"the checkpoint of {note['size']} events: {trouble}")
    new = note["size"] - first - sum(1 << height for height, _ in peaks)
    grow(peaks, leaves[:new])
    del leaves[:new]
    return {
        "size": note["size"],
        "root": note["root"],
        "good": not trouble,
        "witnessed": note["witnessed"],
        "peaks": list(peaks),
        "said_counts": note["counts"],
        "said_tails": note["tails"],
        "counts": Counter(counts),
        "tails": dict(tails),
        "lost": lost,
    }


# --- The tree (RFC 6962, 2.1) -----------------------------------------------------------------------------------------
#
# `peaks` are the roots of the perfect subtrees that the leaves so far make up, as (height, hash), the largest first.


def grow(peaks, leaves):
    """Appends leaves. One that is not known (empty) makes every node above it unknown."""
    sha256 = hashlib.sha256
    for node in leaves:
        height = 0
        while peaks and peaks[-1][0] == height:
            left = peaks.pop()[1]
            node = sha256(b"\x01" + left + node).digest() if left and node else b""
            height += 1
        peaks.append((height, node))


def join_peaks(left, right):
    """The peaks of a log whose first part ends where a full segment ends."""
    peaks = list(left)
    for height, node in right:
        while peaks and peaks[-1][0] == height:
            before = peaks.pop()[1]
            node = hashlib.sha256(b"\x01" + before + node).digest() if before and node else b""
            height += 1
        peaks.append((height, node))
    return peaks


def root_of(peaks):
    """The root; empty where a leaf is not known."""
    if not peaks:
        return hashlib.sha256(b"").digest()
    root = peaks[-1][1]
    for _, peak in reversed(peaks[:-1]):
        root = hashlib.sha256(b"\x01" + peak + root).digest() if peak and root else b""
    return root


# --- A service's log, from its segments ------------------------------------------------------------------------------


def check_log(found, manifest, made, archive, witness, workers, folder, progress):
    """Everything about one service's log."""
    service = found.service
    notes = checkpoints_of(service, manifest, archive, found)
    size = manifest["size"]
    if not notes:
        found.add("no-checkpoint", 0, None, "the archive holds no checkpoint: nothing is signed")
    if notes and (newest := max(notes, key=lambda note: note["size"]))["size"] > size:
        cut_off = {place: last for place, last in newest["tails"].items() if last >= size}
        text = f"a checkpoint speaks of {newest['size']} events, the archive ends before {size}; cut off: {cut_off}"
        found.add("truncated", size, next(iter(cut_off)) if len(cut_off) == 1 else None, text)
    notes += notes_of_witness(service, witness, size, made, found)
    segments = manifest["segments"]
    if [s["first"] for s in segments] != [sum(s["count"] for s in segments[:n]) for n in range(len(segments))]:
        found.add("unreadable", 0, None, "the manifest's segments do not follow one another")
        return
    jobs = []
    for segment in segments:
        first, end = segment["first"], segment["first"] + segment["count"]
        jobs.append((service, segment, [n for n in notes if first < n["size"] <= end], folder))
    peaks, counts, tails, missing, lost = [], Counter(), {}, {}, False
    for segment, checked in zip(segments, workers(check_segment, jobs), strict=True):
        found.extend(checked["found"], checked["more"])
        missing |= checked["missing"]
        for place, (sequence, previous) in checked["firsts"].items():
            before = tails.get(place, -1)
            if previous != before and previous in missing:
                missing[previous] = place
            elif previous != before:
                found.add("chain", sequence, place, f"says that it follows {previous}, but {before} is before it")
        for at in checked["cuts"]:
            at |= {"counts": counts + at["counts"], "tails": tails | at["tails"], "lost": lost or at["lost"]}
            check_cut(at, root_of(join_peaks(peaks, at["peaks"])), missing, found)
        peaks = join_peaks(peaks, checked["peaks"])
        counts += checked["counts"]
        tails |= checked["tails"]
        lost = lost or checked["lost"]
        progress(segment["count"])
    end = size
    while end - 1 in missing:
        end -= 1
    for number, place in sorted(missing.items()):
        found.add("truncated" if number >= end else "removed", number, place, "was sealed and is not in the archive")
    if found.proven < size and not any(told["kind"] == "root" for told in found.list):
        found.add("unchecked", found.proven, None, "no checkpoint covers the events from here on: nobody signed them")
    if not lost:  # Else the streams of what is missing have gaps as well, which says nothing new.
        check_streams(folder, found)


def check_cut(at, root, missing, found):
    """Holds the log so far against one checkpoint."""
    size = at["size"]
    if not at["good"]:
        return
    if root and root != at["root"]:
        kind, who = ("forked", "the witness was told") if at["witnessed"] else ("root", "was signed")
        if not any(told["kind"] == kind for told in found.list):  # All that follows differs too.
            found.add(
                kind, found.proven, None, f"events from here on do not give the root that {who} for {size} events"
            )
    elif root:
        found.proven = size
    for place, last in at["said_tails"].items():
        if last in missing:
            missing[last] = place
    if root != at["root"] or at["lost"]:
        return
    if at["counts"] != Counter(at["said_counts"]):
        found.add("counts", size, None, "the events by topic are not as many as was signed")
    if at["tails"] != at["said_tails"]:
        found.add("tails", size, None, "the last sequences by partition are not those that were signed")


def checkpoints_of(service, manifest, archive, found):
    """The service's checkpoints, as they read; signatures are checked with their segments."""
    notes, roots = [], {}
    for number, line in enumerate(lines_of(archive, manifest["checkpoints"], found, packed=False), 1):
        try:
            note = read_note(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            found.add("note", None, None, f"{manifest['checkpoints']} line {number} is no checkpoint: {error!r}")
            continue
        if note["origin"] != f"entas/{service}":
            found.add("note", note["size"], None, f"a checkpoint of {note['origin']} stands among those of {service}")
        elif roots.setdefault(note["size"], note["root"]) != note["root"]:
            text = f"two checkpoints of {note['size']} events have different roots: two histories were signed"
            found.add("forked", max((s for s in roots if s < note["size"]), default=0), None, text)
        else:
            notes.append(note)
    return notes


def read_note(text, witnessed=False):
    origin, size, root, *more = text.partition("\n\n")[0].split("\n")
    values = dict(line.split(" ", 1) for line in more)
    note = {"text": text, "origin": origin, "size": int(size), "root": base64.b64decode(root), "made": values["made"]}
    for name in ("counts", "tails"):
        note[name] = {str(what): int(number) for what, number in json.loads(values[name]).items()}
    return {**note, "witnessed": witnessed}


def notes_of_witness(service, text, size, made, found):
    """The notes that a witness kept of this service. One of a log that was longer, when the archive was made, than the
    archive says: an older database had been restored, or the end is cut off."""
    notes = []
    for block in re.findall(rf"^entas/{service}\n(?:.+\n)+\n(?:— .+\n)+", text, re.MULTILINE):
        try:
            notes.append(read_note(block, witnessed=True))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            found.add("note", None, None, f"a note of the witness is no checkpoint: {error!r}")
    longer = [note for note in notes if note["size"] > size and note["made"] <= made]
    if longer and not check_signature(longer[-1]["text"], SHARED["keys"].get(f"entas/{service}")):
        text = f"the witness knew of {longer[-1]['size']} events at {longer[-1]['made']}, before the archive was made"
        found.add("restored", size, None, text)
    return [note for note in notes if note["size"] <= size]


# --- Streams: versions 1, 2, 3 … in constant memory ------------------------------------------------------------------
#
# Each segment notes of each of its streams: a hash of the stream, the first sequence, the first and the last version.
# The notes are sorted by hash into files of a temporary folder, and each file is then held together alone.

NOTE = struct.Struct(">QQII")
BUCKETS = 64


def spill(streams, folder):
    buckets = [[] for _ in range(BUCKETS)]
    for (topic, key), (sequence, begin, end) in streams.items():
        name = hashlib.blake2b(f"{topic} {key}".encode(), digest_size=8).digest()
        number = int.from_bytes(name, "big")
        buckets[number % BUCKETS].append(NOTE.pack(number, sequence, begin, end))
    for number, notes in enumerate(buckets):
        with open(Path(folder, str(number)), "ab") as file:
            file.write(b"".join(notes))


def check_streams(folder, found):
    for file in sorted(Path(folder).iterdir()):
        last = {}
        for stream, sequence, begin, end in sorted(NOTE.iter_unpack(file.read_bytes())):
            if begin != last.get(stream, 0) + 1:
                text = f"is version {begin} of its stream, after {last.get(stream, 0)}"
                found.add("version", sequence, None, text)
            last[stream] = end


# --- Files, in a folder or in a .tar ----------------------------------------------------------------------------------


def open_archive(path):
    """Where each file begins and how long it is: name -> (path, offset, length); and the manifest's digests by name."""
    if path.is_dir():
        return {f.relative_to(path).as_posix(): (str(f), 0, f.stat().st_size) for f in path.rglob("*") if f.is_file()}
    with tarfile.open(path, "r:") as tar:
        return {m.name: (str(path), m.offset_data, m.size) for m in tar if m.isfile()}


def chunks_of(archive, name, found):
    """The file's bytes in pieces. Afterwards says if it was not the one that is listed."""
    places, digests = archive
    digest = hashlib.sha256()
    if name in places:
        path, offset, left = places[name]
        with open(path, "rb") as file:
            file.seek(offset)
            while left and (chunk := file.read(min(CHUNK, left))):
                left -= len(chunk)
                digest.update(chunk)
                yield chunk
    if name not in places:
        found.add("file", None, None, f"{name} is listed and not there")
    elif digests is not None and digest.hexdigest() != digests.get(name, {}).get("sha256"):
        found.add("file", None, None, f"{name} is not the file that the manifest lists: its SHA-256 differs")


def read_whole(archive, name, found):
    before = len(found.list)
    content = b"".join(chunks_of(archive, name, found))
    # A file of leaves that was changed would make good events look wrong.
    return content if len(found.list) == before else b""


def lines_of(archive, name, found, packed=True):
    unpack = zlib.decompressobj(31)  # gzip
    decode = codecs.getincrementaldecoder("utf-8")().decode
    rest = ""
    for chunk in chunks_of(archive, name, found):
        lines = (rest + decode(unpack.decompress(chunk) if packed else chunk)).split("\n")
        rest = lines.pop()
        yield from lines
    if packed and not unpack.eof and name in archive[0]:
        raise zlib.error("the file ends too early")
    if rest:
        yield rest


class Findings:
    """What is wrong, each with its place. Many of one kind are counted, after the first ones."""

    def __init__(self, service):
        self.service, self.list, self.more, self.proven = service, [], Counter(), 0

    def add(self, kind, sequence, place, text):
        if sum(found["kind"] == kind for found in self.list) >= SHOWN:
            self.more[kind] += 1
            return
        topic, _, partition = (place or "").rpartition("/")
        where = {"topic": topic or None, "partition": int(partition) if topic else None}
        self.list.append({"kind": kind, "service": self.service, "sequence": sequence, **where, "text": text})

    def extend(self, found, more):
        self.list += found
        self.more += more


# --- Ed25519 (RFC 8032, 5.1), verifying only -------------------------------------------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def add_points(a, b):
    A = (a[1] - a[0]) * (b[1] - b[0]) % P
    B = (a[1] + a[0]) * (b[1] + b[0]) % P
    C = 2 * a[3] * b[3] * D % P
    E, F, G, H = B - A, 2 * a[2] * b[2] - C, 2 * a[2] * b[2] + C, B + A
    return E * F % P, G * H % P, F * G % P, E * H % P


def double(a):
    A, B, Z = a[0] * a[0] % P, a[1] * a[1] % P, a[2] * a[2] * 2 % P
    H, G = A + B, A - B
    E, F = H - (a[0] + a[1]) * (a[0] + a[1]), Z + G
    return E * F % P, G * H % P, F * G % P, E * H % P


def sum_of_products(m, a, n, b):
    """m times a and n times b, in one go."""
    result, both = (0, 1, 1, 0), add_points(a, b)
    for bit in range(252, -1, -1):
        result = double(result)
        if picked := (m >> bit & 1) + 2 * (n >> bit & 1):
            result = add_points(result, (None, a, b, both)[picked])
    return result


@lru_cache(maxsize=64)
def point_of(encoded):
    """The curve's point in 32 bytes; None where it is none."""
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = point_of((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def is_signed(public, signature, message):
    """Whether scalar * BASE = nonce + hashed * key, the key being a point of the curve."""
    key, scalar = point_of(public), int.from_bytes(signature[32:], "little")
    if key is None or len(signature) != 64 or scalar >= ORDER or (nonce := point_of(signature[:32])) is None:
        return False
    hashed = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    minus_key = (P - key[0], key[1], 1, P - key[3])
    x, y, z, _ = sum_of_products(scalar, BASE, hashed, minus_key)
    return (x - nonce[0] * z) % P == 0 and (y - nonce[1] * z) % P == 0


def check_signature(note, key):
    """What is wrong with a signed note (C2SP); empty when nothing is. `key` is a verifier key: name+hash+base64."""
    if key is None:
        return "no key of its service is known"
    text, _, signatures = note.rpartition("\n\n")
    name, _, public = key.split("+", 2)
    public = base64.b64decode(public)
    key_hash = hashlib.sha256(f"{name}\n".encode() + public).digest()[:4]
    for line in signatures.splitlines():
        dash, signer, blob = [*line.split(" "), "", "", ""][:3]
        try:
            blob = base64.b64decode(blob, validate=True)
        except ValueError:
            continue
        if (dash, signer, blob[:4]) == ("—", name, key_hash):
            return "" if is_signed(public[1:], blob[4:], f"{text}\n".encode()) else "its signature is false"
    return f"it is not signed by the key {name}+{key_hash.hex()}"


# --- The command ------------------------------------------------------------------------------------------------------


def verify(path, keys=(), witness="", processes=None, say=lambda text: None):
    """Every finding about an archive, and how many events were read. `keys` and `witness` are texts of theirs."""
    places, whole = open_archive(path), Findings("archive")
    try:
        manifest = json.loads(read_whole((places, None), "manifest.json", whole))
        signed = read_whole((places, None), "manifest.sig", whole).decode()
        known = {name.split("+")[0]: name for name in shipped_keys(places)} | {k.split("+")[0]: k for k in keys}
        services, digests = manifest["services"], manifest["files"]
        SHARED["keys"] = known
    except (ValueError, KeyError, AttributeError) as error:
        whole.add("file", None, None, f"manifest.json, manifest.sig or a key cannot be read: {error!r}")
        return whole.list, whole.more, 0
    raw = read_whole((places, None), "manifest.json", whole)
    if f"\n{hashlib.sha256(raw).hexdigest()}\n" not in f"\n{signed}":
        whole.add("file", None, None, "manifest.json is not the one that was signed: its SHA-256 differs")
    if trouble := check_signature(signed, known.get("entas/archive")):
        whole.add("wrong-key", None, None, f"manifest.sig: {trouble}")
    total, done, began = sum(log["size"] for log in services.values()), 0, time.monotonic()

    def progress(count):
        nonlocal done
        done += count
        say(f"{done:,} of {total:,} events, {done / (time.monotonic() - began):,.0f} a second")

    archive = (places, digests)
    with multiprocessing.Pool(processes, prepare, (archive, known)) as pool:
        for service, log in services.items():
            with tempfile.TemporaryDirectory(prefix="verify-") as folder:
                workers, found = partial(pool.imap, chunksize=1), Findings(service)
                try:
                    check_log(found, log, manifest["made"], archive, witness, workers, folder, progress)
                except (ValueError, LookupError, TypeError, AttributeError) as error:
                    found.add("file", None, None, f"the manifest cannot be used: {error!r}")
            whole.extend(found.list, found.more)
            say(f"{service}: {log['size']:,} events, of which {found.proven:,} are what was signed")
    return whole.list, whole.more, total


def shipped_keys(places):
    """The verifier keys that came with the archive."""
    names = [name for name in places if re.fullmatch(r"keys/[a-z-]+\.vkey", name)]
    return [read_whole((places, None), name, Findings("archive")).decode().strip() for name in names]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", nargs="?", type=Path, default=Path(__file__).parent)
    parser.add_argument("--key", action="append", type=Path, default=[], help="a verifier key's file; may be repeated")
    parser.add_argument("--witness", action="append", type=Path, default=[], help="a file of notes that a witness kept")
    parser.add_argument("--processes", type=int, help="default: as many as there are processors")
    parser.add_argument("--json", action="store_true", help="print findings as JSON")
    asked = parser.parse_args()
    if not asked.archive.exists():
        parser.error(f"{asked.archive} does not exist")
    keys = [file.read_text().strip() for file in asked.key]
    lively = sys.stderr.isatty()
    began = time.monotonic()

    def say(text):
        if lively and text[0].isdigit():
            print(f"\r{text:70}", end="", file=sys.stderr, flush=True)
        elif not text[0].isdigit() and not asked.json:
            print(("\n" if lively else "") + text)

    witness = "".join(file.read_text() + "\n" for file in asked.witness)
    findings, more, events = verify(asked.archive, keys, witness, asked.processes, say)
    if asked.json:
        print(json.dumps({"events": events, "findings": findings, "more": more}))
        return 1 if findings else 0
    for found in findings:
        place = f" {found['topic']}/{found['partition']}" if found["topic"] else ""
        where = "" if found["sequence"] is None else f" sequence {found['sequence']}"
        print(f"WRONG  {found['kind']}: {found['service']}{where}{place}: {found['text']}")
    for kind, count in more.items():
        print(f"WRONG  {kind}: {count:,} more")
    if not asked.key:
        print("Keys (compare them with those that you were given; --key takes yours):")
        for key in sorted(shipped_keys(open_archive(asked.archive))):
            print(f"  {key}")
    seconds = time.monotonic() - began
    if findings:
        print(f"{asked.archive}: {len(findings) + sum(more.values()):,} findings in {events:,} events, {seconds:.1f} s")
        return 1
    print(f"{asked.archive}: all is well: {events:,} events are what was signed, {seconds:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
