# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""German wordings: names, frames and plans of `captions_german.py`."""

from collections.abc import Mapping

from .german_grammar import GermanNoun, german_noun
from .paraphrase_grammar import Place, Teller, choose, enumerate_words

NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "lead": {
        "flute": ("Flöte:f", "Querflöte:f", "Konzertflöte:f"),
        "violin": ("Geige:f", "Violine:f", "Sologeige:f"),
        "trumpet": ("Trompete:f", "Solotrompete:f", "einzeln Trompete:f"),
        "saxophone": ("Saxofon:n", "Tenorsaxofon:n", "Tenorsax:n"),
        "distorted guitar": ("verzerrt E-Gitarre:f", "übersteuert E-Gitarre:f", "verzerrt Gitarre:f"),
        "marimba": ("Marimba:f", "Marimbafon:n", "Solomarimba:f"),
        "music box": ("Spieluhr:f", "Spieldose:f", "mechanisch Spieluhr:f"),
        "clarinet": ("Klarinette:f", "Soloklarinette:f", "einzeln Klarinette:f"),
        "harmonica": ("Mundharmonika:f", "Bluesharp:f", "einzeln Mundharmonika:f"),
        "synthesizer": ("Synthesizer:m", "Synthesizer:m:mit Sägezahnklang", "elektronisch Synthesizer:m"),
        "oboe": ("Oboe:f", "Solooboe:f", "einzeln Oboe:f"),
        "cello": ("Cello:n", "Violoncello:n", "Solocello:n"),
        "trombone": ("Posaune:f", "Zugposaune:f", "Soloposaune:f"),
        "French horn": ("Waldhorn:n", "Horn:n", "Solohorn:n"),
        "vibraphone": ("Vibrafon:n", "Solovibrafon:n", "metallisch Vibrafon:n"),
        "xylophone": ("Xylofon:n", "Soloxylofon:n", "hölzern Xylofon:n"),
        "sitar": ("Sitar:f", "indisch Sitar:f", "Solositar:f"),
        "banjo": ("Banjo:n", "Solobanjo:n", "gezupft Banjo:n"),
        "pan flute": ("Panflöte:f", "gehaucht Panflöte:f", "mehrrohrig Panflöte:f"),
        "steel drum": ("Steeldrum:f", "Steelpan:f", "karibisch Steeldrum:f"),
    },
    "accompaniment": {
        "piano": ("Klavier:n", "Flügel:m", "akustisch Klavier:n"),
        "acoustic guitar": ("Akustikgitarre:f", "Konzertgitarre:f", "akustisch Gitarre:f"),
        "strings": ("Streicher:p", "Streichorchester:n", "Streichensemble:n"),
        "organ": ("Orgel:f", "Hammondorgel:f", "elektrisch Orgel:f"),
        "harpsichord": ("Cembalo:n", "barock Cembalo:n", "gezupft Cembalo:n"),
        "harp": ("Harfe:f", "Konzertharfe:f", "gezupft Harfe:f"),
        "electric piano": ("E-Piano:n", "elektrisch Klavier:n", "Rhodes-Piano:n"),
        "choir": ("Chor:m", "Chor:m:ohne Worte", "wortlos Chor:m"),
        "accordion": ("Akkordeon:n", "Ziehharmonika:f", "Schifferklavier:n"),
        "synth chords": ("Synthesizerfläche:f", "Synthesizerakkorde:p", "Keyboardfläche:f"),
        "brass": ("Blechbläser:p", "Bläsersatz:m", "Blechbläserensemble:n"),
        "clean guitar": ("unverzerrt E-Gitarre:f", "E-Gitarre:f:ohne Verzerrung", "klar klingend E-Gitarre:f"),
    },
    "bass": {
        "upright bass": ("Kontrabass:m", "gezupft Kontrabass:m", "akustisch Standbass:m"),
        "electric bass": ("E-Bass:m", "Elektrobass:m", "Bassgitarre:f"),
        "slap bass": ("Slap-Bass:m", "geslappt E-Bass:m", "E-Bass:m:in Slap-Technik"),
        "synth bass": ("Synthesizerbass:m", "Synthiebass:m", "elektronisch Bass:m"),
    },
    "drums": {
        "rock": (
            "Rockbeat:m",
            "gerad Rockrhythmus:m",
            "Schlagzeug:n:im Rockrhythmus",
            "Rockschlagzeug:n",
            "Schlagzeugbeat:m:im Rockstil",
            "Rock-Groove:m:am Schlagzeug",
        ),
        "four on the floor": (
            "Discobeat:m",
            "Beat:m:mit der großen Trommel auf jedem Schlag",
            "durchgehend Viertelbeat:m",
            "Tanzbeat:m:mit durchgehenden Viertelschlägen",
            "Four-on-the-floor-Beat:m",
            "groß Trommel:f:auf allen vier Zählzeiten",
        ),
        "swing": (
            "Swingrhythmus:m",
            "swingend Schlagzeug:n",
            "Jazzschlagzeug:n:im Swing",
            "swingend Becken:n",
            "Swing-Groove:m:auf dem Becken",
            "Schlagzeug:n:im Swingrhythmus",
        ),
        "bossa nova": (
            "Bossa-nova-Rhythmus:m",
            "Bossa-nova-Beat:m",
            "Schlagzeug:n:im Bossa-nova-Rhythmus",
            "brasilianisch Bossa-Rhythmus:m",
            "Bossa-Groove:m:mit Shaker",
            "Bossa-nova-Schlagzeug:n",
        ),
        "half time": (
            "Halftime-Beat:m",
            "Schlagzeug:n:im halben Tempo",
            "Halftime-Groove:m",
            "Schlagzeugbeat:m:mit halbem Tempo",
            "Halftime-Rhythmus:m:am Schlagzeug",
            "Schlagzeugrhythmus:m:in halbem Tempo",
        ),
        "march": (
            "Marschtrommel:f",
            "Marschrhythmus:m:auf der Trommel",
            "klein Trommel:f:im Marschtakt",
            "Militärtrommel:f",
            "marschierend Schlagzeug:n",
            "Trommelmarsch:m",
        ),
    },
    "texture": {
        "sustained": (
            "mit lang gehaltenen Akkorden",
            "mit liegenden Akkorden",
            "in ausgehaltenen Klängen",
            "mit ganztaktigen Akkorden",
            "mit breiten Haltetönen",
            "in langen Notenwerten",
            "mit weit ausklingenden Akkorden",
        ),
        "arpeggio": (
            "in gebrochenen Akkorden",
            "mit Arpeggien",
            "mit auf- und absteigenden Akkordbrechungen",
            "in rollenden Arpeggien",
            "mit zerlegten Dreiklängen",
            "mit Ton für Ton gespielten Akkorden",
            "in perlenden Akkordbrechungen",
        ),
        "pulse": (
            "mit gleichmäßig wiederholten Akkorden",
            "in pulsierenden Achteln",
            "mit Akkorden in durchgehenden Achteln",
            "mit stetig pochenden Akkorden",
            "mit regelmäßigen Akkordwiederholungen",
            "in ständig angeschlagenen Achtelakkorden",
            "mit einem steten Puls von Akkorden",
        ),
        "offbeat": (
            "mit kurzen Akkorden auf den Offbeats",
            "mit nachschlagenden Akkorden",
            "mit knappen Akkorden zwischen den Zählzeiten",
            "in kurzen Nachschlägen",
            "mit synkopisch versetzten Akkorden",
            "mit Akkorden auf den unbetonten Achteln",
            "mit Akkordtupfern neben dem Schlag",
        ),
    },
    "level": {
        "soft": (
            "leise",
            "mit geringer Lautstärke",
            "ganz leise",
            "sehr zurückhaltend und leise",
            "sanft und leise",
            "mit leisen Tönen",
            "pianissimo",
        ),
        "medium": (
            "in mittlerer Lautstärke",
            "weder laut noch leise",
            "mittellaut",
            "mit mäßiger Lautstärke",
            "mezzoforte",
            "in gemäßigter Lautstärke",
            "halblaut",
        ),
        "loud": (
            "laut",
            "mit voller Lautstärke",
            "sehr laut",
            "kräftig und laut",
            "fortissimo",
            "mit großer Lautstärke",
            "in voller Stärke",
        ),
    },
    "voice": {
        "male": ("Mann:m", "Männerstimme:f", "männlich Stimme:f", "Sprecher:m", "männlich Sprechstimme:f"),
        "female": ("Frau:f", "Frauenstimme:f", "weiblich Stimme:f", "Sprecherin:f", "weiblich Sprechstimme:f"),
    },
}

