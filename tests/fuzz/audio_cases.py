# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Songs that are whole, damaged, or no songs, and what must come of them."""

import os
import socket
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from collap import CollapFeatureExtractor, CollapModel
from collap.data.audio_files import audio_duration_s, read_audio
from collap.data.validation import find_issues
from collap.encode import extract_features
from collap.processing.audio_loading_collap import load_songs
from tests.tiny_models import CHUNK_LENGTH_S, tiny_config

from .audio_files import FORMS, NUM_TONES, Form, make_song, strongest_tones, tone_hz, write_song
from .runner import Case, Fault, refusal

RATE = 16_000  # of what is decoded
# `short` and `long` are decoded without a problem, but not as long as the song; they are allowed where nothing in the
# damaged file can tell its length.
WHOLE, PROBLEM, REFUSED, SHORT, LONG = "whole", "problem", "refused", "short", "long"
ANY = (WHOLE, PROBLEM, REFUSED, SHORT, LONG)


@dataclass
class Song:
    """A file and what it truly holds."""

    content: bytes
    form: Form
    rate: int
    tones: list[int]  # of its seconds; empty where they are not known
    duration_s: float
    allowed: Sequence[str] = (WHOLE,)
    path: Any = None  # where it is, if it is no file of `content` with the form's suffix
    tolerance_s: float = 0.2  # beside the silence that a codec adds
    is_seekable: bool = True  # not files of two rates: times in them are right only where all of it is decoded


def audio_case(case: Case) -> str:
    makes, weights = zip(*MAKES, strict=True)
    make = case.random.choices(makes, weights)[0]
    case.note(make.__name__)
    song = make(case)
    if song.path is None:
        suffix = case.choose((song.form.suffix,) * 9 + (".mp3", ".wav", ".ogg", ".m4a", ".MP3", ".txt", ".raw", ""))
        song.path = f"song{suffix}"
        Path(song.path).write_bytes(song.content)
    return _check(case, song)


def _check(case: Case, song: Song) -> str:
    is_file = isinstance(song.path, str) and os.path.isfile(song.path)
    source, shown = song.path, [os.path.basename(song.path)] if "\0" not in song.path else ["audio"]
    if is_file and case.random.random() < 0.2:
        case.note("from memory")
        source, shown = {"bytes": Path(song.path).read_bytes(), "path": None}, []
    loaded, message = refusal(lambda: load_songs([source])[0], "audio[0]", *shown)
    tolerance_s = song.tolerance_s + 4096 / song.rate
    if message is not None:
        outcome = REFUSED
    else:
        waveform, duration_s = loaded.waveform.numpy(), len(loaded.waveform) / RATE
        case.note(f"{duration_s:.3f} of {song.duration_s:.3f} s, problem: {loaded.problem}")
        if not np.isfinite(waveform).all():
            raise Fault("samples that are not finite")
        if not 1000 <= loaded.source_sampling_rate <= 768_000:
            raise Fault(f"a rate of {loaded.source_sampling_rate}")
        difference_s = duration_s - song.duration_s
        outcome = PROBLEM if loaded.problem else WHOLE
        if abs(difference_s) > tolerance_s and outcome == WHOLE:
            outcome = SHORT if difference_s < 0 else LONG
        if song.tones and abs(loaded.duration_s - duration_s) > 0.01:
            raise Fault(f"duration_s is {loaded.duration_s}")
        tones = strongest_tones(waveform, RATE)[: int(song.duration_s)]
        expected = [tone_hz(number) for number in song.tones]
        pairs = enumerate(zip(tones, expected, strict=False))
        different = [second for second, (one, other) in pairs if abs(one - other) > 6]
        if song.tones and different:
            raise Fault(f"another sound in the seconds {different}: {tones}, not {expected}")
    if outcome not in song.allowed:
        raise Fault(f"{outcome}, expected one of {song.allowed}: {message}")
    if is_file:
        _check_other_ways(case, song, source, shown, loaded, outcome)
    return {SHORT: WHOLE, LONG: WHOLE}.get(outcome, outcome)


