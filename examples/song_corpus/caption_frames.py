# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The sentence frames of the captions, in two wordings that share none: "seen" for training, "new" for tests only.

A frame is one clause that can stand alone or be joined to another; it begins in lower case and has no full stop.
Slots: {lead}, {chords} (a plural), {bass} and {drums} (singulars), {place} (the section as a
subject: "the first verse").
"""

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