# `wo` is a place ("im zweiten Refrain") or, in the second sentence on a section, a word that points to it.
MELODY = (
    "{wo} {lead[spielt/spielen]} {lead.ein} die Melodie, {acc.ein} {acc[begleitet/begleiten]} {texture}",
    "Die Melodie liegt {wo} bei {lead.einem}, begleitet von {acc.einem} {texture}",
    "Über {acc.einem} {texture} {lead[erklingt/erklingen]} {wo} {lead.ein} mit der Melodie",
    "{wo} {acc[begleitet/begleiten]} {acc.ein} {texture} {lead.einen}, {lead.relative} das Thema {lead[trägt/tragen]}",
    "{wo} {lead[führt/führen]} {lead.ein} die Melodie, unterstützt von {acc.einem} {texture}",
    "Man hört {wo} {lead.einen} mit der Melodie und dazu {acc.einen} {texture}",
    "{lead.ein} {lead[übernimmt/übernehmen]} {wo} das Thema, während {acc.ein} {texture} {acc[begleitet/begleiten]}",
    "Solistisch {lead[tritt/treten]} {wo} {lead.ein} hervor, dahinter {acc[spielt/spielen]} {acc.ein} {texture}",
    "Im Vordergrund {lead[steht/stehen]} {wo} {lead.ein}, im Hintergrund {acc[spielt/spielen]} {acc.ein} {texture}",
    "{acc.ein} {texture} {acc[gibt/geben]} {wo} die Harmonien, {lead.ein} {lead[spielt/spielen]} darüber das Thema",
)
# Only where the place is named: `ort`.
MELODY_OF_PLACE = (
    "Das Thema {ort.des} {lead[spielt/spielen]} {lead.ein}, und {acc.ein} {acc[begleitet/begleiten]} {texture}",
    "{ort.der} gehört {lead.einem}, dazu {acc[spielt/spielen]} {acc.ein} {texture}",
    "Für die Melodie {ort.des} {lead[sorgt/sorgen]} {lead.ein}, für die Begleitung {acc.ein} {texture}",
)
NO_MELODY = (
    "{wo} fehlt ein Melodieinstrument, nur {acc.ein} {acc[spielt/spielen]} {texture}",
    "{wo} gibt es keine Melodie, nur {acc.einen} {texture}",
    "Ohne Soloinstrument {acc[bleibt/bleiben]} {wo} allein {acc.ein} {texture}",
    "Niemand spielt {wo} eine Melodie, zu hören {acc[ist/sind]} {acc.ein} {texture}",
    "Man hört {wo} {acc.einen} {texture}, aber kein führendes Instrument",
    "{acc.ein} {acc[spielt/spielen]} {wo} {texture}, und eine Melodie fehlt",
    "{wo} {acc[erklingt/erklingen]} {acc.ein} {texture} ganz ohne Melodie",
)
RHYTHM = {
    (True, True): (
        "{bass.ein} und {drums.ein} bilden das Fundament",
        "Dazu kommen {bass.ein} und {drums.ein}",
        "Für den Rhythmus sorgen {drums.ein} und {bass.ein}",
        "Darunter {bass[liegt/liegen]} {bass.ein}, den Takt {drums[gibt/geben]} {drums.ein} vor",
        "Getragen wird das von {bass.einem} und {drums.einem}",
        "In der Tiefe {bass[spielt/spielen]} {bass.ein}, den Rhythmus {drums[macht/machen]} {drums.ein}",
        "{drums.ein} {drums[hält/halten]} den Takt, {bass.ein} {bass[spielt/spielen]} die tiefen Töne",
        "Die Rhythmusgruppe besteht aus {bass.einem} und {drums.einem}",
    ),
    (True, False): (
        "{bass.ein} {bass[spielt/spielen]} in der Tiefe, ein Schlagzeug fehlt",
        "Ein Schlagzeug gibt es nicht, nur {bass.einen}",
        "Ohne Schlagzeug {bass[legt/legen]} {bass.ein} allein das Fundament",
        "Die tiefen Töne {bass[übernimmt/übernehmen]} {bass.ein}, ein Schlagzeug ist nicht zu hören",
        "Das Schlagzeug schweigt, unten {bass[spielt/spielen]} {bass.ein}",
        "Als Fundament {bass[dient/dienen]} {bass.ein}, und zwar ohne Schlagzeug",
        "Dazu {bass[kommt/kommen]} {bass.ein}, aber kein Schlagzeug",
    ),
    (False, True): (
        "{drums.ein} {drums[gibt/geben]} den Takt an, ein Bass fehlt",
        "Es gibt keinen Bass, wohl aber {drums.einen}",
        "Ohne Bass {drums[läuft/laufen]} {drums.ein} dazu",
        "Der Bass schweigt, zu hören {drums[ist/sind]} {drums.ein}",
        "Den Rhythmus {drums[macht/machen]} {drums.ein}, einen Bass gibt es nicht",
        "Dazu {drums[kommt/kommen]} {drums.ein}, jedoch kein Bass",
        "Für den Rhythmus {drums[sorgt/sorgen]} {drums.ein} ganz ohne Bass",
    ),
    (False, False): (
        "Bass und Schlagzeug fehlen",
        "Weder Bass noch Schlagzeug spielen mit",
        "Das kommt ohne Bass und ohne Schlagzeug aus",
        "Eine Rhythmusgruppe gibt es nicht, weder Bass noch Schlagzeug",
        "Bass und Schlagzeug schweigen beide",
        "Es gibt keinen Bass und kein Schlagzeug",
        "Auf Bass und Schlagzeug wird verzichtet",
    ),
}
DYNAMICS = (
    "{wo} wird {level} gespielt",
    "Gespielt wird {wo} {level}",
    "Alles klingt {wo} {level}",
    "{wo} spielen alle {level}",
    "Die Musik erklingt {wo} {level}",
    "Das Ganze wird {wo} {level} vorgetragen",
    "{wo} geht man {level} zu Werke",
)
DYNAMICS_OF_PLACE = ("{ort.der} ist {level} gehalten", "{ort.der} wird {level} gespielt")
VOICES = (
    "Dazu spricht {voice.ein} einzelne Wörter",
    "{voice.ein} spricht darüber",
    "Über der Musik spricht {voice.ein}",
    "Außerdem hört man {voice.einen} sprechen",
    "Gesprochene Worte kommen von {voice.einem}",
    "Auch {voice.ein} ist zu hören, sprechend statt singend",
    "Gesprochen wird von {voice.einem}",
)
POINTERS = ("dort", "hier", "dabei", "da")

