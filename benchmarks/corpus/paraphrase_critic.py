# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A music critic's prose: the melody first, whole sentences, a rich vocabulary; the rhythm section comes after it."""

from collections.abc import Mapping

from .paraphrase_grammar import Place, Teller, choose, enumerate_words, number_word, ordinal

NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "lead": {
        "flute": ("flute", "solo flute", "airy flute", "transverse flute"),
        "violin": ("violin", "solo violin", "single violin", "bowed violin"),
        "trumpet": ("trumpet", "solo trumpet", "bright trumpet", "single trumpet"),
        "saxophone": ("saxophone", "tenor saxophone", "solo saxophone", "reedy tenor sax"),
        "distorted guitar": (
            "overdriven electric guitar",
            "distorted guitar",
            "guitar thick with fuzz",
            "fuzz guitar",
        ),
        "marimba": ("marimba", "solo marimba", "mellow marimba", "wooden marimba"),
        "music box": ("music box", "tinkling music box", "clockwork music box", "musical box"),
        "clarinet": ("clarinet", "solo clarinet", "woody clarinet", "single clarinet"),
        "harmonica": ("harmonica", "mouth organ", "solo harmonica", "blues harmonica"),
        "synthesizer": ("synthesizer", "lead synthesizer", "buzzing synthesizer", "sawtooth synthesizer"),
        "oboe": ("oboe", "solo oboe", "nasal oboe", "single oboe"),
        "cello": ("cello", "solo cello", "bowed cello", "single violoncello"),
        "trombone": ("trombone", "solo trombone", "slide trombone", "single trombone"),
        "French horn": ("French horn", "solo French horn", "round-toned French horn", "single French horn"),
        "vibraphone": ("vibraphone", "solo vibraphone", "metallic vibraphone", "vibraphone with its humming bars"),
        "xylophone": ("xylophone", "solo xylophone", "dry xylophone", "clattering xylophone"),
        "sitar": ("sitar", "solo sitar", "buzzing sitar", "Indian sitar"),
        "banjo": ("banjo", "solo banjo", "twangy banjo", "plucked banjo"),
        "pan flute": ("pan flute", "breathy pan flute", "+panpipes", "set of panpipes"),
        "steel drum": ("steel drum", "steelpan", "Caribbean steel drum", "tuned steel pan"),
    },
    "accompaniment": {
        "piano": ("piano", "grand piano", "acoustic piano", "solitary piano"),
        "acoustic guitar": ("acoustic guitar", "nylon-string guitar", "classical guitar", "unamplified guitar"),
        "strings": ("string section", "+strings", "string orchestra", "bowed ensemble"),
        "organ": ("organ", "Hammond organ", "drawbar organ", "electric organ"),
        "harpsichord": ("harpsichord", "plucked harpsichord", "baroque harpsichord", "twanging harpsichord"),
        "harp": ("harp", "concert harp", "orchestral harp", "plucked harp"),
        "electric piano": ("electric piano", "Rhodes piano", "bell-toned electric piano", "Rhodes"),
        "choir": ("choir", "wordless choir", "chorus of wordless singers", "+choral voices"),
        "accordion": ("accordion", "squeezebox", "reedy accordion", "bellows-driven accordion"),
        "synth chords": ("synthesizer pad", "bank of synthesizers", "+synthesized chords", "polyphonic synthesizer"),
        "brass": ("brass section", "=brass", "brass ensemble", "choir of brass instruments"),
        "clean guitar": (
            "clean electric guitar",
            "undistorted electric guitar",
            "clean-toned electric guitar",
            "clean, undistorted electric guitar",
        ),
    },
    "bass": {
        "upright bass": ("double bass", "upright bass", "plucked double bass", "acoustic upright bass"),
        "electric bass": ("electric bass", "bass guitar", "electric bass guitar", "fingered bass guitar"),
        "slap bass": ("slapped bass guitar", "slap bass", "popping slap bass", "thumb-slapped bass guitar"),
        "synth bass": ("synthesizer bass", "synth bass", "synthetic bass", "electronic bass"),
    },
    "drums": {
        "rock": (
            "straight rock beat",
            "=rock drumming with its backbeat",
            "plain rock groove",
            "rock pattern with an eighth-note hi-hat",
        ),
        "four on the floor": (
            "kick drum on all four beats",
            "four-to-the-floor beat",
            "disco beat with pounding kick",
            "dance-floor beat of four kicks to the bar",
        ),
        "swing": (
            "swinging ride cymbal",
            "jazz pattern on the ride cymbal",
            "swung jazz beat",
            "=jazz drumming in swing time",
        ),
        "bossa nova": (
            "bossa nova rhythm",
            "Brazilian bossa beat",
            "bossa pattern of rim clicks and shaker",
            "bossa nova beat with its whispering shaker",
        ),
        "half time": (
            "drum beat in half time",
            "half-time groove",
            "half-time backbeat",
            "broad half-time drum pattern",
        ),
        "march": (
            "marching snare drum",
            "military snare drum",
            "parade-ground drum pattern",
            "martial roll of the snare",
        ),
    },
    "texture": {
        "sustained": (
            "holding long chords",
            "letting each chord last the whole bar",
            "spread out in long-held harmonies",
            "in broad sustained chords",
            "moving in chords of a bar's length",
        ),
        "arpeggio": (
            "unrolling broken chords",
            "in rippling arpeggios",
            "taking each chord apart note by note",
            "climbing up and down the notes of each chord",
            "in steady arpeggiated figures",
        ),
        "pulse": (
            "repeating {acc.its} chords in even eighth notes",
            "in a steady throb of repeated chords",
            "pulsing in eighths",
            "striking each chord again and again in eighths",
            "with an insistent pulse of chords",
        ),
        "offbeat": (
            "placing short chords on the offbeats",
            "sounding only between the beats",
            "in clipped chords after each beat",
            "answering every beat with a brief stab",
            "in short syncopated chords off the beat",
        ),
    },
    "how": {
        "soft": ("quietly", "softly", "in an undertone", "in hushed tones", "at a gentle volume"),
        "medium": (
            "at a moderate volume",
            "neither loudly nor softly",
            "with moderate force",
            "at a middling volume",
            "at a mezzo-forte",
        ),
        "loud": ("loudly", "at full volume", "with full force", "in a roaring forte", "fortissimo"),
    },
    "level": {
        "soft": ("quiet", "hushed", "soft", "subdued in volume", "at a low volume"),
        "medium": (
            "of moderate loudness",
            "at a medium volume",
            "midway between quiet and loud",
            "moderate in its dynamics",
            "at a measured mezzo-forte",
        ),
        "loud": ("loud", "at full strength", "as loud as it gets", "forceful and loud", "at a blazing forte"),
    },
    "voice": {
        "male": (
            "above it all a man recites single words",
            "a male speaker talks over the music",
            "a man's spoken voice lies on top",
            "a male voice speaks, never singing",
            "one hears a man speaking",
        ),
        "female": (
            "above it all a woman recites single words",
            "a female speaker talks over the music",
            "a woman's spoken voice lies on top",
            "a female voice speaks, never singing",
            "one hears a woman speaking",
        ),
    },
}

