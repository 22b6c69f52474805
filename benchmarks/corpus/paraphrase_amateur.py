# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""An enthusiastic amateur: how loud it is and what the drums do come first, in everyday words, then who plays what."""

from collections.abc import Mapping

from .paraphrase_grammar import Place, Teller, choose, number_word, ordinal

NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "lead": {
        "flute": ("flute", "flute solo", "little flute tune", "person playing flute"),
        "violin": ("violin", "fiddle", "violin solo", "fiddle tune"),
        "trumpet": ("trumpet", "trumpet solo", "person blowing a trumpet", "trumpet melody"),
        "saxophone": ("sax", "saxophone", "sax solo", "tenor sax"),
        "distorted guitar": (
            "really distorted guitar",
            "guitar with loads of distortion",
            "fuzzy electric guitar",
            "crunchy overdriven guitar",
        ),
        "marimba": ("marimba", "marimba solo", "wooden mallet thing (a marimba)", "marimba melody"),
        "music box": ("music box", "wind-up music box", "toy music box", "plinky music box"),
        "clarinet": ("clarinet", "clarinet solo", "clarinet melody", "person playing clarinet"),
        "harmonica": ("harmonica", "harmonica solo", "mouth organ", "harmonica tune"),
        "synthesizer": ("synth", "synth lead", "buzzy synth", "electronic synth melody"),
        "oboe": ("oboe", "oboe solo", "oboe melody", "person playing oboe"),
        "cello": ("cello", "cello solo", "cello melody", "deep bowed cello"),
        "trombone": ("trombone", "trombone solo", "slidy trombone", "trombone tune"),
        "French horn": ("French horn", "French horn solo", "French horn melody", "person blowing a French horn"),
        "vibraphone": ("vibraphone", "=vibes", "vibraphone solo", "shimmery vibraphone"),
        "xylophone": ("xylophone", "plinky xylophone", "xylophone tune", "xylophone solo"),
        "sitar": ("sitar", "sitar solo", "twangy sitar", "sitar melody"),
        "banjo": ("banjo", "banjo solo", "twangy banjo", "banjo tune"),
        "pan flute": ("pan flute", "+pan pipes", "pan flute tune", "row of blown pipes (a pan flute)"),
        "steel drum": ("steel drum", "steel pan", "Caribbean steel drum", "steel drum tune"),
    },
    "accompaniment": {
        "piano": ("piano", "normal piano", "regular acoustic piano", "=someone on piano"),
        "acoustic guitar": (
            "acoustic guitar",
            "unplugged guitar",
            "Spanish-type guitar",
            "=somebody on acoustic guitar",
        ),
        "strings": ("+violins and cellos all together", "+strings", "string section", "+orchestra strings"),
        "organ": ("organ", "Hammond organ", "old-school electric organ", "=someone on the organ"),
        "harpsichord": ("harpsichord", "plucky old harpsichord", "tinny old harpsichord", "=someone on harpsichord"),
        "harp": ("harp", "big concert harp", "big plucked harp", "=somebody playing harp"),
        "electric piano": ("electric piano", "Rhodes", "Rhodes-type electric piano", "bell-like electric piano"),
        "choir": ("choir going aah", "choir", "whole choir without words", "+choir people singing aah"),
        "accordion": ("accordion", "squeezebox", "street-musician accordion", "=someone on accordion"),
        "synth chords": ("+synth chords", "synth pad", "+keyboard synth chords", "wash of synthesizers"),
        "brass": ("brass section", "=brass", "bunch of brass players", "brass band sound"),
        "clean guitar": (
            "clean electric guitar",
            "electric guitar with no distortion",
            "clean-sounding electric guitar",
            "nice clean electric guitar",
        ),
    },
    "bass": {
        "upright bass": ("big upright bass", "stand-up bass", "double bass", "acoustic bass like in a jazz band"),
        "electric bass": ("bass guitar", "electric bass", "regular bass guitar", "normal electric bass"),
        "slap bass": ("slap bass", "slappy bass guitar", "bass guitar being slapped", "popping slap bass"),
        "synth bass": ("synth bass", "electronic bass", "synthesizer bass", "fat synth bass"),
    },
    "drums": {
        "rock": ("rock beat", "normal rock drum beat", "regular rock drum groove", "boom-crack rock beat"),
        "four on the floor": (
            "club beat with the kick on every beat",
            "four-on-the-floor disco beat",
            "boom-boom-boom-boom dance beat",
            "kick-on-every-beat dance groove",
        ),
        "swing": ("swing beat", "jazzy swing beat", "swingy ride cymbal beat", "ting-tinga-ting jazz beat"),
        "bossa nova": ("bossa nova beat", "Brazilian bossa beat", "bossa groove", "Latin bossa beat with a shaker"),
        "half time": ("half-time beat", "half-speed drum beat", "beat at half time", "big half-time groove"),
        "march": ("marching drum", "marching-band snare", "army-style snare drum", "parade drum beat"),
    },
    "texture": {
        "sustained": (
            "just holding the chords",
            "holding long, long chords",
            "keeping each chord down for ages",
            "letting the chords ring out",
            "doing long held notes",
        ),
        "arpeggio": (
            "playing the chords one note at a time",
            "going up and down the chords",
            "rolling through broken chords",
            "doing those rippling arpeggios",
            "running up and down in arpeggios",
        ),
        "pulse": (
            "repeating the chords evenly over and over",
            "going chug-chug-chug on the chords",
            "pumping the same chord in a steady pulse",
            "playing steady repeated chords",
            "tapping out chords like a clock",
        ),
        "offbeat": (
            "playing little chords in between the beats",
            "going uh-CHA, uh-CHA on the offbeats",
            "hitting the chords off the beat",
            "playing choppy chords on the 'and' of each beat",
            "skanking away on the upbeats",
        ),
    },
    "level": {
        "soft": ("really quiet", "super soft", "pretty gentle on the ears", "so quiet", "nice and soft"),
        "medium": (
            "medium loud",
            "at a normal volume",
            "not too loud and not too quiet",
            "somewhere in the middle for loudness",
            "at an average volume",
        ),
        "loud": ("really loud", "super loud", "at full blast", "turned all the way up", "properly loud"),
    },
    "voice": {
        "male": (
            "a guy is talking",
            "some man is speaking words",
            "a man's voice is talking",
            "a dude says words",
        ),
        "female": (
            "a woman is talking",
            "some lady is speaking words",
            "a woman's voice is talking",
            "a girl says words",
        ),
    },
}