PLACES = {
    "intro": ("Intro:n", "Einleitung:f", "Vorspiel:n"),
    "verse": ("Strophe:f", "Vers:m"),
    "pre-chorus": ("Pre-Chorus:m", "Pre-Chorus-Teil:m"),
    "chorus": ("Refrain:m", "Chorus:m"),
    "post-chorus": ("Post-Chorus:m", "Post-Chorus-Teil:m"),
    "bridge": ("Bridge:f", "Bridge-Passage:f"),
    "interlude": ("Zwischenspiel:n", "Interludium:n"),
    "breakdown": ("Breakdown:m", "Breakdown-Teil:m"),
    "outro": ("Outro:n", "Coda:f", "Nachspiel:n"),
}
LABELS = {label: names[0].split(":")[0] for label, names in PLACES.items()}
PASSAGES = ("Abschnitt:m", "Passage:f", "Teil:m", "Musikpassage:f", "Ausschnitt:m", "Stück:n:Musik")
ORDINALS = ("erst", "zweit", "dritt", "viert", "fünft", "sechst", "siebt", "acht", "neunt", "zehnt")
NUMBERS = ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf")
TEMPOS = {  # stems
    "slow": ("langsam", "gemächlich", "ausgesprochen langsam", "niedrig"),
    "medium": ("mittler", "mäßig", "gemäßigt", "mäßig schnell"),
    "fast": ("schnell", "rasch", "zügig", "hoh"),
}
OPENINGS = (
    "Das Stück steht in {key}, hat ein {tempo}es Tempo und besteht aus {number} Abschnitten.",
    "Dieses Lied in {key} hat {number} Abschnitte und ein {tempo}es Tempo.",
    "Die Tonart ist {key}, das Tempo ein {tempo}es, und es folgen {number} Abschnitte aufeinander.",
    "In {key} und in einem {tempo}en Tempo durchläuft die Musik {number} Abschnitte.",
    "Ein Musikstück in {key} mit {number} Teilen, gespielt in einem {tempo}en Tempo.",
    "{number_first} Abschnitte hat dieses Stück, es steht in {key} und hat ein {tempo}es Tempo.",
    "Das Tempo ist ein {tempo}es, die Tonart {key}, und gegliedert ist das Lied in {number} Abschnitte.",
)
FORMS = (
    "Die Abfolge lautet {labels}.",
    "Nacheinander hört man {labels}.",
    "Der Ablauf ist folgender: {labels}.",
    "Der Reihe nach kommen {labels}.",
    "So ist es aufgebaut: {labels}.",
    "Die Form: {labels}.",
)
LEAD_LISTS = (
    "Als Melodieinstrumente treten insgesamt auf: {names}",
    "Die Soloinstrumente des Stücks sind {names}",
    "Melodien spielen im Lauf des Stücks {names}",
)
ACCOMPANIMENT_LISTS = (
    "An Begleitinstrumenten kommen vor: {names}",
    "In der Begleitung hört man nach und nach {names}",
    "Zur Begleitung dienen {names}",
)


