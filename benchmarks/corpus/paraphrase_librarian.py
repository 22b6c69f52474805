# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A catalogue librarian's terse notes: fields and fragments, dynamics and scoring first, hardly a verb."""

from collections.abc import Mapping

from .paraphrase_grammar import Place, Teller, choose, number_word, ordinal

NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "lead": {
        "flute": ("=flute", "=concert flute", "=solo flute", "=flute (transverse)"),
        "violin": ("=violin", "=solo violin", "=violin (one player)", "=violin (bowed)"),
        "trumpet": ("=trumpet", "=solo trumpet", "=tpt.", "=trumpet (one player)"),
        "saxophone": ("=tenor saxophone", "=saxophone", "=t. sax", "=saxophone (tenor)"),
        "distorted guitar": (
            "=electric guitar with distortion",
            "=guitar (electric, overdriven)",
            "=distortion guitar",
            "=electric guitar, fuzz",
        ),
        "marimba": ("=marimba", "=marimba (mallets)", "=solo marimba", "=bar percussion: marimba"),
        "music box": ("=music box", "=musical box", "=mechanical music box", "=music box (comb and cylinder)"),
        "clarinet": ("=clarinet", "=solo clarinet", "=clt.", "=clarinet (single reed)"),
        "harmonica": ("=harmonica", "=mouth organ", "=harmonica (mouth organ)", "=mouth harmonica"),
        "synthesizer": ("=synthesizer", "=lead synthesizer", "=synth., sawtooth", "=keyboard synthesizer"),
        "oboe": ("=oboe", "=solo oboe", "=ob.", "=oboe (double reed)"),
        "cello": ("=violoncello", "=cello", "=vc.", "=solo violoncello"),
        "trombone": ("=trombone", "=slide trombone", "=tbn.", "=solo trombone"),
        "French horn": ("=French horn", "=horn (French)", "=solo French horn", "=orchestral horn"),
        "vibraphone": ("=vibraphone", "=vibraphone (mallets)", "=vibes", "=solo vibraphone"),
        "xylophone": ("=xylophone", "=xylophone (mallets)", "=solo xylophone", "=bar percussion: xylophone"),
        "sitar": ("=sitar", "=Indian sitar", "=sitar (plucked)", "=solo sitar"),
        "banjo": ("=banjo", "=solo banjo", "=banjo (plucked)", "=plucked banjo"),
        "pan flute": ("+pan pipes", "=pan flute", "+panpipes", "=syrinx (pan flute)"),
        "steel drum": ("=steel drum", "=steel pan", "=steelpan (Trinidad)", "=tuned steel drum"),
    },
    "accompaniment": {
        "piano": ("=pianoforte", "=piano", "=acoustic piano", "=pno."),
        "acoustic guitar": ("=acoustic guitar", "=guitar (nylon strings)", "=classical guitar", "=guitar, acoustic"),
        "strings": ("+strings", "=string ensemble", "=string orchestra", "=strings (tutti)"),
        "organ": ("=organ", "=Hammond organ", "=electric organ", "=organ (drawbar)"),
        "harpsichord": ("=harpsichord", "=cembalo", "=hpsd.", "=clavicembalo"),
        "harp": ("=harp", "=concert harp", "=pedal harp", "=hp. (orchestral)"),
        "electric piano": ("=electric piano", "=e-piano (Rhodes)", "=piano, electric", "=Rhodes piano"),
        "choir": ("=mixed choir without words", "=choir (vocalise)", "=wordless chorus", "=choir on open vowels"),
        "accordion": ("=accordion", "=piano accordion", "=accordion (free reeds)", "=accordion (squeezebox)"),
        "synth chords": ("=synthesizer pads", "=polysynth", "=synthesizer, polyphonic", "=electronic keyboard pads"),
        "brass": ("=brass ensemble", "=brass section", "=brass (tutti)", "=massed brass"),
        "clean guitar": (
            "=electric guitar, clean",
            "=clean electric guitar",
            "=guitar (electric, undistorted)",
            "=electric guitar without distortion",
        ),
    },
    "bass": {
        "upright bass": ("=double bass", "=contrabass", "=upright bass", "=string bass (plucked)"),
        "electric bass": ("=bass guitar", "=electric bass", "=e-bass", "=electric bass guitar"),
        "slap bass": (
            "=slap bass",
            "=bass guitar (slapped)",
            "=slapped electric bass",
            "=bass guitar, slap technique",
        ),
        "synth bass": ("=synthesizer bass", "=synth bass", "=bass (synthesized)", "=electronic bass"),
    },
    "drums": {
        "rock": ("=drum kit, rock beat", "=rock drums", "=kit (rock pattern, backbeat)", "=standard rock rhythm"),
        "four on the floor": (
            "=drum kit, four on the floor",
            "=bass drum on every crotchet",
            "=disco beat (4/4 kick)",
            "=kit, dance beat with kick on 1-2-3-4",
        ),
        "swing": ("=drum kit, swing", "=jazz kit with ride cymbal", "=swing rhythm", "=kit (swung, ride)"),
        "bossa nova": (
            "=bossa nova rhythm",
            "=drum kit, bossa nova",
            "=Latin percussion (bossa nova)",
            "=kit and shaker, bossa nova",
        ),
        "half time": (
            "=drum kit, half time",
            "=half-time beat",
            "=kit (half-time feel)",
            "=drums at half speed, snare on 3",
        ),
        "march": ("=side drum, march", "=military drumming", "=march rhythm on snare drum", "=snare drum (marching)"),
    },
    "texture": {
        "sustained": ("held chords", "sustained harmony", "semibreve chords", "tenuto chords", "long notes"),
        "arpeggio": ("arpeggios", "broken chords", "arpeggiated figuration", "chords spread in quavers", "arpeggiato"),
        "pulse": (
            "repeated quaver chords",
            "pulsing chords",
            "chords reiterated in quavers",
            "steady chordal pulse",
            "even repeated chords",
        ),
        "offbeat": (
            "off-beat chords",
            "chords after the beat",
            "syncopated short chords",
            "staccato chords on the upbeats",
            "after-beat chords",
        ),
    },
    "level": {
        "soft": ("p (soft)", "soft", "low volume", "quiet", "hushed"),
        "medium": ("mf", "mezzo-forte", "medium volume", "moderate", "average loudness"),
        "loud": ("ff", "forte", "loud", "high volume", "fortissimo"),
    },
    "voice": {
        "male": ("male speaker", "speech, man", "spoken text (male)", "man's voice, spoken", "narration by a man"),
        "female": (
            "female speaker",
            "speech, woman",
            "spoken text (female)",
            "woman's voice, spoken",
            "narration by a woman",
        ),
    },
}
NO_BASS = ("no bass", "bass tacet", "bass: nil", "without bass")
NO_DRUMS = ("no drums", "percussion tacet", "drums: nil", "without percussion")
NO_LEAD = ("no solo part", "no melody instrument", "melody: none", "lead tacet")

