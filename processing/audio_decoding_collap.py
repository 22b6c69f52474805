# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Files of audio to mono waveforms: decoded as a stream by FFmpeg, whatever their heads claim."""

import errno
import math
import os
import re
import stat
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import IO

import numpy as np

try:  # only files and other sampling rates need them: a model from the Hub works on arrays at 16 kHz without them
    import av
    import soxr
except ImportError:
    av = soxr = None

SAMPLING_RATES = (1_000, 768_000)  # Hz: what files may have
TOLERANCE_S = 1.0  # of the length: codecs add some silence at both ends, and tools write rounded lengths
BLOCK_SIZE = 2**16  # samples that are averaged and resampled at a time: frames have about a thousand
MARGIN_S = 0.1  # decoded beyond a limit, so that the resampled end is that of the whole file
UNKNOWN_BYTES = 2**31 - 2**16  # a size in a head from here on means that the size was not known

ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")

FORMATS_WITHOUT_MARK = {"amrnb", "amrwb"}  # FFmpeg takes texts for them; the usual files of this codec are "amr"
# FFmpeg makes up the length of these by the bit rate.
FORMATS_WITHOUT_LENGTH = {"aac", "ac3", "amr", "dts", "eac3", "mp3", "wav"}


@dataclass(frozen=True)
class DecodedAudio:
    """A file of audio, or a part of it; what concerns the whole file is known with the last block of it."""

    waveform: np.ndarray  # `(num_samples,)`: mono float32
    sampling_rate: int  # Hz of the file
    channels: int  # of the file
    duration_s: float  # of the whole file: what can be decoded of it
    problem: str | None  # why the file is not whole, None if it is


def decode_audio(
    source: str | os.PathLike | bytes,
    sampling_rate: int = 16_000,
    start_s: float = 0.0,
    length_s: float | None = None,
) -> DecodedAudio:
    """
    Decodes the first sound track of a file, averages its channels and resamples it by soxr.

    Args:
        source (`str`, `PathLike` or `bytes`): A file, or its content.
        sampling_rate (`int`): Hz of the waveform.
        start_s (`float`): Where the waveform begins, in seconds.
        length_s (`float`, *optional*):
            Longest waveform, in seconds; by default it goes to the end. What follows is counted, not decoded.

    Returns:
        [`DecodedAudio`]; its waveform is empty if there is no sample from `start_s` on.

    Raises:
        ImportError: if PyAV or soxr is missing.
        ValueError: if it is no regular file, holds no audio that can be decoded, or has a sampling rate under 1 kHz or
            over 768 kHz. The message names the file.
    """
    (decoded,) = stream_audio(source, sampling_rate, start_s, length_s)
    return decoded


def stream_audio(
    source: str | os.PathLike | bytes,
    sampling_rate: int = 16_000,
    start_s: float = 0.0,
    length_s: float | None = None,
    block_size: float = math.inf,
) -> Iterator[DecodedAudio]:
    """Like [`decode_audio`], in blocks of `block_size` samples and a last one that is shorter, perhaps empty."""
    if av is None:
        raise ImportError("Decoding and resampling of audio need PyAV and soxr: pip install av soxr.")
    name = f"{len(source)} bytes" if isinstance(source, bytes) else os.fspath(source)
    try:
        with open_file(source) as file, open_container(file) as container:
            stream = container.streams.best("audio")
            if container.format.name in FORMATS_WITHOUT_MARK:
                raise ValueError("it is no file of audio")
            if stream is None or stream.codec_context is None:
                raise ValueError("it has no sound track of a known codec")
            reading = _Reading(sampling_rate, start_s, length_s)
            for _ in reading.read(container.demux(), stream):
                while len(reading.waveform) >= 4 * block_size:
                    yield reading.take(4 * block_size)
            if reading.sampling_rate is None:
                raise ValueError(
                    f"no sample of its sound track can be decoded{reading.error and f' ({reading.error})'}"
                )
            problem = _find_problem(reading, file, container, stream)
    except (av.FFmpegError, OSError, ValueError, MemoryError, OverflowError) as error:
        raise ValueError(f"{name}: {_reason(error)}.") from error
    yield reading.take(problem=problem)