# Told together: melody, accompaniment, texture and dynamics.
MELODY = (
    "In {place}, {lead.a} carr{lead.ies} the melody {how} above {acc.a} {texture}",
    "{place} belongs to {lead.a}, heard {how} against {acc.a} {texture}",
    "{place} is played {how}, {lead.a} in the foreground and {acc.a} behind it, {texture}",
    "The melodic line of {place} falls to {lead.a}, with {acc.a} {texture} underneath, and all of it is {level}",
    "Over {acc.a} {texture}, {lead.a} take{lead.s} up the theme of {place}, the playing being {level}",
    "Attention in {place} goes to {lead.a}, supported by {acc.a} {texture}; the playing is {level}",
    "{place} is {level}: {lead.a} trace{lead.s} the tune while {acc.a} accompan{acc.ies} it, {texture}",
    "{acc.a}, {texture}, prepare{acc.s} the ground on which {lead.a} state{lead.s} the melody of {place} {how}",
    "Melodically {place} rests on {lead.a}, harmonically on {acc.a} {texture}, everything delivered {how}",
)
NO_MELODY = (
    "In {place} no instrument takes the melody, and {acc.a} {texture} fill{acc.s} the foreground {how}",
    "{place} does without a tune, leaving only {acc.a} {texture}, and it is {level}",
    "With no soloist at all, {place} relies on {acc.a} {texture}, played {how}",
    "Nobody states a theme in {place}, where one hears {acc.a} {texture}, {level}",
    "{place} is pure accompaniment, {acc.a} {texture} without any lead above {acc.it}, played {how}",
    "There is no leading instrument in {place}, merely {acc.a} {texture}; the playing is {level}",
)
RHYTHM = {
    (True, True): (
        "Beneath it, {bass.a} move{bass.s} along with {drums.a}",
        "{drums.a} and {bass.a} supply the rhythm",
        "The rhythm section consists of {bass.a} and {drums.a}",
        "{bass.a} anchor{bass.s} the harmony under {drums.a}",
        "Time is kept by {drums.a}, the depths being given to {bass.a}",
        "Its foundation is {bass.a}, its motor {drums.a}",
        "Further down, {bass.a} go{bass.es} hand in hand with {drums.a}",
    ),
    (True, False): (
        "{bass.a} hold{bass.s} the lowest register, and drums are absent altogether",
        "There are no drums, only {bass.a} to mark the ground",
        "The low register goes to {bass.a}, unaccompanied by any percussion",
        "{bass.a} alone provide{bass.s} the foundation, for no drummer plays",
        "Of a rhythm section there is only {bass.a}, without drums",
    ),
    (False, True): (
        "{drums.a} keep{drums.s} time without any bass",
        "No bass is heard, though there is {drums.a}",
        "The bass is missing, so that {drums.a} must do the rhythmic work alone",
        "Below, in place of a bass line, there is only {drums.a}",
        "{drums.a} push{drums.es} it forward, while the bass register stays empty",
    ),
    (False, False): (
        "Neither bass nor drums take part",
        "A rhythm section is missing, bass and drums alike",
        "It has no drums to keep time and no bass to support it",
        "Without bass, without drums, the passage has no floor",
        "Bass and percussion are both left out",
    ),
}
# Only where the section before had what this one lacks.
DRUMS_LEAVE = (
    "The drums have fallen silent, and {bass.a} hold{bass.s} the lowest register by {bass.it}self",
    "With the drums gone, {bass.a} remain{bass.s} as the only foundation",
)