BEATS = {  # {acc} and {lead} come later
    (True, True): (
        "{place} is {level}, you get {drums.a} and {bass.a}",
        "{place}: {level}, with {drums.a} going and {bass.a} under it",
        "So {place} has {drums.a} with {bass.a}, and it's {level}",
        "It's {level} in {place}, {drums.a} plus {bass.a}",
        "In {place} you hear {drums.a} together with {bass.a}, everything {level}",
    ),
    (True, False): (
        "{place} is {level}, no drums at all, just {bass.a} at the bottom",
        "No drums in {place}, only {bass.a}, and it's {level}",
        "It's {level} in {place}, there's {bass.a} but nobody's drumming",
        "In {place} the drummer takes a break, it's {level} with {bass.a} down low",
        "{place}: {level}, {bass.a}, zero drums",
    ),
    (False, True): (
        "{place} is {level}, with {drums.a} but no bass",
        "There's {drums.a} in {place}, no bass though, and it's {level}",
        "It's {level} in {place}: {drums.a}, and no bass whatsoever",
        "In {place} you get {drums.a}, everything {level}, and the bass is missing",
        "{place}: {level}, {drums.a}, bass player not there",
    ),
    (False, False): (
        "{place} is {level} and has no drums and no bass either",
        "No beat, no bass in {place}, and it's {level}",
        "It's {level} in {place} and there's zero bass and zero drums",
        "In {place} the drummer and the bass player both do nothing, and it's {level}",
        "{place}: {level}, no drums, no bass",
    ),
}
TUNES = (
    "{acc.a} {are} {texture} and on top there's {lead.a}",
    "{lead.a} on top, with {acc.a} {texture}",
    "Then you've got {acc.a} {texture}, and the main thing is {lead.a}",
    "The star here is {lead.a}, and behind it there's {acc.a} {texture}",
    "Who's out front? That's {lead.a}! And in the back I hear {acc.a} {texture}",
    "I can make out {acc.a} {texture}, plus {lead.a} on top",
    "And listen to that: {lead.a} up front, {acc.a} {texture} behind",
)
NO_TUNES = (
    "{acc.a} {are} {texture} and there's no melody on top",
    "No solo or tune here, only {acc.a} {texture}",
    "All you hear besides is {acc.a} {texture}, nobody plays a melody",
    "There's {acc.a} {texture}, but no lead instrument",
    "It's only {acc.a} {texture}, without any tune over it",
)
VOICES = ("Oh, and {voice}!", "Plus {voice} over it.", "And {voice} on top of that.", "Also {voice}, by the way.")
REQUESTS = (
    "Looking for something {level} with {lead_part}, {acc.a} {texture}, {bass_part} and {drums_part}",
    "Anyone know a track with {drums_part}, {bass_part}, {acc.a} {texture} and {lead_part}? It was {level}",
    "I want music with {lead_part} and {acc.a} {texture}, {level}, {bass_part}, {drums_part}",
    "That bit where it's {level} and you hear {acc.a} {texture}, {lead_part}, {drums_part} and {bass_part}",
)