def check_file(path: str | os.PathLike) -> None:
    """Raises an OSError unless this is a regular file: to open a pipe or a device may take for ever."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        what = "It is a folder" if stat.S_ISDIR(mode) else "It is no regular file"
        raise OSError(errno.EINVAL, what, str(path))


def open_file(source: str | os.PathLike | bytes) -> IO[bytes]:
    """A regular file, or its content, to be read; an OSError as in [`check_file`]."""
    if isinstance(source, bytes):
        return BytesIO(source)
    check_file(source)
    return open(source, "rb")


def open_container(file: IO[bytes]) -> "av.container.InputContainer":
    """What FFmpeg finds in a file; a ValueError if it is no audio."""
    if file.seek(0, os.SEEK_END) == 0:
        raise ValueError("it is empty")
    file.seek(0)
    try:
        # FFmpeg gets no protocol to open other files by: a playlist is no song.
        # (`options` would be those of each stream too: PyAV then frees too much if more streams are found.)
        return av.open(file, container_options={"protocol_whitelist": ""}, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:  # of FFmpeg, or of the file that it reads
        raise ValueError(f"it is no file of audio, or its head is damaged ({_reason(error)})") from error


class _Reading:
    """One pass through the packets of a sound track."""

    def __init__(self, target_rate: int, start_s: float, length_s: float | None):
        self.sampling_rate: int | None = None  # Hz of the first frame
        self.channels = 0
        self.first_packet: av.Packet | None = None
        self.is_decoded_to_end = True
        self.hole_s = 0.0  # that the times of the packets leave out
        self.error = ""  # the last one
        self.ends_in_error = False
        self.ends_in_part = False  # of a packet, as also a whole file does whose head says no length
        self.last_time_s = 0.0  # of all tracks, such as the pictures of a film
        self._counted_s = 0.0  # by the times of the packets, up to the last hole or joint
        self._run: tuple[float, float] | None = None  # start and end of the packets since then
        self._target_rate = target_rate
        self._start_s = Fraction(start_s)
        self._length_s = length_s
        self._missing = sys.maxsize if length_s is None else round(length_s * target_rate)  # samples
        # Samples of frames of one kind that are not averaged and resampled yet, as bytes.
        self._kind: tuple[str, int, int] | None = None  # format, channels, sampling rate
        self._planes: list[bytearray] = []
        self._num_waiting = 0  # samples in each plane
        self._taken_s = Fraction(0)  # before them
        self._rate = target_rate
        self._resampler: soxr.ResampleStream | None = None
        self.waveform = bytearray()  # float32, not taken yet: grows without a copy of the whole

    @property
    def decoded_s(self) -> Fraction:
        return self._taken_s + Fraction(self._num_waiting, self._rate)

    @property
    def counted_s(self) -> float:
        return self._counted_s + (self._run[1] - self._run[0] if self._run else 0.0)

    @property
    def duration_s(self) -> float:
        decoded_s = float(self.decoded_s)
        return decoded_s if self.is_decoded_to_end else max(self.counted_s, decoded_s)

    def read(self, packets: Iterator["av.Packet"], stream: "av.AudioStream") -> Iterator[None]:
        """Stops after each packet, so that what was decoded can be taken."""
        end_s = None if self._length_s is None else self._start_s + Fraction(self._length_s) + Fraction(MARGIN_S)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self.error, self.ends_in_error = _reason(error), True
                break
            if packet is None:
                break
            if (times := _times_s(packet)) is not None:
                self.last_time_s = max(self.last_time_s, times[1])
            if packet.stream_index != stream.index:
                continue
            self._count(packet, times)
            if end_s is not None and self.decoded_s >= end_s:
                self.is_decoded_to_end = False
                continue
            try:
                for frame in packet.decode():
                    self._take(frame)
            except av.FFmpegError as error:
                if packet.size:  # encoders write empty packets at the end, which hold nothing
                    self.error, self.ends_in_error = _reason(error), True
            yield
        self._take_waiting()
        self._resample(np.zeros(0, np.float32), last=True)
        yield

    def take(self, num_bytes: int | None = None, problem: str | None = None) -> DecodedAudio:
        """The next bytes, or all without a copy."""
        block, self.waveform = self.waveform, bytearray()
        if num_bytes is not None:
            block, self.waveform = block[:num_bytes], block[num_bytes:]
        waveform = np.frombuffer(block, np.float32)
        return DecodedAudio(waveform, self.sampling_rate, self.channels, self.duration_s, problem)

    def _count(self, packet: "av.Packet", times: tuple[float, float] | None) -> None:
        if packet.size == 0:  # it only ends the stream
            return
        self.first_packet = self.first_packet or packet
        self.ends_in_error, self.ends_in_part = False, packet.is_corrupt
        if times is None:
            return
        start_s, end_s = times
        if self._run is None or abs(start_s - self._run[1]) > TOLERANCE_S:
            if self._run is not None:  # joined files begin anew
                self.hole_s += max(start_s - self._run[1], 0.0)
            self._counted_s, self._run = self.counted_s, (start_s, start_s)
        self._run = self._run[0], max(self._run[1], end_s)

    def _take(self, frame: "av.AudioFrame") -> None:
        rate = frame.sample_rate
        if not SAMPLING_RATES[0] <= rate <= SAMPLING_RATES[1]:
            raise ValueError(f"its sampling rate must be 1 kHz to 768 kHz, got {rate} Hz")
        channels = frame.layout.nb_channels
        if self.sampling_rate is None:
            self.sampling_rate, self.channels = rate, channels
        if frame.format.is_planar and channels >= 8:
            # PyAV reads behind the planes of so many channels.
            (frame,) = av.AudioResampler(frame.format.packed.name).resample(frame)
        sample_format = frame.format
        kind = sample_format.name, channels, rate
        if kind != self._kind:  # the first frame, or that of a joined file
            self._take_waiting()
            self._kind, self._planes = kind, [bytearray() for _ in frame.planes]
        if rate != self._rate:
            self._resample(np.zeros(0, np.float32), last=True)
            self._rate = rate
            if rate != self._target_rate:
                self._resampler = soxr.ResampleStream(rate, self._target_rate, 1, "float32", quality="soxr_hq")
        # Not `to_ndarray`, nor PyAV's FIFO: the one is slow, and the other frees some layouts of channels twice.
        num_bytes = frame.samples * sample_format.bytes * (1 if sample_format.is_planar else channels)
        for plane, waiting in zip(frame.planes, self._planes, strict=True):
            waiting += memoryview(plane)[:num_bytes]
        self._num_waiting += frame.samples
        if self._num_waiting >= BLOCK_SIZE:
            self._take_waiting()

    def _take_waiting(self) -> None:
        """Averages the channels of the frames that wait, and resamples them."""
        if not self._num_waiting:
            return
        sample_format, channels, _ = self._kind
        samples = [np.frombuffer(plane, av.audio.frame.format_dtypes[sample_format]) for plane in self._planes]
        if len(samples) < channels:  # packed
            samples = samples[0].reshape(-1, channels).T
        skipped = max(0, round((self._start_s - self._taken_s) * self._rate))
        self._taken_s += Fraction(self._num_waiting, self._rate)
        self._planes, self._num_waiting = [bytearray() for _ in self._planes], 0
        self._resample(_to_mono(samples)[skipped:])

    def _resample(self, samples: np.ndarray, last: bool = False) -> None:
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last)
            if last:
                self._resampler = None
        samples = samples[: self._missing]
        self._missing -= len(samples)
        self.waveform += samples.tobytes()


def _times_s(packet: "av.Packet") -> tuple[float, float] | None:
    """Start and end of a packet; before 0 the codec fills up."""
    if packet.pts is None or packet.time_base is None:
        return None
    unit_s, duration = float(packet.time_base), packet.duration or 0
    if duration >= 2**31:  # FFmpeg counts back to the end of a short Ogg, in unsigned 32 bits
        duration -= 2**32
    return max(packet.pts * unit_s, 0.0), (packet.pts + duration) * unit_s


def _to_mono(samples: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of channels, each of shape `(samples,)`, as float32; full scale is 1."""
    dtype = samples[0].dtype
    if dtype.kind in "iu":
        bits = 8 * dtype.itemsize
        offset = 2 ** (bits - 1) if dtype.kind == "u" else 0
        samples = [(channel.astype(np.float32) - offset) / 2 ** (bits - 1) for channel in samples]
    # Not numpy's mean, which is many times slower over an axis of two.
    return sum(channel.astype(np.float32, copy=False) for channel in samples) / np.float32(len(samples))