# The first card gives scoring and harmony, the second rhythm, dynamics and speech; or the other way round.
SOLO_CARDS = (
    "{place}. Solo: {lead}; accompaniment: {acc}, {texture}",
    "{place}: {lead} (melody), {acc} ({texture})",
    "{place} / melody assigned to {lead} / harmony assigned to {acc}, {texture}",
    "{place}: scored for {lead} with {acc}; writing of the latter: {texture}",
    "{place}: {acc} in accompaniment, {texture}; principal part {lead}",
)
TUTTI_CARDS = (
    "{place}. {no_lead}; {acc} only, {texture}",
    "{place}: {acc} ({texture}), {no_lead}",
    "{place} / {no_lead} / harmony assigned to {acc}, {texture}",
    "{place}: accompaniment alone ({acc}, {texture}); {no_lead}",
)
RHYTHM_CARDS = (
    "Rhythm: {bass_entry}, {drums_entry}",
    "Further: {bass_entry}; {drums_entry}",
    "Low register and percussion: {bass_entry}, {drums_entry}",
    "Also {bass_entry} and {drums_entry}",
    "Foundation: {bass_entry}; {drums_entry}",
)
LEVEL_CARDS = ("dynamics {level}", "level: {level}", "marked {level}", "dynamic marking {level}", "overall {level}")
VOICE_CARDS = ("with {voice}", "added: {voice}", "plus {voice}", "note {voice}", "text: {voice}")

# Whole sections on one card, without a place: what a reader writes on a request slip.
REQUESTS = (
    "Wanted: {lead_entry} with {acc}, {texture}; {bass_entry}; {drums_entry}; {level}",
    "{lead_entry}, {acc} ({texture}), {bass_entry}, {drums_entry}; {level}",
    "Subject headings: {lead_entry} -- {acc} -- {texture} -- {bass_entry} -- {drums_entry} -- {level}",
    "Excerpt, {level}: {acc}, {texture}; {lead_entry}; {drums_entry}; {bass_entry}",
)

PLACES = {
    "intro": ("Introduction", "Intro", "Opening section"),
    "verse": ("Verse", "Stanza"),
    "pre-chorus": ("Pre-chorus", "Prechorus"),
    "chorus": ("Refrain", "Chorus"),
    "post-chorus": ("Post-chorus", "Postchorus"),
    "bridge": ("Bridge", "Bridge section"),
    "interlude": ("Interlude", "Interludium"),
    "breakdown": ("Breakdown", "Breakdown section"),
    "outro": ("Coda", "Outro", "Closing section"),
}
TEMPOS = {
    "slow": ("slow", "slow tempo", "adagio", "tempo: slow"),
    "medium": ("medium tempo", "moderato", "moderate tempo", "tempo: medium"),
    "fast": ("fast", "fast tempo", "allegro", "tempo: fast"),
}
KEYS = ("{key} {mode}", "key of {key} {mode}", "tonality {key} {mode}", "{key} {mode} throughout")
OPENINGS = (
    "Sound recording, {number} sections; {key}; {tempo}.",
    "One musical work in {number} sections. {Key}. {Tempo}.",
    "Item: music, {number} sections. {Key}; {tempo}.",
    "Musical recording; {key}; {tempo}; divided into {number} sections.",
    "General: {key}, {tempo}. Extent: {number} sections.",
)
INDEX_HEADINGS = {
    "lead": ("Solo instruments", "Melody instruments", "Soloists"),
    "accompaniment": ("Accompanying forces", "Accompaniment by", "Harmony instruments"),
    "bass": ("Basses used", "Bass instruments", "Bass parts"),
    "drums": ("Rhythms", "Drum patterns", "Percussion styles"),
}