PLACES = {
    "intro": ("the introduction", "the intro", "the opening passage"),
    "verse": ("the verse", "the verse section"),
    "pre-chorus": ("the pre-chorus", "the pre-chorus passage"),
    "chorus": ("the chorus", "the refrain"),
    "post-chorus": ("the post-chorus", "the post-chorus passage"),
    "bridge": ("the bridge", "the bridge passage", "the bridge section"),
    "interlude": ("the interlude", "the interlude passage"),
    "breakdown": ("the breakdown", "the breakdown passage"),
    "outro": ("the coda", "the outro", "the closing passage"),
}
PASSAGES = ("this passage", "the passage", "this stretch of music", "this section", "the music")
OPENINGS = (
    "This {tempo} piece in {key} {mode} unfolds across {number} sections.",
    "Here is a {tempo} work cast in {key} {mode} and built from {number} sections.",
    "The piece, in {number} parts, is written in {key} {mode} and moves at a {pace} tempo.",
    "{key} {mode} is the home key of this {tempo} composition of {number} sections.",
    "At a {pace} tempo and in the key of {key} {mode}, this composition passes through {number} sections.",
    "Set in {key} {mode}, the composition proceeds at a {pace} tempo through {number} sections.",
)
TEMPOS = {  # as an adjective of a piece, as one of a tempo; each begins with a consonant
    "slow": (("slow", "slow"), ("slow-moving", "leisurely"), ("slow-paced", "slow"), ("broadly paced", "broad, slow")),
    "medium": (
        ("mid-tempo", "moderate"),
        ("medium-paced", "medium"),
        ("moderately paced", "middling"),
        ("walking-pace", "moderate, walking"),
    ),
    "fast": (("fast", "fast"), ("quick", "quick"), ("brisk", "brisk"), ("rapid", "rapid")),
}
FORMS = (
    "Its form reads {labels}.",
    "The layout is {labels}.",
    "The architecture runs from {first} to {last}: {labels}.",
    "In outline one hears {labels}.",
)