def _find_problem(
    reading: _Reading, file: IO[bytes], container: "av.container.InputContainer", stream: "av.AudioStream"
) -> str | None:
    length_s, claimed_s = reading.duration_s, _claimed_s(file, container, stream, reading)
    lost_s = reading.hole_s + max(0.0, reading.counted_s - length_s)
    if lost_s > TOLERANCE_S:
        return f"{lost_s:.1f} s inside it are lost{reading.error and f': {reading.error}'}"
    if claimed_s is not None and claimed_s - length_s > TOLERANCE_S:
        return f"it ends after {length_s:.1f} s, its head says {claimed_s:.1f} s"
    is_ogg = container.format.name == "ogg"
    # An error after the length that the head says is something else behind the sound, such as tags.
    is_complete = claimed_s is not None and claimed_s - length_s < MARGIN_S and not is_ogg
    if reading.ends_in_error and not is_complete:
        return f"it ends in an error after {length_s:.1f} s: {reading.error}"
    if is_ogg:
        return _find_ogg_problem(file, length_s, float(stream.time_base) if len(container.streams) == 1 else 0.0)
    if reading.ends_in_part and claimed_s is not None and not is_complete:
        return f"it ends after {length_s:.1f} s in the middle of the stream"
    return None


def _claimed_s(
    file: IO[bytes], container: "av.container.InputContainer", stream: "av.AudioStream", reading: _Reading
) -> float | None:
    """The length that the head of a file says; None if it says none."""
    if container.format.name in ("wav", "avi"):
        return _riff_claim(file, reading.duration_s)
    if container.format.name == "w64":
        there = file.seek(0, os.SEEK_END)
        file.seek(16)
        return reading.duration_s * int.from_bytes(file.read(8), "little") / there  # the size of the whole file
    if container.format.name == "mp3":
        return _mp3_claim(file, reading.first_packet)
    if container.format.name == "asf":
        return _asf_claim(file)
    if container.format.name in FORMATS_WITHOUT_LENGTH:
        return None
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None:
        return reading.duration_s + container.duration / av.time_base - reading.last_time_s
    return None