def _check_other_ways(case: Case, song: Song, source: Any, shown: list[str], loaded: Any, outcome: str) -> None:
    """The other readers come to the same."""
    ways = ("duration", "part", "truncated", "streamed", "validated", "extracted")
    way = case.choose(ways if song.is_seekable else ways[3:], "way")
    length_s = loaded.duration_s if loaded else song.duration_s
    if way == "duration":
        counted_s, message = refusal(lambda: audio_duration_s(source), *shown)
        if outcome == WHOLE and song.tones and (message or abs(counted_s - loaded.duration_s) > 1.1):
            raise Fault(f"the length is {counted_s}: {message}")
    elif way == "part":
        start_s = 0.02 * case.random.randrange(5, max(6, int(50 * length_s) - 30))  # a sample at all rates
        read, message = refusal(lambda: read_audio(source, RATE, start_s, 0.5), *shown)
        if outcome == WHOLE and song.tones:
            expected = loaded.waveform[round(start_s * RATE) :][: RATE // 2].numpy()
            if message or len(read[0]) != len(expected):
                raise Fault(f"no part from {start_s:.2f} s on: {message}")
            inside = slice(500, -500)  # resampling at a cut differs
            if np.abs(read[0] - expected)[inside].max() > 0.1:
                raise Fault(f"another part from {start_s:.2f} s on")
    elif way == "truncated":
        extractor = CollapFeatureExtractor(max_length_s=1.0)
        begin, message = refusal(lambda: extractor.load([source], truncation=True)[0], "audio[0]", *shown)
        if outcome == WHOLE and song.tones:
            if message or not torch.allclose(begin.waveform, loaded.waveform[:RATE], atol=1e-4):
                raise Fault(f"another beginning: {message}")
            if abs(begin.duration_s - loaded.duration_s) > 1.1:  # what follows was counted, not decoded
                raise Fault(f"truncated, the song has {begin.duration_s} s of {loaded.duration_s}")
    elif way == "streamed":
        extractor, limit = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S), case.choose((None, 1.5, 30.0))
        extractor.max_length_s = limit
        whole, message = refusal(lambda: extractor(source, truncation=True, return_tensors="pt"), "audio", *shown)
        parts, other = refusal(lambda: list(extractor.stream(source, 2, truncation=True)), "audio", *shown)
        is_range = "must be in [-1, 1]" in str(message)  # of the whole song, or of the part that has it first
        if message != other and not (is_range and "must be " in str(other)):
            raise Fault(f"in parts {other}, at once {message}")
        if whole and parts[-1].audio_coverage != whole.audio_coverage:
            raise Fault(f"in parts {parts[-1].audio_coverage}, at once {whole.audio_coverage}")
        for name, values in (whole or {}).items():
            if not torch.equal(torch.cat([part[name] for part in parts], dim=1), values):
                raise Fault(f"{name} differ in parts")
    elif way == "extracted" and loaded and len(loaded.waveform) < 20 * RATE:
        _make_named(case, "good.wav")
        model, extractor = CollapModel(tiny_config()), CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)
        cache = extract_features(["good.wav", source], "store", model.audio_model, extractor, on_bad_audio="skip")
        if len(cache.songs) != 1 + (outcome != PROBLEM):
            raise Fault(f"{outcome}, {len(cache.songs)} songs of 2 extracted")
    else:
        issues = find_issues([{"audio": source if isinstance(source, dict) else os.path.abspath(source), "text": "a"}])
        if bool(issues) != (outcome in (PROBLEM, REFUSED)) and outcome != LONG:
            raise Fault(f"{outcome}, validated: {issues}")