def place_name(place: Place, teller: Teller) -> str:
    """What the critic calls a section of a song."""
    name = teller.pick(PLACES[place.label]).removeprefix("the ")
    if place.count == 1:
        if place.is_last and place.label in ("chorus", "bridge") and teller.chance(0.3):
            return f"the concluding {name}"
        return f"the {name}"
    if place.number == place.count and teller.chance(0.5):
        return f"the {teller.pick(('last', 'final'))} {name}"
    return f"the {ordinal(place.number)} {name}"


def tell_section(tags: Mapping[str, str], place: str, teller: Teller, before: Mapping[str, str] | None) -> list[str]:
    """The sentences on one section; `before` holds the tags of the section before, if there is one."""
    words = choose(NAMES, tags, teller) | {"place": place}
    melody = teller.pick(MELODY if words["lead"] else NO_MELODY).format(**words)
    rhythms = RHYTHM[words["bass"] is not None, words["drums"] is not None]
    if before and before["drums"] != "none" and words["bass"] and not words["drums"] and teller.chance(0.5):
        rhythms = DRUMS_LEAVE
    rhythm = teller.pick(rhythms).format(**words)
    voice = words.get("voice")
    if not voice:
        return [melody, rhythm]
    if teller.chance(0.5):
        return [melody, f"{rhythm}, and {voice}" if "," not in rhythm else f"{rhythm}; {voice}"]
    return [melody, rhythm, voice]


def tell_opening(song: Mapping, teller: Teller) -> list[str]:
    """What is said of the whole song before its sections."""
    tags = song["sections"][0]["tags"]
    adjective, pace = teller.pick(TEMPOS[tags["tempo"]])
    number = len(song["sections"])
    sentences = [
        teller.pick(OPENINGS).format(
            tempo=adjective, pace=pace, key=tags["key"], mode=tags["mode"], number=number_word(number)
        )
    ]
    if number <= 6 and teller.chance(0.7):
        labels = [section["label"] for section in song["sections"]]
        form = teller.pick(FORMS)
        sentences.append(form.format(labels=enumerate_words(labels), first=labels[0], last=labels[-1]))
    return sentences


def tell_closing(song: Mapping, teller: Teller) -> list[str]:
    """Something that is true of the song as a whole."""
    tags = [section["tags"] for section in song["sections"]]
    voices = {section["voice"] for section in tags} - {"none"}
    options = []
    if not voices:
        options += ["Nobody speaks anywhere in the piece.", "The whole of it is instrumental, without a spoken word."]
    if len(voices) == 2:
        options += ["Both a man and a woman are heard speaking in the course of the piece."]
    if all(section["drums"] != "none" for section in tags):
        options += ["Drums of one sort or another are present throughout."]
    if len({section["dynamics"] for section in tags}) == 3:
        options += ["Between its quietest and its loudest pages the piece covers the full dynamic range."]
    leads = {section["lead"] for section in tags} - {"none"}
    if len(leads) >= 3:
        options += [f"In all, {number_word(len(leads))} different instruments take the melody."]
    return [teller.pick(options)] if options else []


def query_prefix(tags: Mapping[str, str], teller: Teller) -> str:
    """How a section is called where nothing is known of its song."""
    if teller.chance(0.5):
        return teller.pick(PASSAGES)
    adjective, _ = teller.pick(TEMPOS[tags["tempo"]])
    return teller.pick(
        (f"this {adjective} passage in {tags['key']} {tags['mode']}", f"a {adjective} passage in {tags['mode']}")
    )
