# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A musician explains the arrangement to a colleague: from the ground up, in the jargon of the rehearsal room."""

from collections.abc import Mapping

from .paraphrase_grammar import Place, Teller, choose, enumerate_words, number_word

NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "lead": {
        "flute": ("flute", "C flute", "flute player", "flautist"),
        "violin": ("violin", "fiddle", "solo fiddle", "violinist"),
        "trumpet": ("trumpet", "trumpet player", "solo trumpet", "trumpeter"),
        "saxophone": ("tenor", "tenor sax", "sax player", "sax"),
        "distorted guitar": (
            "dirty guitar",
            "overdriven guitar",
            "lead guitar with the gain up",
            "distorted lead guitar",
        ),
        "marimba": ("marimba", "marimba player", "mallet player on marimba", "solo marimba"),
        "music box": ("music box", "music-box patch", "music-box sound", "little music box"),
        "clarinet": ("clarinet", "clarinettist", "B-flat clarinet", "clarinet player"),
        "harmonica": ("harmonica", "blues harp", "harmonica player", "mouth organ"),
        "synthesizer": ("lead synth", "saw lead", "synth lead", "mono synth on a saw wave"),
        "oboe": ("oboe", "oboist", "oboe player", "solo oboe"),
        "cello": ("cello", "cellist", "solo cello", "cello player"),
        "trombone": ("trombone", "bone", "trombone player", "trombonist"),
        "French horn": ("French horn", "horn in F", "French horn player", "solo French horn"),
        "vibraphone": ("+vibes", "vibraphone", "vibes player", "vibraphonist"),
        "xylophone": ("xylophone", "xylo", "xylophone player", "solo xylophone"),
        "sitar": ("sitar", "sitar player", "sitarist", "solo sitar"),
        "banjo": ("banjo", "banjo player", "banjo picker", "solo banjo"),
        "pan flute": ("pan flute", "+panpipes", "panpipe player", "pan flute player"),
        "steel drum": ("steel pan", "pan player", "steel drum", "steel drum player"),
    },
    "accompaniment": {
        "piano": ("piano", "acoustic piano", "grand", "piano player"),
        "acoustic guitar": ("acoustic guitar", "nylon-string", "nylon guitar", "acoustic guitar player"),
        "strings": ("string section", "+strings", "bowed string section", "string ensemble"),
        "organ": ("Hammond", "organ", "drawbar organ", "organ player"),
        "harpsichord": ("harpsichord", "harpsichord player", "harpsichord patch", "harpsichordist"),
        "harp": ("harp", "concert harp", "harpist", "pedal harp"),
        "electric piano": ("Rhodes", "EP", "e-piano", "electric piano"),
        "choir": ("choir", "choir on aahs", "choir pad", "vocal ensemble on aahs"),
        "accordion": ("squeezebox", "accordion", "accordionist", "accordion player"),
        "synth chords": ("synth pad", "poly synth", "polysynth patch", "keyboard pad"),
        "brass": ("brass section", "horn section (all brass)", "=brass", "+brass players"),
        "clean guitar": (
            "clean guitar",
            "clean electric",
            "electric guitar on the clean channel",
            "clean-channel guitar",
        ),
    },
    "bass": {
        "upright bass": ("upright", "double bass", "upright bass", "acoustic bass"),
        "electric bass": ("electric bass", "bass guitar", "fingerstyle electric bass", "plain electric bass"),
        "slap bass": ("slap bass", "thumb-and-pop bass", "slapped electric bass", "bass guitar with slap and pop"),
        "synth bass": ("synth bass", "keyboard bass", "bass synth", "synth-bass patch"),
    },
    "drums": {
        "rock": (
            "straight-eight rock beat",
            "rock groove",
            "backbeat with eighths on the hat",
            "standard rock pattern",
        ),
        "four on the floor": (
            "four-on-the-floor kick",
            "four-to-the-bar kick with open hats in between",
            "four-on-the-floor groove",
            "house groove with kick on all four",
        ),
        "swing": ("swing feel on the ride", "swung ride pattern", "jazz ride pattern", "swing groove"),
        "bossa nova": ("bossa groove", "bossa", "bossa pattern with cross-stick and shaker", "bossa nova feel"),
        "half time": (
            "half-time feel",
            "half-time groove",
            "half-time beat with the snare on three",
            "half-time pattern",
        ),
        "march": ("march on the snare", "street-beat snare", "military snare cadence", "marching snare pattern"),
    },
    "texture": {
        "sustained": (
            "on whole-note pads",
            "holding whole notes",
            "sitting on held chords",
            "laying down footballs",
            "sustaining each chord for the full bar",
        ),
        "arpeggio": (
            "arpeggiating in eighths",
            "on broken chords",
            "rolling eighth-note arpeggios",
            "picking through the changes as arpeggios",
            "breaking up the voicings note by note",
        ),
        "pulse": (
            "pumping straight eighths",
            "chugging eighth-note chords",
            "repeating the voicings in even eighths",
            "on a steady eighth-note pulse",
            "driving block chords on every eighth",
        ),
        "offbeat": (
            "comping on the off-eighths",
            "skanking on the upbeats",
            "stabbing on the offbeats",
            "playing short offbeat chops",
            "staying off the beat with tight little chops",
        ),
    },
    "level": {
        "soft": (
            "keep it down",
            "play it soft",
            "stay under, quiet",
            "think low volume, next to nothing",
            "hold it at a soft level",
        ),
        "medium": (
            "play it mezzo-forte",
            "sit at a medium level",
            "leave the volume in the middle",
            "keep a moderate dynamic",
            "neither push the volume nor hold back",
        ),
        "loud": (
            "play it loud",
            "dig in, full volume",
            "give it everything, forte",
            "go all out on volume",
            "crank it up",
        ),
    },
    "voice": {
        "male": (
            "leave room for a guy speaking over it",
            "there's male spoken word on top",
            "a male speaker talks across it",
            "spoken male voice over the top",
        ),
        "female": (
            "leave room for a woman speaking over it",
            "there's female spoken word on top",
            "a female speaker talks across it",
            "spoken female voice over the top",
        ),
    },
}

