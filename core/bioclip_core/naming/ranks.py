"""Names of ranks in the languages of collections, and the rank of the seven that holds each."""

from __future__ import annotations

from functools import lru_cache

_WORDS = {
    "kingdom": "regnum reich règne regne reino regno rijk rike",
    "phylum": "divisio division stamm embranchement filo divisão afdeling rekke stam",
    "class": "classis klasse classe clase klass cl",
    "order": "ordo ordnung ordre orden ordem ordine orde ordning ord",
    "family": "familia familie famille família famiglia familj fam",
    "subfamily": "subfamilia unterfamilie subfam",
    "tribe": "tribus trib",
    "genus": "gen nothogenus gattung genre género genero gênero genere geslacht släkte slekt g",
    "subgenus": "subgen subg untergattung sous-genre subgénero nothosubgenus",
    "section": "sect sectio sektion",
    "species": "sp spec spp nothospecies nothosp art espèce espece especie espécie specie soort arter laji s",
    "subspecies": "ssp subsp nothosubspecies unterart sous-espèce subespecie subespécie ondersoort infraspecies infraspecificname",
    "variety": "var varietas varietät variété variedad varietà",
    "form": "f forma forme",
    "aggregate": "agg speciesaggregate speciesgroup speciescomplex complex superspecies aggregat artengruppe",
}
_NAMES = {word: name for name, words in _WORDS.items() for word in words.split()}
_HELD_BY = {
    "kingdom": "subkingdom infrakingdom", "phylum": "subphylum infraphylum superclass subdivision",
    "class": "subclass infraclass superorder cohort megaorder", "order": "suborder infraorder parvorder superfamily",
    "family": "subfamily supertribe tribe subtribe", "genus": "subgenus section subsection series subseries",
    "species": "subspecies variety subvariety form subform aggregate cultivar race morph aberration hybrid convariety",
}  # fmt: skip
_HELD = {word: name for name, words in _HELD_BY.items() for word in (name, *words.split())}


@lru_cache(maxsize=1000)
def rank_named(word: str) -> str:
    """Return a rank's word in lower case; abbreviations and words of other languages in English.

    >>> rank_named("Gattung"), rank_named("SUBSP."), rank_named("species group")
    ('genus', 'subspecies', 'aggregate')
    """
    plain = word.strip().lower().rstrip(".").replace("_", " ")
    return _NAMES.get(plain) or _NAMES.get(plain.replace(" ", ""), plain)


def holding_rank(word: str) -> str:
    """Return the lowest of the seven ranks that a taxon of a rank belongs to or is; empty for an unknown word.

    >>> holding_rank("tribe"), holding_rank("genus"), holding_rank("unranked")
    ('family', 'genus', '')
    """
    return _HELD.get(rank_named(word), "")


_KNOWN = {
    "kingdom": "animalia plantae fungi chromista protozoa bacteria archaea viruses metazoa viridiplantae archaeplastida chloroplastida",
    "phylum": "annelida arthropoda bryozoa chordata cnidaria ctenophora echinodermata mollusca nematoda platyhelminthes porifera rotifera "
    "tardigrada",
    "class": "insecta mammalia aves reptilia amphibia actinopterygii actinopteri chondrichthyes arachnida malacostraca gastropoda bivalvia "
    "cephalopoda magnoliopsida liliopsida pinopsida polypodiopsida",
    "order": "coleoptera lepidoptera diptera hymenoptera hemiptera orthoptera neuroptera trichoptera plecoptera ephemeroptera thysanoptera "
    "mecoptera megaloptera dermaptera siphonaptera odonata blattodea araneae carnivora rodentia chiroptera primates artiodactyla squamata "
    "anura caudata decapoda",
}  # fmt: skip
_RANK_OF_NAME = {name: rank for rank, names in _KNOWN.items() for name in names.split()}
# Endings of families and orders in the codes of nomenclature. Names of kingdoms and phyla have none of their own.
_ENDINGS = (("idae", "family"), ("aceae", "family"), ("iformes", "order"), ("ales", "order"), ("optera", "order"),
            ("opsida", "class"), ("mycetes", "class"), ("phyta", "phylum"), ("mycota", "phylum"))  # fmt: skip


def rank_by_name(name: str) -> str:
    """Return the rank of a well-known name above the genus, or the one that its ending tells; empty without either.

    >>> rank_by_name("Insecta"), rank_by_name("Sapindaceae"), rank_by_name("Acer")
    ('class', 'family', '')
    """
    low = name.lower()
    return _RANK_OF_NAME.get(low) or next((rank for ending, rank in _ENDINGS if low.endswith(ending)), "")
