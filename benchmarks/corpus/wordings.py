# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Names and sentence frames of the captions, in two wordings that share no phrase.

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


# Frames. A frame is one clause that can stand alone or be joined to another; it begins in lower case and has no full
# stop. Slots: {lead}, {chords} (a plural), {bass} and {drums} (singulars), {place} (the section as a subject: "the
# first verse").

Frames = dict[str, tuple[str, ...]]

MELODY: Frames = {
    "seen": (
        "{lead} plays the melody over {chords}",
        "{lead} carries the tune above {chords}",
        "the melody belongs to {lead}, backed by {chords}",
        "{chords} lie under {lead}, which takes the lead",
        "we hear {lead} on top of {chords}",
        "{lead} stands out against {chords}",
        "{lead} spins a line of its own over {chords}",
        "{chords} set the scene for {lead}",
        "the spotlight is on {lead}, with {chords} behind it",
        "{lead} leads and {chords} fill in the harmony",
        "the main line comes from {lead}, accompanied by {chords}",
        "{place} gives the melody to {lead} and the harmony to {chords}",
        "{place} pairs {lead} with {chords}",
        "{place} is built on {chords}, with {lead} in front",
        "{place} features {lead} and {chords}",
        "{lead} answers {chords} with a simple melody",
        "{chords} support the theme, which is played on {lead}",
        "{lead} is in the foreground and {chords} are in the background",
    ),
    "new": (
        "{lead} takes the main tune, with {chords} as its backing",
        "the harmony lies with {chords} and the melody with {lead}",
        "in front we have {lead}, and {chords} stay behind it",
        "{chords} are the background to a melody on {lead}",
        "{place} puts {lead} in front of {chords}",
        "{place} has {lead} play the lead line on top of {chords}",
    ),
}

NO_MELODY: Frames = {
    "seen": (
        "{chords} take up the space, without any melody on top",
        "there is no lead instrument, only {chords}",
        "the melody rests and {chords} remain",
        "{place} has no melody, just {chords}",
        "{place} rests on {chords} and leaves the melody out",
        "{chords} carry the music without a lead instrument",
        "no solo instrument plays, and {chords} fill the space",
    ),
    "new": (
        "only {chords} are left, without a lead or a melody",
        "{place} does without a melody and stays on {chords}",
        "no lead instrument is heard on top of {chords}",
    ),
}

BASS_AND_DRUMS: Frames = {
    "seen": (
        "{bass} and {drums} keep time",
        "{drums} drives the music, with {bass} underneath",
        "{bass} holds down the low end under {drums}",
        "the rhythm section is {bass} with {drums}",
        "{drums} and {bass} set the pulse",
        "{bass} locks in with {drums}",
        "the drums play {drums}, and {bass} follows",
        "underneath there are {bass} and {drums}",
        "the rhythm comes from {drums} and the low notes from {bass}",
        "{bass} moves along with {drums}",
    ),
    "new": (
        "the time is kept by {bass} together with {drums}",
        "{bass} keeps close to {drums}",
        "the low end comes from {bass} and the drums play {drums}",
        "{bass} plays under the pulse of {drums}",
    ),
}

BASS_ONLY: Frames = {
    "seen": (
        "{bass} plays, but there are no drums",
        "there are no drums, only {bass} to mark the beat",
        "{bass} holds the low end without any drums",
        "the drums are silent and {bass} keeps the pulse alone",
    ),
    "new": ("without drums, {bass} alone marks the pulse", "no drums are heard below, just {bass}"),
}

DRUMS_ONLY: Frames = {
    "seen": (
        "{drums} keeps time without any bass",
        "there is {drums} but no bass",
        "no bass plays, only {drums}",
        "the bass is silent and {drums} sets the pulse alone",
    ),
    "new": ("without a bass, {drums} alone keeps the time", "no bass is heard below, just {drums}"),
}

NO_RHYTHM: Frames = {
    "seen": (
        "neither bass nor drums play",
        "there is no rhythm section",
        "the bass and the drums are silent",
        "bass and drums sit out",
    ),
    "new": ("the rhythm section is silent", "no bass and no drums are heard"),
}

DYNAMICS: dict[str, Frames] = {
    "soft": {
        "seen": (
            "everything stays quiet",
            "the playing is soft and hushed",
            "the music is very soft",
            "the volume is low",
            "the band plays quietly",
        ),
        "new": ("the band keeps the volume very low", "the music stays soft and quiet"),
    },
    "medium": {
        "seen": (
            "the volume is moderate",
            "the playing is neither loud nor soft",
            "everything sits at a medium volume",
            "the music is moderately loud",
            "the band plays at a medium level",
        ),
        "new": ("the band keeps the volume moderate", "the music is neither quiet nor loud"),
    },
    "loud": {
        "seen": (
            "the playing is loud and powerful",
            "everything is at full volume",
            "the music is very loud",
            "the sound is big and forceful",
            "the band plays loudly",
        ),
        "new": ("the band plays with powerful, full volume", "the music is big and loud"),
    },
}

