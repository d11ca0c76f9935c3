"""Words that label an image without naming an organism: nothing in it, a person, a vehicle, work on the camera, not identified.

The one list of such words, in the languages of collections. Keys are made by :func:`word_key`: without case, accents and signs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

from bioclip_core.files.camera_folders import is_camera_folder
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
        senza animale|scatto a vuoto|falso scatto|tyhja|ei elainta|pusty|puste|brak zwierzat|brak zwierzecia|
        leeraufnahme|leeraufnahmen|leerbilder|leeres foto|nichts zu sehen|fehlbild|fehlbilder|fehlaufnahme|
        fehlaufnahmen|kein lebewesen|keines|keine|negative|negatives|negativ|nothing to see|nothing visible|
        not present|no fauna|no wildlife|ninguno|ninguna|ningún animal|ninguna especie|vacías|vacía|nada visible|
        sin fauna|sin especie|aucun|aucune|aucune espèce|vides|photos vides|images vides|rien à voir|
        déclenchement intempestif|pas d'espèce|nessuno|nessuna|nessun|vuoti|vuote|niente animali|senza animali|
        nenhum|nenhuma|vazios|vazias|nada visível|sem fauna|geen|leeg beeld|lege beelden|lege foto's|
        niets te zien|tomma bilder|ingen|inget|inget att se|tomme|tomme bilder|tomt bilde|tomt billede|ingen dyr|
        tyhjä|tyhjät|tyhjiä|tyhjä kuva|ei eläintä|ei eläimiä|ei mitään|pusta|puste zdjęcie|puste zdjęcia|brak|
        brak zwierząt|nic|prázdné|prázdný|üres|пусто|пустой|пустые|пустая|нет животных|ничего|порожньо|空|空白|
        空图|空照|无动物|無動物|空拍|なし|없음""",
    "person": """
        person|persons|people|human|humans|human being|man|men|woman|women|child|children|hiker|hikers|hunter|
        hunters|cyclist|cyclists|pedestrian|pedestrians|researcher|researchers|tourist|tourists|local people|mensch|
        menschen|personen|wanderer|jaeger|spaziergänger|spaziergaenger|radfahrer|mens|mensen|persoon|wandelaar|
        wandelaars|jager|fietser|människa|manniska|människor|manniskor|menneske|mennesker|personer|personne|
        personnes|humain|humains|homme|etre humain|randonneur|randonneurs|chasseur|chasseurs|persona|personas|
        humano|humanos|ser humano|gente|cazador|cazadores|senderista|pessoa|pessoas|caçador|cacador|umano|umani|
        uomo|persone|essere umano|cacciatore|escursionista|ihminen|ihmiset|czlowiek|ludzie|osoba|
        ciclista|ciclistas|ciclisti|cycliste|cyclistes|cykel|cyklist|cyklister|radfahrerin|spaziergängerin|
        promeneur|promeneurs|promeneuse|promeneuses|marcheur|marcheurs|randonneuse|femme|femmes|hommes|enfant|
        enfants|gens|chasseuse|mann|männer|frau|frauen|kind|kinder|jäger|jägerin|jogger|joggers|runner|runners|
        walker|walkers|forscher|besucher|passant|passants|fußgänger|leute|fietsers|wandelaarster|jagers|vandrare|
        jägare|syklist|turgåer|jeger|mand|kvinna|kvinne|hombre|hombres|mujer|mujeres|niño|niños|caminante|
        caminantes|excursionista|senderistas|peatón|turista|turistas|turisti|caçadores|homem|homens|mulher|
        caminhante|caminhantes|donna|donne|uomini|escursionisti|cacciatori|passante|pyöräilijä|metsästäjä|
        kulkija|ihmisiä|człowiek|rowerzysta|myśliwy|turyści|člověk|ember|insan|человек|люди|людина|人|人类|人類|行人|人間|
        사람""",
    "vehicle": """
        vehicle|vehicles|car|cars|truck|trucks|motorcycle|motorcycles|motorbike|motorbikes|atv|quad bike|bicycle|
        bicycles|tractor|tractors|snowmobile|boat|fahrzeug|fahrzeuge|auto|autos|lkw|pkw|fahrrad|motorrad|traktor|
        voertuig|voertuigen|fiets|fordon|bil|bilar|kjøretøy|kjoretoy|køretøj|koeretoej|vehicule|vehicules|voiture|
        voitures|camion|camions|velo|moto|vehiculo|vehiculos|coche|coches|carro|camioneta|bicicleta|motocicleta|
        veiculo|veiculos|caminhão|caminhao|veicolo|veicoli|macchina|automobile|bici|ajoneuvo|auto ajoneuvo|pojazd|
        samochod|
        vehículo|vehículos|véhicule|véhicules|velo|vélo|vélos|motos|tracteur|quad|quads|scooter|bikes|bike|buggy|
        lorry|van|vans|train|lastwagen|mofa|fahrräder|motorräder|trekker|vrachtwagen|motorfiets|bromfiets|bilen|
        traktori|lastbil|motorsykkel|sykkel|tractores|camiones|trator|tratores|carros|motos|veículo|veículos|
        bicicletas|trattore|trattori|biciclette|moto da cross|automobili|pyörä|polkupyörä|samochód|pojazdy|rower|
        автомобиль|машина|车|车辆|車|車両|차량""",
    "unidentifiable": """
        unidentifiable|unidentified|unident|unknown|unknowns|unknown animal|unknown species|indet|indeterminate|
        undetermined|unclassifiable|unrecognisable|unrecognizable|cannot tell|cannottell|cannot identify|cant tell|
        not identifiable|not identified|not sure|unsure|uncertain|?|unbekannt|unbestimmt|unbestimmbar|unklar|
        nicht bestimmbar|nicht erkennbar|nicht identifizierbar|onbekend|niet te bepalen|onherkenbaar|onduidelijk|
        okänd|okand|oidentifierad|obestämd|obestamd|ukjent|ukendt|uidentificeret|inconnu|inconnue|indetermine|
        indeterminee|non identifie|non identifiable|desconocido|desconocida|indeterminado|indeterminada|
        no identificado|no identificable|desconhecido|desconhecida|não identificado|nao identificado|sconosciuto|
        sconosciuta|non identificato|indeterminato|tuntematon|nieznany|nieznane|nieokreslony|
        unidentifiables|unclassified|unlabelled|unlabeled|unassigned|not in label set|not in the label set|
        not in list|not classified|no id|no idea|not known|dont know|don't know|unsure|maybe|undet|
        undetermined species|unident animal|unknown bird|unknown mammal|tbd|to be determined|unbekannte|
        unbekannter|unbekanntes|unbekanntes tier|unbestimmte|unbestimmtes|unbestimmbare|nicht bestimmt|
        nicht bestimmbare|unsicher|weiß nicht|keine ahnung|fraglich|onbekende|onbekend dier|onbepaald|onzeker|
        twijfel|niet herkend|okända|okänt|okänt djur|osäker|oklart|usikker|ukjente|ukendte|inconnus|inconnues|
        indéterminé|indéterminée|indéterminés|indéterminable|indéterminables|non identifié|non identifiée|
        non identifiés|incertain|incertaine|je ne sais pas|desconocidos|desconocidas|indeterminados|
        sin identificar|sin determinar|no identificada|no identificados|no se sabe|dudoso|dudosa|incierto|
        desconhecidos|desconhecidas|indeterminados|sem identificação|não identificada|não identificados|duvidoso|
        incerto|incerta|ignoto|ignota|ignoti|ignote|sconosciuti|non identificata|non identificati|
        non identificabile|non determinato|indeterminata|indeterminati|dubbio|tuntemattomat|tunnistamaton|
        epävarma|nieznana|nieznany gatunek|nieoznaczony|nieoznaczone|niepewny|neznámý|ismeretlen|bilinmiyor|
        неизвестно|неизвестный|неизвестная|не определено|невідомо|未知|不明|未识别|不確定|알수없음""",
    "work": """
        setup|set up|set-up|setup pickup|pickup|pick up|start|end|start end|camera check|camera test|test|
        test image|test images|test photo|calibration|checkerboard|installation|deployment|retrieval|service|
        servicing|maintenance|camera malfunction|malfunction|camera error|error|corrupt|corrupted|broken|problem|
        problems|ignore|ignored|exclude|excluded|reject|rejected|delete|deleted|blurred|blurry|blur|too dark|
        overexposed|underexposed|foggy lens|lens obscured|time lapse|timelapse|timelapse image|kameratest|aufbau|
        abbau|einrichtung|testbild|unscharf|defekt|fehler|proefopname|testfoto|onscherp|storing|kamera|
        kamerakontroll|essai|installation camera|controle|floue|flou|prueba|instalacion|instalación|revision|
        borroso|borrosa|teste|instalação|instalacao|desfocado|prova|installazione|sfocato|sfocata|
        leerlauf|blurry images|unscharfe bilder|kaputt|gelöscht|löschen|aufhängen|abhängen|montage|démontage|
        maintenance caméra|corrompu|pruebas|mantenimiento|manutenção|manutenzione|onderhoud|huolto|test pictures|
        testbilder|testfotos|probebild|probebilder|overexposure""",
}  # fmt: skip
# Words that name a folder by its use, in the same languages: of cameras, heaps, things to do, places and months.
_OF_FOLDERS = """
    dcim|img|imgs|image|images|photo|photos|picture|pictures|pics|foto|fotos|bild|bilder|video|videos|film|filme|media|medien|
    data|daten|dataset|datasets|donnees|datos|dati|raw|rohdaten|files|file|dateien|jpg|jpeg|png|tif|tiff|misc|miscellaneous|other|
    others|unsorted|sorted|sort|sortiert|sortieren|unsortiert|to sort|trier|a trier|ordenar|check|checked|to check|todo|to do|
    done|erledigt|new|neu|neue|nouveau|nuevo|nuova|nuovo|novo|nieuw|ny|new folder|neuer ordner|nouveau dossier|nueva carpeta|
    nuova cartella|nova pasta|nieuwe map|folder|folders|ordner|dossier|carpeta|cartella|map|mapp|mappe|kansio|pasta|untitled|temp|
    tmp|old|alt|ancien|viejo|vecchio|velho|oud|backup|backups|sicherung|copy|copie|copia|kopie|kopia|kopio|export|exports|exporte|
    import|imports|output|input|upload|uploads|download|downloads|results|ergebnisse|resultats|resultados|risultati|trash|
    papierkorb|poubelle|corbeille|papelera|cestino|lixeira|prullenbak|papperskorg|papirkurv|roskakori|kosz|bin|recycle bin|
    sonstiges|sonstige|andere|anderes|diverse|diverses|divers|diversi|rest|reste|restos|resto|varia|varie|various|verschiedenes|
    autre|autres|otro|otros|otra|otras|altro|altri|altra|altre|outro|outros|outra|outras|overig|overige|andra|annat|annet|andre|
    ovriga|muut|muu|inne|site|sites|standort|standorte|station|stations|location|locations|place|ort|orte|lieu|lieux|lugar|sitio|
    sitios|luogo|plot|plots|transect|deployment|deployments|camera|cameras|cam|cams|kameras|camara|camaras|fototrappola|fotofalle|
    fotofallen|wildkamera|wildkameras|camera trap|camera traps|survey|session|visit|project|projekt|projet|proyecto|progetto|
    projeto|forest|wald|foret|bosque|bosco|floresta|bos|skog|las|meadow|wiese|field|north|south|east|west|nord|sud|ost|norte|sur|
    este|oeste|oost|zuid|noord|training|train|val|validation|test|testing|valid|label|labels|unlabelled images|selection|auswahl|
    best|favorites|favoriten|sample|samples|example|examples|beispiel|beispiele|species|art|arten|especies|animals and plants|all|
    alle|tous|todos|tutti|day|night|tag|nacht|january|february|march|april|may|june|july|august|september|october|november|
    december|jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec|januar|jänner|februar|märz|mai|juni|juli|oktober|dezember|okt|dez|
    janvier|fevrier|mars|avril|juin|juillet|aout|septembre|octobre|novembre|decembre|enero|febrero|marzo|abril|mayo|junio|julio|
    agosto|septiembre|setiembre|octubre|noviembre|diciembre|gennaio|febbraio|aprile|maggio|giugno|luglio|settembre|ottobre|
    dicembre|janeiro|fevereiro|março|maio|junho|julho|setembro|outubro|novembro|dezembro|januari|februari|maart|mei|augustus|maj|
    augusti|desember|tammikuu|helmikuu|maaliskuu|huhtikuu|toukokuu|kesakuu|heinakuu|elokuu|syyskuu|lokakuu|marraskuu|joulukuu|
    styczen|luty|marzec|kwiecien|czerwiec|lipiec|sierpien|wrzesien|pazdziernik|listopad|grudzien|spring|summer|autumn|winter|
    fruehling|sommer|herbst|printemps|ete|automne|hiver|primavera|verano|otono|invierno|estate|autunno|inverno"""