def _riff_claim(file: IO[bytes], duration_s: float) -> float | None:
    """By the bytes that the head says and those that are there; FFmpeg only tells the latter."""
    file.seek(0)
    order = "big" if file.read(12)[:4] == b"RIFX" else "little"
    long_size = 0  # of RF64
    while len(head := file.read(8)) == 8:
        size = int.from_bytes(head[4:], order)
        start, content = file.tell(), file.read(16)
        if head[:4] == b"data" or (head[:4] == b"LIST" and content[:4] == b"movi"):
            size = long_size if size >= UNKNOWN_BYTES else size
            there = min(size, file.seek(0, os.SEEK_END) - start)
            return duration_s * size / there if there > 0 else None
        if head[:4] == b"ds64":
            long_size = int.from_bytes(content[8:], "little")
        file.seek(start + size + size % 2)
    return None


def _mp3_claim(file: IO[bytes], first_packet: "av.Packet | None") -> float | None:
    """By the frame in front of the first one, where encoders write the number of frames."""
    if first_packet is None or not first_packet.pos or not first_packet.duration or not first_packet.time_base:
        return None
    file.seek(max(0, first_packet.pos - 4096))
    head = file.read(min(first_packet.pos, 4096))
    found = re.search(rb"(?:(?:Xing|Info)\0\0\0[\x01\x03\x05\x07\x09\x0b\x0d\x0f]|VBRI.{10})(.{4})", head, re.DOTALL)
    return found and int.from_bytes(found[1], "big") * float(first_packet.duration * first_packet.time_base)


def _asf_claim(file: IO[bytes]) -> float | None:
    """By the object of file properties in the head of a wma; FFmpeg passes it over if the size there is wrong."""
    file.seek(0)
    head = file.read(2**16)
    start = head.find(ASF_FILE_PROPERTIES)
    if start < 0 or len(head) < start + 92:
        return None
    length, _, preroll, flags = struct.unpack_from("<QQQI", head, start + 64)  # 100 ns, 100 ns, ms
    is_live = flags & 1
    return None if is_live else length / 1e7 - preroll / 1e3


def _find_ogg_problem(file: IO[bytes], length_s: float, unit_s: float) -> str | None:
    """
    Its pages follow each other without a gap, and the last one is marked and says at which sample it ends, in units of
    `unit_s`; FFmpeg leaves out what is damaged.
    """
    tracks, is_last, end = set(), False, file.seek(0, os.SEEK_END)
    file.seek(0)
    while len(head := file.read(27)) == 27:
        flags, position, track = struct.unpack_from("<Bq4s", head, 5)
        if flags & 2:  # the first page of a track
            tracks.add(track)
        if not head.startswith(b"OggS") or track not in tracks:
            return f"a page of its stream is damaged, {length_s:.1f} s can be decoded"
        is_whole = file.seek(sum(file.read(head[26])), os.SEEK_CUR) <= end
        is_last = bool(flags & 4) and is_whole
    if not is_last:
        return f"it ends after {length_s:.1f} s in the middle of the stream"
    if position * unit_s - length_s > TOLERANCE_S:
        return f"{length_s:.1f} s of it can be decoded, its last page says {position * unit_s:.1f} s"
    return None


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