VOICE: dict[str, Frames] = {
    "male": {
        "seen": (
            "a man speaks over the music",
            "a male voice recites a few lines",
            "a man's voice talks in time with the beat",
            "spoken words from a man are heard throughout",
            "a male speaker is heard above the music",
        ),
        "new": ("a male voice speaks in time with the beat", "a man recites spoken lines over the playing"),
    },
    "female": {
        "seen": (
            "a woman speaks over the music",
            "a female voice recites a few lines",
            "a woman's voice talks in time with the beat",
            "spoken words from a woman are heard throughout",
            "a female speaker is heard above the music",
        ),
        "new": ("a female voice speaks in time with the beat", "a woman recites spoken lines over the playing"),
    },
    "none": {
        "seen": ("there is no voice", "nobody speaks", "no one says a word", "it is purely instrumental"),
        "new": ("no voice is heard", "no one speaks"),
    },
}

# How two clauses become one sentence; the second table is for clauses that both have something to tell (not "nobody
# speaks, while the volume is low").
JOINS: Frames = {"seen": (", and ", "; "), "new": (" – ", "; here, ")}
LONG_JOINS: Frames = {"seen": (", and ", "; ", ", while "), "new": (" – ", "; here, ", "; at the same time, ")}

# What says when a section comes: {label} is "the first verse" or "the intro".
START: Frames = {
    "seen": ("at the start", "to begin with", "at first", "in {label}", "as the song opens"),
    "new": ("as {label} begins", "at the beginning"),
}
MIDDLE: Frames = {
    "seen": (
        "next",
        "after that",
        "then",
        "in {label}",
        "when {label} comes",
        "with {label}",
        "in the following part",
    ),
    "new": ("as {label} comes", "following that", "in the next part"),
}
END: Frames = {
    "seen": ("at the end", "to finish", "finally", "in {label}", "in the last part", "as the song closes"),
    "new": ("as {label} finishes the song", "at last"),
}
START_PLACE: Frames = {"seen": ("{label}", "the opening", "the first part"), "new": ("the opening part",)}
MIDDLE_PLACE: Frames = {"seen": ("{label}", "the next part", "the following section"), "new": ("the next section",)}
END_PLACE: Frames = {"seen": ("{label}", "the ending", "the last part"), "new": ("the ending part",)}
ANY_PLACE: Frames = {"seen": ("this part", "this section"), "new": ("this passage",)}

OPENING: Frames = {
    "seen": (
        "this is a {mood} piece in {key} {mode}, played at a {tempo} tempo",
        "a {mood} song in {key} {mode} with a {tempo} pulse",
        "the track has a {tempo} beat and a {mood} sound, and it is written in {key} {mode}",
        "a {mood} tune in the key of {key} {mode}, taken at a {tempo} pace",
        "here is a song in {key} {mode} with a {mood} character and a {tempo} tempo",
        "the music has a {mood} feel and a {tempo} pulse; the key is {key} {mode}",
        "in {key} {mode} and at a {tempo} pace, this track sounds {mood}",
        "what we hear is a {mood} piece that moves at a {tempo} pace in {key} {mode}",
    ),
    "new": (
        "this track is a {mood} one in the key of {key} {mode}, and its pulse is {tempo}",
        "we hear a song with a {tempo} beat, {mood} in character and written in the key of {key} {mode}",
        "here we have music in {key} {mode} with a {mood} sound, at a {tempo} tempo",
    ),
}
CLOSING: Frames = {
    "seen": (
        "overall, the song keeps its {mood} mood and its {tempo} pace",
        "all in all, it is a {mood} track in {key} {mode} with a {tempo} beat",
        "the key of {key} {mode} and the {tempo} tempo hold everything together",
        "taken together, the parts make a {mood} song with a {tempo} pulse",
        "through all the changes of instruments, the mood stays {mood} and the tempo {tempo}",
        "the whole piece remains {mood}, in {key} {mode} and at a {tempo} pace",
    ),
    "new": (
        "all parts of the song share the {mood} mood, the {tempo} pulse and the key of {key} {mode}",
        "all in all, the song remains {mood} and its tempo {tempo}, through all changes",
    ),
}
LEADS_TOGETHER: Frames = {
    "seen": (
        "among the lead instruments are {leads}",
        "the melody is shared out among {leads}",
        "{leads} take turns with the melody",
    ),
    "new": ("the melody takes turns among {leads}", "{leads} share the lead"),
}
