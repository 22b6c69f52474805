# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What captions call the things that are heard, in two wordings that share no phrase.

"seen" is what training captions are made of, "new" is kept for test captions. The new names recombine words that
training captions also use ("an airy concert flute" after "a concert flute" and "an airy flute"): a text model that was
trained from nothing but these captions can't know a synonym that it never met.
"""

WORDINGS = ("seen", "new")

# Lead instruments with their article.
LEAD_NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "flute": {"seen": ("a flute", "a concert flute", "an airy flute"), "new": ("an airy concert flute", "one flute")},
    "violin": {"seen": ("a violin", "a solo violin", "a fiddle"), "new": ("a solo fiddle", "one violin")},
    "trumpet": {
        "seen": ("a trumpet", "a solo trumpet", "a brassy trumpet"),
        "new": ("a brassy solo trumpet", "one trumpet"),
    },
    "saxophone": {
        "seen": ("a saxophone", "a tenor saxophone", "a smoky sax"),
        "new": ("a smoky tenor saxophone", "one tenor sax"),
    },
    "distorted guitar": {
        "seen": ("a distorted guitar", "a distorted electric guitar", "an overdriven guitar"),
        "new": ("an overdriven electric guitar", "one distorted guitar"),
    },
    "marimba": {
        "seen": ("a marimba", "a wooden marimba", "a mellow marimba"),
        "new": ("a mellow wooden marimba", "one marimba"),
    },
    "music box": {
        "seen": ("a music box", "a tinkling music box", "a toy music box"),
        "new": ("a tinkling toy music box", "one music box"),
    },
    "clarinet": {
        "seen": ("a clarinet", "a solo clarinet", "a reedy clarinet"),
        "new": ("a reedy solo clarinet", "one clarinet"),
    },
    "harmonica": {
        "seen": ("a harmonica", "a bluesy harmonica", "a wailing harmonica"),
        "new": ("a wailing, bluesy harmonica", "one harmonica"),
    },
    "synthesizer": {
        "seen": ("a synthesizer", "a buzzing synthesizer", "a sawtooth synth"),
        "new": ("a buzzing sawtooth synthesizer", "one synth"),
    },
    "oboe": {"seen": ("an oboe", "a nasal oboe", "a plaintive oboe"), "new": ("a plaintive, nasal oboe", "one oboe")},
    "cello": {"seen": ("a cello", "a solo cello", "a warm cello"), "new": ("a warm solo cello", "one cello")},
    "trombone": {
        "seen": ("a trombone", "a solo trombone", "a slide trombone"),
        "new": ("a solo slide trombone", "one trombone"),
    },
    "French horn": {
        "seen": ("a French horn", "a horn", "an orchestral horn"),
        "new": ("an orchestral French horn", "one French horn"),
    },
    "vibraphone": {
        "seen": ("a vibraphone", "a shimmering vibraphone", "a jazzy vibraphone"),
        "new": ("a jazzy, shimmering vibraphone", "one vibraphone"),
    },
    "xylophone": {
        "seen": ("a xylophone", "a bright xylophone", "a clattering xylophone"),
        "new": ("a bright, clattering xylophone", "one xylophone"),
    },
    "sitar": {
        "seen": ("a sitar", "an Indian sitar", "a droning sitar"),
        "new": ("a droning Indian sitar", "one sitar"),
    },
    "banjo": {
        "seen": ("a banjo", "a plucked banjo", "a twangy banjo"),
        "new": ("a twangy plucked banjo", "one banjo"),
    },
    "pan flute": {
        "seen": ("a pan flute", "a breathy pan flute", "a wooden pan flute"),
        "new": ("a breathy wooden pan flute", "one pan flute"),
    },
    "steel drum": {
        "seen": ("a steel drum", "a Caribbean steel drum", "a ringing steel drum"),
        "new": ("a ringing Caribbean steel drum", "one steel drum"),
    },
}

# Accompanying instruments, as (word before "chords", words after "from").
ACCOMPANIMENT_NAMES: dict[str, dict[str, tuple[tuple[str, str], ...]]] = {
    "piano": {
        "seen": (("piano", "the piano"), ("grand piano", "a grand piano"), ("acoustic piano", "an acoustic piano")),
        "new": (("acoustic grand piano", "an acoustic grand piano"),),
    },
    "acoustic guitar": {
        "seen": (
            ("acoustic guitar", "an acoustic guitar"),
            ("classical guitar", "a classical guitar"),
            ("nylon-string guitar", "a nylon-string guitar"),
        ),
        "new": (
            ("nylon-string acoustic guitar", "a nylon-string acoustic guitar"),
            ("classical acoustic guitar", "a classical acoustic guitar"),
        ),
    },
    "strings": {
        "seen": (
            ("string", "the strings"),
            ("string section", "a string section"),
            ("orchestral string", "orchestral strings"),
        ),
        "new": (("orchestral string section", "an orchestral string section"),),
    },
    "organ": {
        "seen": (
            ("organ", "the organ"),
            ("electric organ", "an electric organ"),
            ("drawbar organ", "a drawbar organ"),
        ),
        "new": (("electric drawbar organ", "an electric drawbar organ"),),
    },
    "harpsichord": {
        "seen": (
            ("harpsichord", "the harpsichord"),
            ("baroque harpsichord", "a baroque harpsichord"),
            ("bright harpsichord", "a bright harpsichord"),
        ),
        "new": (("bright baroque harpsichord", "a bright baroque harpsichord"),),
    },
    "harp": {
        "seen": (("harp", "the harp"), ("concert harp", "a concert harp"), ("pedal harp", "a pedal harp")),
        "new": (("concert pedal harp", "a concert pedal harp"),),
    },
    "electric piano": {
        "seen": (
            ("electric piano", "an electric piano"),
            ("Rhodes piano", "a Rhodes piano"),
            ("Rhodes", "the Rhodes"),
        ),
        "new": (("Rhodes electric piano", "a Rhodes electric piano"),),
    },
    "choir": {
        "seen": (("choir", "the choir"), ("wordless choir", "a wordless choir"), ("choral", "a mixed choir")),
        "new": (("wordless choral", "a wordless mixed choir"),),
    },
    "accordion": {
        "seen": (
            ("accordion", "the accordion"),
            ("musette accordion", "a musette accordion"),
            ("wheezing accordion", "a wheezing accordion"),
        ),
        "new": (("wheezing musette accordion", "a wheezing musette accordion"),),
    },
    "synth chords": {
        "seen": (
            ("keyboard synth", "a keyboard synth"),
            ("polysynth", "a polysynth"),
            ("electronic keyboard", "an electronic keyboard"),
        ),
        "new": (("electronic polysynth", "an electronic polysynth"),),
    },
    "brass": {
        "seen": (("brass", "the brass"), ("brass section", "a brass section"), ("big-band brass", "big-band brass")),
        "new": (("big-band brass section", "a big-band brass section"),),
    },
    "clean guitar": {
        "seen": (
            ("clean guitar", "a clean guitar"),
            ("clean electric guitar", "a clean electric guitar"),
            ("chiming guitar", "a chiming guitar"),
        ),
        "new": (("chiming clean electric guitar", "a chiming clean electric guitar"),),
    },
}

# The accompaniment in its texture, always a plural: {name} is "piano", {source} is "the piano".
TEXTURES: dict[str, dict[str, tuple[str, ...]]] = {
    "sustained": {
        "seen": (
            "long {name} chords",
            "sustained chords from {source}",
            "{name} chords that are held for whole bars",
            "long-held chords from {source}",
        ),
        "new": ("long sustained {name} chords", "chords from {source} that are held for a long while"),
    },
    "arpeggio": {
        "seen": (
            "rippling {name} arpeggios",
            "broken chords from {source}",
            "flowing arpeggios from {source}",
            "{name} chords broken into single notes",
        ),
        "new": ("flowing, broken {name} chords", "arpeggios of single notes from {source}"),
    },
    "pulse": {
        "seen": (
            "steadily pulsing {name} chords",
            "repeated chords from {source}",
            "{name} chords repeated in a steady pulse",
            "quickly repeated {name} chords",
        ),
        "new": ("steadily repeated chords from {source}", "quick, pulsing {name} chords"),
    },
    "offbeat": {
        "seen": (
            "offbeat {name} chords",
            "short offbeat stabs from {source}",
            "clipped {name} chords between the beats",
            "syncopated stabs from {source}",
        ),
        "new": ("short {name} stabs between the beats", "clipped, syncopated chords from {source}"),
    },
}

BASS_NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "upright bass": {
        "seen": ("an upright bass", "a double bass", "a woody upright bass"),
        "new": ("a woody double bass",),
    },
    "electric bass": {
        "seen": ("an electric bass", "a bass guitar", "a fingered electric bass"),
        "new": ("a fingered bass guitar", "an electric bass guitar"),
    },
    "slap bass": {
        "seen": ("a slap bass", "a funky slap bass", "a slapped bass"),
        "new": ("a funky slapped bass",),
    },
    "synth bass": {
        "seen": ("a synth bass", "an electronic bass", "a fat synth bass"),
        "new": ("a fat electronic bass", "an electronic synth bass"),
    },
}

DRUM_NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "rock": {
        "seen": ("a rock beat", "a straight rock beat", "a plain backbeat"),
        "new": ("a plain, straight rock beat", "a straight backbeat"),
    },
    "four on the floor": {
        "seen": ("a four-on-the-floor kick", "a disco beat", "a four-on-the-floor dance beat"),
        "new": ("a four-on-the-floor disco beat",),
    },
    "swing": {
        "seen": ("a swing pattern on the ride cymbal", "a swung jazz beat", "a jazzy ride cymbal pattern"),
        "new": ("a swung pattern on the ride cymbal", "a jazzy swing beat"),
    },
    "bossa nova": {
        "seen": ("a bossa nova rhythm", "a Latin beat of rim clicks and shaker", "a bossa nova beat with shaker"),
        "new": ("a Latin bossa nova beat", "a bossa nova rhythm of rim clicks"),
    },
    "half time": {
        "seen": ("a half-time beat", "a spacious half-time beat", "a heavy half-time groove"),
        "new": ("a spacious half-time groove", "a heavy half-time beat"),
    },
    "march": {
        "seen": ("a marching beat", "a military snare pattern", "a march on the snare drum"),
        "new": ("a military march", "a marching pattern on the snare drum"),
    },
}

# Words of the opening and the closing sentence.
TEMPO_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "slow": {"seen": ("slow", "unhurried", "leisurely"), "new": ("slow, leisurely", "rather slow")},
    "medium": {"seen": ("moderate", "medium", "middling"), "new": ("moderate, middling", "rather moderate")},
    "fast": {"seen": ("fast", "brisk", "lively"), "new": ("brisk, lively", "rather fast")},
}
MODE_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "major": {"seen": ("bright", "cheerful", "sunny"), "new": ("bright and sunny", "cheerful and bright")},
    "minor": {"seen": ("dark", "wistful", "melancholy"), "new": ("dark and melancholy", "wistful and dark")},
}