# These are genera too.
_GENERA_TOO = frozenset("bos alle mars mus data media".split())
_PUNCTUATION = re.compile(r"[\s_\-./,;:!'’\"()\[\]#*]+")
_LETTERED = re.compile(r" (?:[a-z]|\d+[a-z]?|[a-z]\d+)$|(?<=[a-z])\d+$")
_COUNTED = re.compile(r"^(?:\d{1,3}\s*x?\s+)|(?:\s+x?\s*\d{1,3})$")


def word_key(text: str) -> str:
    """Return a text without case, accents, underscores and punctuation: "Set-Up_pickup" is ``set up pickup``."""
    return " ".join(latin(word) for word in _PUNCTUATION.sub(" ", text.strip().lower()).split())


_LETTERS_LOST = str.maketrans({"ß": "ss", "ł": "l", "ı": "i", "ø": "o", "đ": "d", "æ": "a"})


def plain_key(text: str) -> str:
    """Return :func:`word_key` of a text whose accents were dropped, not written out: "tyhjä" is ``tyhja``."""
    if text.isascii():
        return word_key(text)
    letters = unicodedata.normalize("NFKD", text.lower().translate(_LETTERS_LOST))
    return word_key("".join(letter for letter in letters if not unicodedata.combining(letter)))


def _keys(words: str) -> Iterator[str]:
    for word in " ".join(words.split()).split("|"):
        yield from dict.fromkeys((word_key(word) or word.strip(), plain_key(word) or word.strip()))


_KINDS: dict[str, VerdictWord] = {key: kind for kind, words in reversed(_WORDS.items()) for key in _keys(words) if key}
_FOLDERS = frozenset(key for key in _keys(_OF_FOLDERS) if key and key not in _KINDS) - _GENERA_TOO


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
    return next((kind for key in _forms(text) if (kind := _KINDS.get(key))), None)


def is_folder_word(text: str) -> bool:
    """True for a word that names a folder by its use, with a number or a letter beside it or not, and for a camera's folder.

    >>> is_folder_word("DCIM"), is_folder_word("CAM_A"), is_folder_word("Papierkorb"), is_folder_word("Quercus")
    (True, True, True, False)
    """
    if is_camera_folder(text.strip().replace(" ", "_")):
        return True
    return any(form in _FOLDERS or _LETTERED.sub("", form) in _FOLDERS for form in _forms(text))


def _forms(text: str) -> Iterator[str]:
    """Yield the keys under which a text may be in a list."""
    for key in dict.fromkeys((word_key(text) or text.strip(), plain_key(text))):
        yield from (key, _COUNTED.sub("", key), key.replace(" ", ""))