def _make(case: Case, forms: Sequence[Form] = FORMS, least_s: int = 2, most_s: int = 8) -> Song:
    form = case.choose(forms)
    rate = case.choose(form.rates)
    channels = case.choose([number for number in form.channels if number * rate <= 800_000])
    most_s = max(least_s, min(most_s, 3_000_000 // (rate * channels)))  # the making of a song takes memory too
    tones = [case.random.randrange(NUM_TONES) for _ in range(case.random.randint(least_s, most_s))]
    rest_s = case.choose((0.0, 0.2, 0.4))
    case.note(f"{form.container} {form.codec} {form.suffix} {rate} Hz x{channels}, {len(tones)}+{rest_s} s")
    path = Path(f"made{form.suffix}")
    write_song(path, make_song(tones, rest_s, rate, case.noise), rate, channels, form)
    return Song(path.read_bytes(), form, rate, tones, len(tones) + rest_s)


def whole(case: Case) -> Song:
    return _make(case)


def cut(case: Case) -> Song:
    """Without its end: what is left is right, and where the file says its length, that it is cut is said."""
    song = _make(case, least_s=4)
    part = case.random.uniform(0.02, 0.97)
    song.content = song.content[: int(part * len(song.content))]
    lost_s = (1 - part) * song.duration_s
    case.note(f"{part:.3f} of it")
    # The bit rate may vary: what is lost is not known well.
    is_known = song.form.says_length and lost_s > 3
    song.allowed = (PROBLEM, REFUSED) if is_known else (WHOLE, SHORT, PROBLEM, REFUSED)
    return song


def damaged(case: Case) -> Song:
    song = _make(case)
    song.content = case.damage(song.content)
    song.allowed, song.tones = ANY, []
    return song


def damaged_inside(case: Case) -> Song:
    """Behind the head: what is lost by it is said, where the file says its length."""
    forms = [form for form in FORMS if form.container in ("wav", "flac", "mp3", "ogg", "matroska")]
    song = _make(case, [form for form in forms if form.says_length], least_s=4)
    length = len(song.content)
    song.content = case.damage(song.content, first=max(5000, length // 4))
    is_shorter = abs(len(song.content) - length) > 200
    song.allowed = (WHOLE, PROBLEM, REFUSED, LONG) + (SHORT,) * is_shorter
    song.tones, song.tolerance_s = song.tones[:1], 1.1  # less is no problem
    return song


def joined(case: Case) -> Song:
    """Two files one after the other, at different rates and with tags between them."""
    song = _make(case, [form for form in FORMS if form.can_be_joined])
    kind = song.form.container, song.form.codec
    other = _make(case, [form for form in FORMS if (form.container, form.codec) == kind])
    tags = [b"", b""]
    if song.form.codec == "libmp3lame":
        tags.append(b"TAG" + bytes(125))
        tags.append(b"ID3\4\0\0\0\0\x07\x68" + bytes(1000))
    full_s = int(song.duration_s) == song.duration_s
    joint = Song(song.content + case.choose(tags) + other.content, song.form, min(song.rate, other.rate), [], 0.0)
    joint.duration_s = song.duration_s + other.duration_s
    joint.tones = song.tones + (other.tones if full_s and song.form.container == "ogg" else [])
    joint.rate //= 2  # the silence that codecs add counts twice
    joint.allowed, joint.is_seekable = (WHOLE, PROBLEM), song.rate == other.rate
    return joint


def with_junk(case: Case) -> Song:
    """Something else in front or behind, as tags, web pages and zeros of unfinished downloads."""
    song = _make(case)
    tag, page = b"ID3\3\0\0\0\0\x07\x68" + bytes(1000), b"<html>not found</html>" * 50
    junk = case.choose((case.noise.bytes(3000), bytes(3000), page, tag))[: case.choose((1, 100, 5000))]
    is_behind = case.random.random() < 0.6
    case.note(f"{len(junk)} bytes of junk {'behind' if is_behind else 'in front'}: {junk[:10]!r}")
    song.content = song.content + junk if is_behind else junk + song.content
    song.allowed = (WHOLE, PROBLEM, LONG) if is_behind else ANY
    if song.form.container in ("caf", "w64"):  # whose chunks are all looked at before the first is decoded
        song.allowed = ANY
    if not is_behind:
        song.tones = []
    return song


def other_head(case: Case) -> Song:
    """Numbers in the head that are wrong."""
    edits = (_edit_wav, _edit_wav, _edit_flac, _edit_flac, _edit_xing, _edit_any, _edit_any, _edit_ogg)
    return case.choose(edits, "edit")(case)


def _edit_wav(case: Case) -> Song:
    song = _make(case, [form for form in FORMS if form.codec in ("pcm_s16le", "pcm_u8") and form.container == "wav"])
    head = bytearray(song.content)
    data = head.index(b"data") + 4
    (size,) = struct.unpack_from("<I", head, data)
    field = case.choose(("rate", "rate", "size", "size", "format", "channels", "bits", "align"), "field")
    if field == "rate":
        rate = case.choose((0, 1, 10, 999, 1000, 1234, 96_000, 767_999, 768_001, 2**31 - 1, 2**32 - 1), "rate")
        samples = song.duration_s * song.rate
        (align,) = struct.unpack_from("<H", head, 32)
        struct.pack_into("<II", head, 24, rate, min(rate * align, 2**32 - 1))
        song.tones, song.rate, song.duration_s = [], max(rate, 1), samples / max(rate, 1)
        is_right = 1000 <= rate <= 768_000 and song.duration_s > 0.176
        song.allowed = (WHOLE,) if is_right else (REFUSED,)
    elif field == "size":
        claimed = case.choose((0, 2**32 - 1, 2**31 - 1, 2 * size, 3 * size, size // 2), "size")
        struct.pack_into("<I", head, data, claimed)
        song.allowed = (WHOLE, PROBLEM)  # a size that is not known
        if claimed in (2 * size, 3 * size):
            song.allowed = (PROBLEM,)
        elif claimed in (0, size // 2):
            song.allowed = (WHOLE, PROBLEM, SHORT, REFUSED)
    else:
        place = {"format": 20, "channels": 22, "bits": 34, "align": 32}[field]
        struct.pack_into("<H", head, place, case.choose((0, 1, 2, 7, 13, 64, 85, 255, 8192, 65_535), "value"))
        song.allowed, song.tones = ANY, []
    song.content = bytes(head)
    return song


def _edit_flac(case: Case) -> Song:
    song = _make(case, [form for form in FORMS if form.container == "flac"], least_s=3)
    head = bytearray(song.content)
    numbers = int.from_bytes(head[18:26], "big")  # 20 bits of rate, 3 of channels, 5 of sample size, 36 of samples
    total = numbers & (2**36 - 1)
    if case.random.random() < 0.7:
        claimed = case.choose((0, 2 * total, 2**36 - 1, total // 2), "samples")
        numbers = numbers - total + claimed
        song.allowed = (PROBLEM,) if claimed > total else (WHOLE, PROBLEM) if claimed else (WHOLE,)
    else:
        numbers ^= case.random.getrandbits(28) << 36
        song.allowed, song.tones = ANY, []
    head[18:26] = numbers.to_bytes(8, "big")
    song.content = bytes(head)
    return song


def _edit_xing(case: Case) -> Song:
    song = _make(case, [form for form in FORMS if form.container == "mp3" and form.says_length], least_s=3)
    head = bytearray(song.content)
    place = max(head.find(b"Xing"), head.find(b"Info")) + 8
    if place > 7:
        (frames,) = struct.unpack_from(">I", head, place)
        claimed = case.choose((0, 1, 2 * frames, 2**32 - 1, frames // 2), "frames")
        struct.pack_into(">I", head, place, claimed)
        song.allowed = (PROBLEM,) if claimed > frames else (WHOLE, PROBLEM)
        song.content = bytes(head)
    return song


def _edit_ogg(case: Case) -> Song:
    """The position of the last page, with a right checksum."""
    song = _make(case, [form for form in FORMS if form.suffix in (".ogg", ".opus", ".oga")], least_s=3)
    head = bytearray(song.content)
    last = head.rindex(b"OggS")
    (position,) = struct.unpack_from("<q", head, last + 6)
    struct.pack_into("<q", head, last + 6, case.choose((0, -1, 2**62, position * 3, position // 2), "position"))
    struct.pack_into("<I", head, last + 22, 0)
    checksum = 0
    for byte in head[last:]:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1) ^ (0x104C11DB7 if checksum & 0x80000000 else 0)
    struct.pack_into("<I", head, last + 22, checksum)
    song.content, song.allowed = bytes(head), ANY
    return song


def _edit_any(case: Case) -> Song:
    song = _make(case)
    head = bytearray(song.content)
    for _ in range(case.choose((1, 1, 2, 5))):
        size = case.choose((1, 2, 4, 8))
        place = case.random.randrange(0, min(len(head) - size, case.choose((64, 200, 2000))))
        value = case.choose((bytes(size), b"\xff" * size, b"\x7f" + b"\xff" * (size - 1), case.noise.bytes(size)))
        case.note(f"{value.hex()} at {place}")
        head[place : place + size] = value
    song.content, song.allowed, song.tones = bytes(head), ANY, []
    return song


def no_song(case: Case) -> Song:
    """Files that hold no audio, or none that can be used."""

    def picture() -> bytes:
        numbers = struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0)
        content = b"\x89PNG\r\n\x1a\n"
        for kind, body in ((b"IHDR", numbers), (b"IDAT", zlib.compress(b"\0" * 20)), (b"IEND", b"")):
            content += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        return content

    def infinite() -> bytes:
        song = make_song([1, 2, 3], 0.0, RATE, case.noise)
        song[case.random.randrange(len(song))] = case.choose((np.nan, np.inf, -np.inf))
        write_song(Path("made.wav"), song, RATE, 1, Form("wav", "pcm_f32le", ".wav"))
        return Path("made.wav").read_bytes()

    def tiny() -> bytes:
        song = make_song([1], 0.0, RATE, case.noise)[:1000]
        write_song(Path("made.flac"), song, RATE, 1, Form("flac", "flac", ".flac"))
        return Path("made.flac").read_bytes()

    contents: dict[str, Callable[[], bytes]] = {
        "nothing": bytes,
        "picture": picture,
        "infinite": infinite,
        "tiny": tiny,
        "head only": lambda: _make(case).content[: case.choose((1, 4, 12, 40))],
        "page": lambda: b"<!DOCTYPE html><html><body>404</body></html>" * 40,
        "pointer": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 1234\n",
        "zeros": lambda: bytes(case.choose((1, 10_000))),
        "noise": lambda: case.noise.bytes(case.choose((1, 1000, 100_000))),
    }
    kind = case.choose(list(contents), "content")
    # FFmpeg finds some damaged sound in zeros, and in noise now and then.
    allowed = {"zeros": (REFUSED, PROBLEM), "noise": ANY}.get(kind, (REFUSED,))
    content = contents[kind]()
    return Song(content, Form("", "", case.choose((".wav", ".mp3", ".flac", ".ogg", ".m4a"))), RATE, [], 0.0, allowed)


def playlist(case: Case) -> Song:
    """Lists that name another song or an address: nothing they name may be opened."""
    _make_named(case, "other.wav")
    other = os.path.abspath("other.wav")
    server = socket.create_server(("127.0.0.1", 0))
    address = case.choose((other, "other.wav", f"file:{other}", f"http://127.0.0.1:{server.getsockname()[1]}/a.wav"))
    lists = (
        f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{address}\n#EXT-X-ENDLIST\n",
        f"#EXTM3U\n{address}\n",
        f"ffconcat version 1.0\nfile {address}\n",
        f"ffconcat version 1.0\nfile '{address}'\nduration 5\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static' "
        "mediaPresentationDuration='PT3S'><Period><AdaptationSet mimeType='audio/mp4'><Representation id='a' "
        f"bandwidth='1'><BaseURL>{address}</BaseURL></Representation></AdaptationSet></Period></MPD>",
        f"[playlist]\nFile1={address}\nNumberOfEntries=1\n",
        f"<smil><body><audio src='{address}'/></body></smil>",
        f"RTSPtext\r\n{address}\r\n",
    )
    Path("list.mp3").write_text(case.choose(lists))
    server.setblocking(False)
    path = case.choose(("list.mp3", "list.mp3", os.path.abspath("list.mp3")))
    loaded, _ = refusal(lambda: load_songs([path]), "list.mp3")
    if loaded is not None:
        raise Fault("a playlist was opened")
    try:
        server.accept()
    except BlockingIOError:
        return Song(b"", FORMS[0], RATE, [], 0.0, (REFUSED,), path)
    raise Fault("an address was asked")


def no_file(case: Case) -> Song:
    """Pipes, devices, folders, addresses: never opened."""
    os.mkfifo("pipe.wav")
    os.mkdir("folder.wav")
    os.symlink("/dev/zero", "zero.wav")
    os.symlink("/dev/stdin", "stdin.wav")
    os.symlink("missing", "dangling.wav")
    os.symlink("loop.wav", "loop.wav")
    os.symlink("pipe.wav", "link.wav")
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket.wav")
    _make_named(case, "there.wav")
    names = (
        "pipe.wav", "folder.wav", "zero.wav", "stdin.wav", "dangling.wav", "loop.wav", "link.wav", "socket.wav",
        "/dev/zero", "/dev/null", "/dev/full", "/proc/self/mem", "missing.wav", "a" * 300 + ".wav",
        "a/" * 3000 + "a.wav", "", ".", "/", "there.wav\0.txt", "http://127.0.0.1:9/a.wav", "file:there.wav",
        "pipe:0", "-", "concat:there.wav|there.wav", "data:audio/wav;base64,UklGRg==", "there.wav\n", " there.wav",
        "~/there.wav",
    )  # fmt: skip
    path = case.choose(names)
    case.note(repr(path[:80]))
    with server:
        return Song(b"", FORMS[0], RATE, [], 0.0, (REFUSED,), path)


def other_name(case: Case) -> Song:
    """Whole songs with names that mean something to FFmpeg, a shell or an encoding."""
    names = (
        "a:b.wav", "http:a.wav", "file:a.wav", "pipe:0", "-", "%03d.wav", "a*.wav", "'a'.wav", "concat:a|b.wav",
        "a\nb.wav", "\u202eb.wav", "pok\u00e9.flac", "poke\u0301.flac", "\udcff\udcfe.wav", "\U0001f3b5.mp3",
        ".hidden", "a" * 240, "a,b;c.mp3", "#1.mp3",
    )  # fmt: skip
    song = _make(case)
    song.path = case.choose(names)
    case.note(ascii(song.path))
    os.rename(f"made{song.form.suffix}", song.path)
    if case.random.random() < 0.3:
        os.symlink(song.path, "link.wav")
        song.path = "link.wav"
    return song


def long_song(case: Case) -> Song:
    """Ten minutes of 8 channels in a small file: memory goes by the block, not by the song."""
    form = Form("flac", "flac", ".flac")
    tones = [1, 2, 3] + [3] * 597
    song = np.zeros(600 * 44_100, np.float32)
    song[: 3 * 44_100] = make_song(tones[:3], 0.0, 44_100, case.noise)
    write_song(Path("song.flac"), song, 44_100, case.choose((1, 8)), form)
    return Song(b"", form, 44_100, tones[:3], 600.0, (WHOLE,), "song.flac")


def _make_named(case: Case, name: str) -> None:
    write_song(Path(name), make_song([1, 2], 0.0, RATE, case.noise), RATE, 1, FORMS[1])


MAKES = (
    (whole, 20), (cut, 18), (damaged, 14), (damaged_inside, 10), (joined, 8), (with_junk, 6), (other_head, 14),
    (no_song, 5), (playlist, 4), (no_file, 5), (other_name, 4), (long_song, 0.3),
)  # fmt: skip