def german_key(tags: Mapping[str, str]) -> str:
    """The key in German: B is H, major keys are written with a capital letter, minor keys with a small one."""
    tonic = tags["key"].replace("B", "H")
    return f"{tonic}-Dur" if tags["mode"] == "major" else f"{tonic.lower()}-Moll"


def _number(number: int) -> str:
    return NUMBERS[number] if number < len(NUMBERS) else str(number)


def place_name(place: Place, teller: Teller) -> GermanNoun:
    """What a section of a song is called."""
    noun = german_noun(teller.pick(PLACES[place.label]))
    if place.count == 1:
        return noun
    if place.number == place.count and teller.chance(0.4):
        return GermanNoun(noun.text, noun.gender, "letzt")
    ordinal = ORDINALS[place.number - 1] if place.number <= len(ORDINALS) else f"{place.number}."
    return GermanNoun(noun.text, noun.gender, ordinal)


def tell_section(
    tags: Mapping[str, str], place: GermanNoun, teller: Teller, before: Mapping[str, str] | None
) -> list[str]:
    """The sentences on one section, in one of several orders; `before` is not read."""
    words = choose(NAMES, tags, teller, german_noun)
    here, there = {**words, "wo": place.within, "ort": place}, {**words, "wo": teller.pick(POINTERS)}
    melodies = MELODY if words["lead"] else NO_MELODY
    opening_melodies = MELODY + MELODY_OF_PLACE if words["lead"] else NO_MELODY
    rhythm = teller.pick(RHYTHM[words["bass"] is not None, words["drums"] is not None]).format(**words)
    plan = teller.pick(("melody first", "dynamics first", "dynamics with rhythm", "dynamics after melody"))
    if plan == "dynamics first":
        sentences = [
            teller.pick(DYNAMICS + DYNAMICS_OF_PLACE).format(**here),
            teller.pick(melodies).format(**there),
            rhythm,
        ]
    elif plan == "dynamics with rhythm":
        dynamics = teller.pick(DYNAMICS).format(**there)
        sentences = [teller.pick(opening_melodies).format(**here), f"{rhythm}; {dynamics[0].lower()}{dynamics[1:]}"]
    elif plan == "dynamics after melody":
        sentences = [teller.pick(opening_melodies).format(**here), teller.pick(DYNAMICS).format(**there), rhythm]
    else:
        sentences = [teller.pick(opening_melodies).format(**here), rhythm, teller.pick(DYNAMICS).format(**there)]
    if "voice" in words:
        words["voice"] = german_noun(words["voice"])
        sentences.append(teller.pick(VOICES).format(**words))
    return sentences