PLACES = {
    "intro": ("the intro", "the beginning bit", "the intro part"),
    "verse": ("the verse", "the verse part"),
    "pre-chorus": ("the pre-chorus", "the pre-chorus bit"),
    "chorus": ("the chorus", "the chorus bit"),
    "post-chorus": ("the post-chorus", "the post-chorus bit"),
    "bridge": ("the bridge", "the bridge bit", "the bridge part"),
    "interlude": ("the interlude", "the interlude bit"),
    "breakdown": ("the breakdown", "the breakdown bit"),
    "outro": ("the outro", "the ending", "the outro part"),
}
PASSAGES = ("this bit", "this part", "the part I mean", "the bit I like")
OPENINGS = (
    "OK so this song is {tempo}, it's in {key} {mode}, and it has {number} parts.",
    "I found this {tempo} song in {key} {mode}, it comes in {number} parts!",
    "Check this one out: {tempo}, {key} {mode}, {number} different sections.",
    "So much going on here! The song is {tempo}, in {key} {mode}, and there are {number} sections.",
    "Pretty sure it's in {key} {mode}! The song is {tempo} and has {number} parts.",
)
TEMPOS = {
    "slow": ("slow", "pretty slow", "nice and slow", "really slow"),
    "medium": ("medium-speed", "mid-tempo", "moderately paced", "medium-tempo"),
    "fast": ("fast", "really fast", "super fast", "pretty quick"),
}


def place_name(place: Place, teller: Teller) -> str:
    """What the amateur calls a section of a song."""
    name = teller.pick(PLACES[place.label]).removeprefix("the ")
    if place.count == 1:
        return f"the {name}"
    if place.number == place.count and teller.chance(0.4):
        return f"the last {name}"
    if place.number == 1:
        return f"the first {name}"
    return teller.pick((f"the {ordinal(place.number)} {name}", f"{place.label} number {number_word(place.number)}"))


def tell_section(tags: Mapping[str, str], place: str, teller: Teller, before: Mapping[str, str] | None) -> list[str]:
    """The sentences on one section. Without a place it is a request in a forum."""
    words = choose(NAMES, tags, teller) | {"place": place}
    words["are"] = words["acc"].are
    voice = teller.pick(VOICES).format(**words) if "voice" in words else None
    if not place:
        words["lead_part"] = (
            words["lead"].a if words["lead"] else teller.pick(("no melody on top", "no lead instrument"))
        )
        words["bass_part"] = words["bass"].a if words["bass"] else teller.pick(("no bass", "zero bass"))
        words["drums_part"] = words["drums"].a if words["drums"] else teller.pick(("no drums", "zero drums"))
        request = teller.pick(REQUESTS).format(**words)
        return [request, voice] if voice else [request]
    beat = teller.pick(BEATS[words["bass"] is not None, words["drums"] is not None]).format(**words)
    tune = teller.pick(TUNES if words["lead"] else NO_TUNES).format(**words)
    if voice and teller.chance(0.3):
        return [beat, voice, tune]
    return [beat, tune, voice] if voice else [beat, tune]


def tell_opening(song: Mapping, teller: Teller) -> list[str]:
    """What the amateur is glad about first, and in which order the parts come."""
    tags = song["sections"][0]["tags"]
    number = number_word(len(song["sections"]))
    tempo = teller.pick(TEMPOS[tags["tempo"]])
    sentences = [teller.pick(OPENINGS).format(tempo=tempo, key=tags["key"], mode=tags["mode"], number=number)]
    if len(song["sections"]) <= 6:
        labels = ", then ".join(section["label"] for section in song["sections"])
        sentences.append(
            teller.pick(("It goes {}.", "The order is {}.", "First comes {}.", "Here's how it goes: {}."))
        )
        sentences[-1] = sentences[-1].format(labels)
    return sentences


def tell_closing(song: Mapping, teller: Teller) -> list[str]:
    """A last remark, where one is true."""
    tags = [section["tags"] for section in song["sections"]]
    leads = {section["lead"] for section in tags} - {"none"}
    options = ["Go listen to it!", "That's the whole song!"]
    if all(section["voice"] == "none" for section in tags):
        options += ["And nobody talks in it, it's all instruments.", "No talking anywhere, by the way."]
    if len(leads) >= 3:
        options += [f"That's {number_word(len(leads))} different lead instruments in one song, wow!"]
    return [teller.pick(options)]


def query_prefix(tags: Mapping[str, str], teller: Teller) -> str:
    """How a section is called where nothing is known of its song; empty for a request."""
    if teller.chance(0.5):
        return ""
    tempo = teller.pick(TEMPOS[tags["tempo"]])
    return teller.pick((*PASSAGES, *PASSAGES, f"this {tempo} bit" if tags["tempo"] == "fast" else "this bit"))