GROUNDS = {
    (True, True): (
        "{place}: {bass.a} locked in with {drums.a}",
        "For {place} we want {bass.a} under {drums.a}",
        "{place}, rhythm section is {drums.a} and {bass.a}",
        "{place} sits on {drums.a}, with {bass.a} on the roots",
        "Bottom end in {place} is {bass.a}, time comes from {drums.a}",
    ),
    (True, False): (
        "{place}: just {bass.a} down there, drums tacet",
        "For {place} we want {bass.a} and no kit",
        "{place}, drummer lays out, {bass.a} on the roots",
        "{place} has no drums, so {bass.a} handle{bass.s} the bottom alone",
        "Bottom end in {place} is {bass.a}; the drummer rests",
    ),
    (False, True): (
        "{place}: {drums.a}, bass tacet",
        "For {place} we want {drums.a} and no bass",
        "{place}, bass player lays out, kit plays {drums.a}",
        "{place} sits on {drums.a} with nothing in the bass",
        "Time in {place} comes from {drums.a}; no bass there",
    ),
    (False, False): (
        "{place}: bass and drums tacet",
        "For {place} the whole rhythm section lays out, no bass, no kit",
        "{place}, bass player and drummer both rest",
        "{place} has neither bass nor kit",
        "No bottom and no kit in {place}",
    ),
}
VOICINGS = (
    "{acc.a} {texture}, {lead.a} on the tune",
    "{acc.the} {are} {texture}, and {lead.the} {have} the head",
    "Chords go to {acc.a} {texture}, the line on top to {lead.a}",
    "Up top {lead.a} take{lead.s} the melody over {acc.a} {texture}",
    "Over that, {acc.a} {texture} and {lead.a} with the lead line",
    "Give {lead.the} the melody, with {acc.the} {texture}",
    "{lead.a} take{lead.s} the lead, {acc.a} back{acc.s} {lead.it} up, {texture}",
)
NO_VOICINGS = (
    "{acc.a} {texture}, nobody on the tune",
    "{acc.the} {are} {texture}, and there's no head, no lead line",
    "Chords go to {acc.a} {texture}; leave the top line empty",
    "No melody instrument here, only {acc.a} {texture}",
    "It's vamp only, {acc.a} {texture}, no soloist",
)