def tell_opening(song: Mapping, teller: Teller) -> list[str]:
    """What is said of the whole song before its sections."""
    tags = song["sections"][0]["tags"]
    number = _number(len(song["sections"]))
    opening = teller.pick(OPENINGS).format(
        key=german_key(tags),
        tempo=teller.pick(TEMPOS[tags["tempo"]]),
        number=number,
        number_first=number[0].upper() + number[1:],
    )
    labels = enumerate_words([LABELS[section["label"]] for section in song["sections"]], last="und")
    return [opening, teller.pick(FORMS).format(labels=labels)]


def tell_closing(song: Mapping, teller: Teller) -> list[str]:
    """What is true of the song as a whole, which makes the text of a short song long enough."""
    sections = [section["tags"] for section in song["sections"]]
    sentences = []
    if len(sections) <= 6:
        for tag, frames in (("lead", LEAD_LISTS), ("accompaniment", ACCOMPANIMENT_LISTS)):
            found = list(dict.fromkeys(section[tag] for section in sections if section[tag] != "none"))
            if len(found) > 1:
                names = [_without_article(NAMES[tag][name][0]) for name in found]
                sentences.append(teller.pick(frames).format(names=enumerate_words(names, last="und")))
    if all(section["voice"] == "none" for section in sections):
        sentences.append(teller.pick(("Gesprochen wird nirgends", "Eine Sprechstimme kommt nicht vor")))
    return sentences


def _without_article(entry: str) -> str:
    noun = german_noun(entry)
    return noun.ein.removeprefix("eine ").removeprefix("ein ")


def query_prefix(tags: Mapping[str, str], teller: Teller) -> GermanNoun:
    """How a section is called where nothing is known of its song."""
    noun = german_noun(teller.pick(PASSAGES))
    return GermanNoun(noun.text, noun.gender, addition=noun.addition, demonstrative=True)