def place_name(place: Place, teller: Teller) -> str:
    """What the librarian calls a section of a song."""
    name = teller.pick(PLACES[place.label])
    if place.count > 1:
        name = teller.pick(
            (f"{name} {place.number}", f"{name}, {ordinal(place.number)}", f"{name} ({place.number} of {place.count})")
        )
    if teller.chance(0.4):
        return f"Section {place.position + 1}, {name[0].lower()}{name[1:]}"
    return name


def _entries(tags: Mapping[str, str], teller: Teller) -> dict:
    words = choose(NAMES, tags, teller)
    words["bass_entry"] = str(words["bass"] or teller.pick(NO_BASS))
    words["drums_entry"] = str(words["drums"] or teller.pick(NO_DRUMS))
    words["no_lead"] = teller.pick(NO_LEAD)
    words["lead_entry"] = str(words["lead"] or words["no_lead"])
    return words


def tell_section(tags: Mapping[str, str], place: str, teller: Teller, before: Mapping[str, str] | None) -> list[str]:
    """The notes on one section; a catalogue compares nothing, so `before` is not read. No place: a request slip."""
    words = _entries(tags, teller) | {"place": place}
    voice = teller.pick(VOICE_CARDS).format(**words) if "voice" in words else None
    if not place:
        slip = teller.pick(REQUESTS).format(**words)
        return [f"{slip}; {voice}"] if voice else [slip]
    level = teller.pick(LEVEL_CARDS).format(**words)
    scoring = teller.pick(SOLO_CARDS if words["lead"] else TUTTI_CARDS).format(**words)
    rhythm = teller.pick(RHYTHM_CARDS).format(**words)
    plan = teller.pick(("level last", "level first", "one card", "own card"))
    if plan == "level first":
        sentences = [f"{scoring}; {level}", rhythm]
    elif plan == "one card":
        sentences = [f"{scoring}; {rhythm[0].lower()}{rhythm[1:]}", level]
    elif plan == "own card":
        sentences = [scoring, rhythm, level]
    else:
        sentences = [scoring, f"{rhythm}; {level}"]
    if not voice:
        return sentences
    if teller.chance(0.5):
        return [*sentences[:-1], f"{sentences[-1]}; {voice}"]
    return [*sentences, voice]


def tell_opening(song: Mapping, teller: Teller) -> list[str]:
    """The head of the card."""
    tags = song["sections"][0]["tags"]
    key = teller.pick(KEYS).format(**tags)
    tempo = teller.pick(TEMPOS[tags["tempo"]])
    words = {
        "key": key,
        "Key": key[0].upper() + key[1:],
        "tempo": tempo,
        "Tempo": tempo[0].upper() + tempo[1:],
        "number": number_word(len(song["sections"])),
    }
    sentences = teller.pick(OPENINGS).format(**words)
    labels = [section["label"] for section in song["sections"]]
    form = teller.pick(("Form: {}", "Sequence: {}", "Order of sections: {}", "Contents: {}"))
    return [sentences, form.format(teller.pick((", ", " - ", "; ")).join(labels))]


def tell_closing(song: Mapping, teller: Teller) -> list[str]:
    """Lists of all players, which make a short entry long enough."""
    sentences = []
    for tag, headings in INDEX_HEADINGS.items():
        found = dict.fromkeys(section["tags"][tag] for section in song["sections"])
        players = [name for name in found if name != "none"]
        if players:
            sentences.append(f"{teller.pick(headings)}: {teller.pick((', ', '; ', ' / ')).join(players)}")
    if len(song["sections"]) <= 5:
        heading = teller.pick(("Dynamics in order", "Levels, section by section", "Loudness by section"))
        sentences.append(f"{heading}: {', '.join(section['tags']['dynamics'] for section in song['sections'])}")
        speech = sum(section["tags"]["voice"] != "none" for section in song["sections"])
        spoken = number_word(speech) if speech else "none"
        sentences.append(f"Sections with speech: {spoken} of {number_word(len(song['sections']))}")
    elif all(section["tags"]["voice"] == "none" for section in song["sections"]):
        sentences.append(teller.pick(("Speech: none", "No spoken text", "Language: none, instrumental")))
    return sentences


def query_prefix(tags: Mapping[str, str], teller: Teller) -> str:
    """How a section is called where nothing is known of its song; empty for a request slip."""
    mode, tempo = tags["mode"], teller.pick(TEMPOS[tags["tempo"]])
    return teller.pick(
        (
            "",
            "",
            "Excerpt",
            f"Passage in {tags['key']} {mode}, {tempo}",
            f"Excerpt ({mode}, {tempo})",
            "Untitled section",
        )
    )
