"""Words that label an image without naming an organism: nothing in it, a person, a vehicle, work on the camera, not identified.

The one list of such words, in the languages of collections. Keys are made by :func:`word_key`: without case, accents and signs.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from bioclip_core.naming.spelling import latin

VerdictWord = Literal["blank", "person", "vehicle", "unidentifiable", "work"]
"""``work`` is work on the camera and images without use: set-up, pick-up, tests, blurred and broken images."""

MEANINGS: dict[VerdictWord, str] = {
    "blank": "an image without an organism", "person": "a person", "vehicle": "a vehicle",
    "unidentifiable": "an organism that was not identified", "work": "work on the camera, or an image without use",
}  # fmt: skip

# German, Dutch, Scandinavian, French, Spanish, Portuguese, Italian, Finnish and Polish words follow the English ones.
_WORDS: dict[VerdictWord, str] = {
    "blank": """
        blank|blanks|blank image|blank images|empty|empties|empty image|empty images|empty frame|nothing|
        nothing here|no animal|no animals|noanimal|no species|no organism|none present|absent|absence|misfire|
        misfires|false trigger|false triggers|falsetrigger|false positive|false positives|ghost|background|
        backgrounds|vegetation|wind|moving vegetation|no object|no detection|no detections|no cv result|
        no cv results|leer|leeres bild|leerbild|leere|nichts|kein tier|keine tiere|ohne tier|fehlauslösung|
        fehlausloesung|fehlalarm|hintergrund|leeg|lege foto|niets|geen dier|geen dieren|loos alarm|valse trigger|
        tom|tomt|tomma|tom bild|ingenting|inget djur|inga djur|intet dyr|ingen dyr|intet|vide|image vide|photo vide|
        rien|aucun animal|pas d animal|pas animal|sans animal|faux declenchement|vacio|vacia|vacios|imagen vacia|
        foto vacia|nada|sin animal|sin animales|ningun animal|falso disparo|falso positivo|vazio|vazia|imagem vazia|
        sem animal|sem animais|nenhum animal|disparo falso|vuoto|vuota|immagine vuota|niente|nulla|nessun animale|
        senza animale|scatto a vuoto|falso scatto|tyhja|ei elainta|pusty|puste|brak zwierzat|brak zwierzecia""",
    "person": """
        person|persons|people|human|humans|human being|man|men|woman|women|child|children|hiker|hikers|hunter|
        hunters|cyclist|cyclists|pedestrian|pedestrians|researcher|researchers|tourist|tourists|local people|mensch|
        menschen|personen|wanderer|jaeger|spaziergänger|spaziergaenger|radfahrer|mens|mensen|persoon|wandelaar|
        wandelaars|jager|fietser|människa|manniska|människor|manniskor|menneske|mennesker|personer|personne|
        personnes|humain|humains|homme|etre humain|randonneur|randonneurs|chasseur|chasseurs|persona|personas|
        humano|humanos|ser humano|gente|cazador|cazadores|senderista|pessoa|pessoas|caçador|cacador|umano|umani|
        uomo|persone|essere umano|cacciatore|escursionista|ihminen|ihmiset|czlowiek|ludzie|osoba""",
    "vehicle": """
        vehicle|vehicles|car|cars|truck|trucks|motorcycle|motorcycles|motorbike|motorbikes|atv|quad bike|bicycle|
        bicycles|tractor|tractors|snowmobile|boat|fahrzeug|fahrzeuge|auto|autos|lkw|pkw|fahrrad|motorrad|traktor|
        voertuig|voertuigen|fiets|fordon|bil|bilar|kjøretøy|kjoretoy|køretøj|koeretoej|vehicule|vehicules|voiture|
        voitures|camion|camions|velo|moto|vehiculo|vehiculos|coche|coches|carro|camioneta|bicicleta|motocicleta|
        veiculo|veiculos|caminhão|caminhao|veicolo|veicoli|macchina|automobile|bici|ajoneuvo|auto ajoneuvo|pojazd|
        samochod""",
    "unidentifiable": """
        unidentifiable|unidentified|unident|unknown|unknowns|unknown animal|unknown species|indet|indeterminate|
        undetermined|unclassifiable|unrecognisable|unrecognizable|cannot tell|cannottell|cannot identify|cant tell|
        not identifiable|not identified|not sure|unsure|uncertain|?|unbekannt|unbestimmt|unbestimmbar|unklar|
        nicht bestimmbar|nicht erkennbar|nicht identifizierbar|onbekend|niet te bepalen|onherkenbaar|onduidelijk|
        okänd|okand|oidentifierad|obestämd|obestamd|ukjent|ukendt|uidentificeret|inconnu|inconnue|indetermine|
        indeterminee|non identifie|non identifiable|desconocido|desconocida|indeterminado|indeterminada|
        no identificado|no identificable|desconhecido|desconhecida|não identificado|nao identificado|sconosciuto|
        sconosciuta|non identificato|indeterminato|tuntematon|nieznany|nieznane|nieokreslony""",
    "work": """
        setup|set up|set-up|setup pickup|pickup|pick up|start|end|start end|camera check|camera test|test|
        test image|test images|test photo|calibration|checkerboard|installation|deployment|retrieval|service|
        servicing|maintenance|camera malfunction|malfunction|camera error|error|corrupt|corrupted|broken|problem|
        problems|ignore|ignored|exclude|excluded|reject|rejected|delete|deleted|blurred|blurry|blur|too dark|
        overexposed|underexposed|foggy lens|lens obscured|time lapse|timelapse|timelapse image|kameratest|aufbau|
        abbau|einrichtung|testbild|unscharf|defekt|fehler|proefopname|testfoto|onscherp|storing|kamera|
        kamerakontroll|essai|installation camera|controle|floue|flou|prueba|instalacion|instalación|revision|
        borroso|borrosa|teste|instalação|instalacao|desfocado|prova|installazione|sfocato|sfocata""",
}  # fmt: skip
_PUNCTUATION = re.compile(r"[\s_\-./,;:!'’\"()\[\]#*]+")
_COUNTED = re.compile(r"^(?:\d{1,3}\s*x?\s+)|(?:\s+x?\s*\d{1,3})$")


def word_key(text: str) -> str:
    """Return a text without case, accents, underscores and punctuation: "Set-Up_pickup" is ``set up pickup``."""
    return " ".join(latin(word) for word in _PUNCTUATION.sub(" ", text.strip().lower()).split())


_KINDS: dict[str, VerdictWord] = {
    key: kind
    for kind, words in _WORDS.items()
    for word in " ".join(words.split()).split("|")
    if (key := word_key(word) or word.strip())
}


def is_verdict_word(plain: str) -> bool:
    """True if a text of plain letters is such a word: as :func:`verdict_of_word`, but quicker."""
    low = plain.lower()
    return low in _KINDS or low.replace(" ", "") in _KINDS


@lru_cache(4096)
def verdict_of_word(text: str) -> VerdictWord | None:
    """Return the verdict that a whole cell or folder name means, with a number beside it or not; None for other text.

    >>> verdict_of_word("Leer"), verdict_of_word("Setup_pickup"), verdict_of_word("2 people"), verdict_of_word("Acer")
    ('blank', 'work', 'person', None)
    """
    key = word_key(text) or text.strip()
    return _KINDS.get(key) or _KINDS.get(_COUNTED.sub("", key)) or _KINDS.get(key.replace(" ", ""))