PLACES = {
    "intro": ("the intro", "the top (intro)"),
    "verse": ("the verse", "the verse section"),
    "pre-chorus": ("the pre-chorus", "the pre"),
    "chorus": ("the chorus", "the hook (chorus)"),
    "post-chorus": ("the post-chorus", "the post-chorus tag"),
    "bridge": ("the bridge", "the bridge section"),
    "interlude": ("the interlude", "the interlude section"),
    "breakdown": ("the breakdown", "the breakdown section"),
    "outro": ("the outro", "the out section", "the tail (outro)"),
}
PASSAGES = ("this section", "this part of the chart", "this bit", "the groove here")
OPENINGS = (
    "Right, the chart's in {key} {mode}, {tempo}, {number} sections.",
    "Here's the arrangement: {key} {mode}, {tempo}, {number} sections to get through.",
    "We're in {key} {mode} the whole way, {tempo}, and the form has {number} sections.",
    "{tempo}, {key} {mode}, {number} sections, no key changes.",
    "OK, {number} sections, {tempo}, everything in {key} {mode}.",
)
TEMPOS = {
    "slow": ("slow tempo", "ballad tempo", "count it off slow", "down-tempo"),
    "medium": ("medium tempo", "mid-tempo", "count it off medium", "at a moderate clip"),
    "fast": ("fast tempo", "up-tempo", "count it off fast", "at a quick clip"),
}
BASS_CHAIRS = (
    "The bass chair switches between {number} sounds, so bring them all",
    "That makes {number} different basses over the whole chart",
    "Bass player, pack {number} sounds for this one",
    "We need {number} bass sounds in all",
)
FORMS = ("Form is {labels}", "Road map: {labels}", "We go {labels}", "The order's {labels}")


def place_name(place: Place, teller: Teller) -> str:
    """What the musician calls a section of a song."""
    name = teller.pick(PLACES[place.label])
    if place.count == 1:
        return name
    if place.number == place.count and teller.chance(0.4):
        return f"the last {place.label}"
    return teller.pick((f"{place.label} {place.number}", f"{place.label} {number_word(place.number)}"))


def tell_section(tags: Mapping[str, str], place: str, teller: Teller, before: Mapping[str, str] | None) -> list[str]:
    """The sentences on one section: the ground, who plays what over it, how loud."""
    words = choose(NAMES, tags, teller) | {"place": place}
    words["are"] = words["acc"].are
    words["have"] = words["lead"].have if words["lead"] else ""
    ground = teller.pick(GROUNDS[words["bass"] is not None, words["drums"] is not None]).format(**words)
    voicing = teller.pick(VOICINGS if words["lead"] else NO_VOICINGS).format(**words)
    level, voice = words["level"], words.get("voice")
    plan = teller.pick(("level own", "level with ground", "level with voicing"))
    if plan == "level with ground":
        sentences = [f"{ground}; {level}", voicing]
    elif plan == "level with voicing":
        sentences = [ground, f"{voicing}; {level}"]
    else:
        sentences = [ground, voicing, f"{level}, and {voice}" if voice and teller.chance(0.5) else level]
    if voice and voice not in sentences[-1]:
        sentences.append(voice)
    return sentences


def tell_opening(song: Mapping, teller: Teller) -> list[str]:
    """Key, tempo and road map."""
    tags = song["sections"][0]["tags"]
    number = number_word(len(song["sections"]))
    tempo = teller.pick(TEMPOS[tags["tempo"]])
    labels = [section["label"] for section in song["sections"]]
    sentences = [teller.pick(OPENINGS).format(key=tags["key"], mode=tags["mode"], tempo=tempo, number=number)]
    if len(labels) <= 7:
        sentences.append(teller.pick(FORMS).format(labels=enumerate_words(labels, last="then")))
    return sentences


def tell_closing(song: Mapping, teller: Teller) -> list[str]:
    """Who has to be booked, which makes a short chart long enough."""
    tags = [section["tags"] for section in song["sections"]]
    sentences = []
    basses = {section["bass"] for section in tags} - {"none"}
    if len(basses) > 1:
        sentences.append(teller.pick(BASS_CHAIRS).format(number=number_word(len(basses))))
    if not any(section["voice"] != "none" for section in tags):
        sentences.append(teller.pick(("No vocals and no speech, it's instrumental", "Nobody talks, all instrumental")))
    if len(tags) <= 5:
        sentences.append(
            teller.pick(("Any questions before we run it?", "That's the whole chart.", "Let's run it once."))
        )
    return sentences


def query_prefix(tags: Mapping[str, str], teller: Teller) -> str:
    """How a section is called where nothing is known of its song."""
    if teller.chance(0.6):
        return teller.pick(PASSAGES)
    kind = {"slow": ("slow", "down-tempo"), "medium": ("medium-tempo", "mid-tempo"), "fast": ("fast", "up-tempo")}
    return f"this {teller.pick(kind[tags['tempo']])} section in {tags['key']} {tags['mode']}"
