"""Words of names that are neither genus nor epithet: ranks, doubts, particles of authors, remarks and placeholders.

All words are in lower case and without their full stop.
"""

from __future__ import annotations

INFRASPECIFIC = frozenset(
    "subsp ssp sssp nsubsp nvar sbsp subspec subspecies nothosubsp nothossp nssp var variety varietas v nothovar nvar nothovariety "
    "subvar subvariety convar f fo fa forma form nothof nothoforma nothomorph nm subf subform subforma sf morph morpha m mut ab aberr "
    "aberration race natio nat prol proles lusus stirps pv pathovar bv biovar chemovar st fm fma ecotype agamosp agamossp agamovar α "
    "β γ δ ε".split()
)
"""Words that announce a name below the species."""
INFRAGENERIC = frozenset(
    "subgen subgenus subg sect section sectio subsect subsection ser series subser subseries trib tribe tribus subtrib subtribe "
    "supertrib supersect nothosect nothosubg nothoser nothosubgen nothosubsect suprasect tr subtr div unr subfam".split()
)
"""Words that announce a name between genus and species, or below the family."""
DOUBT = {
    **dict.fromkeys("cf cfr cff confer compare".split(), "cf."),
    **dict.fromkeys("aff affin".split(), "aff."),
    **dict.fromkeys("nr near".split(), "nr."),
    "either": "or", "prox": "prox.", "prope": "prope", "ex gr": "ex gr.",
}  # fmt: skip
"""Words that make the name behind them uncertain, with the form in which a name states its doubt."""
UNCERTAIN = frozenset(
    "probably prob possibly poss perhaps maybe presumably presumed likely tentative tentatively uncertain doubtful doubtfully dubious "
    "questionable unsure vermutlich wahrscheinlich evtl eventuell wohl fraglich unsicher probablement".split()
)
"""Words of a remark that make the whole name uncertain."""
OR = frozenset("or vel oder ou seu sive vs versus and/or".split())
"""Words between two names of which one is right."""
AND = frozenset("and et und & + with mit avec".split())
"""Words between two names that were found together, and between two authors."""
UNNAMED_SPECIES = frozenset(
    "unassigned unclassified unplaced unranked bacterium cyanobacterium proteobacterium archaeon metagenome environmental enrichment "
    "uncultured sp spp spec specs species spec. sps indet indeterm indeterminate indetermined undet undetermined undetermin unident "
    "unidentified unknown unspecified undescribed unnamed unbestimmt unbekannt inc undiff undifferentiated morphospecies morphosp msp "
    "morphotype taxon otu nov gen incertae inc.sed bold".split()
)
"""Words in the place of an epithet that nobody gave."""
AGGREGATE = frozenset(
    "agg aggr aggregate group grp gr gruppe groep groupe komplex complex cplx cpx superspecies grex coll".split()
)
"""Words behind a name that stands for a group of like species."""
HYBRID_WORDS = frozenset("hybrid hybrids hybr hyb hybride intergrade intergrades".split())
PARTICLES = frozenset(
    "de da do das dos del della delle dei degli dela der den dem des di du la le les los las lo van von vom vander vanden ten ter te "
    "tot op aan af av auf zu zum zur y e i san st saint in ex et and und al bin ibn el mac fitz auct auctt auctorum non not nec neque "
    "nom sensu hort hortorum emend em apud ap sec secundum fide bis fil pro of by et. within".split()
)
"""Lower-case words of authorships."""
CUT = frozenset(
    "det dét determ determined determinavit leg legit coll collected conf confirmed confirmavit rev revised revid vid vidit ver "
    "verified teste ident id identified identification ded don ex.herb herb incl including excl excluding no nr. # syn synonym = == ≡ "
    "as".split()
)
"""Words behind a name that begin a remark about the specimen: nothing after them belongs to the name."""
TYPES = frozenset(
    "type types typus holotype paratype paratypes isotype syntype syntypes lectotype paralectotype neotype cotype allotype topotype "
    "epitype isolectotype paratypus holotypus".split()
)
REMARKS = frozenset(
    "male males female females juv juvenile juveniles imm immature ad adult adults subadult larva larvae pupa pupae egg eggs ova nest "
    "nymph imago worker workers queen queens soldier drone seedling seedlings sapling sterile fertile dead alive skull skeleton skin "
    "tracks roadkill cult cultivated wild introduced escaped feral domestic domesticated breed strain isolate clone str serovar "
    "serotype ined nomen nov comb stat new ms mss msc sic ssp. sl ss lato stricto str. lat partim pp part mihi nob nobis anon illeg "
    "inval nud cons rej dub oblit superfl specimen specimens ex individual individuals photo only plate fig kept sample samples sensu "
    "cv cultivar cultivars mosaic cell line clade lineage haplotype haplogroup".split()
)
"""Words behind a name that say something of the specimen or of the name itself; none of them is an epithet."""
VIRUSES = frozenset(
    "virus viruses phage phages viroid viroids virion virions prion prions npv mnpv snpv bacteriophage bacteriophages symbiont "
    "symbionts endosymbiont phytoplasma plasmid".split()
)

PLACEHOLDERS = frozenset(
    "unknown null none nan n/a na n.a. n.a not_classified unidentified undetermined indet indet. unassigned sp sp. spp spp. ? - ?? ??? -- "
    "--- n.d. nd tbd #n/a #ref! #name? . .. ... / ---- missing".split()
)
"""Whole cells that mean "empty", in any column."""
# First words of a cell that names no taxon. None of them is the name of a genus.
_NO_NAME = frozenset(
    "unknown unidentified unident undetermined undet undetermin unassigned unclassified unplaced unranked unnamed undescribed "
    "unspecified unsorted unresolved unrecognised unrecognized undefined indet indetermined indeterminate indetermine indéterminé "
    "indéterminée unbekannt unbestimmt inconnu inconnue onbekend okänd ukendt ukjent desconocido desconocida indeterminado "
    "indeterminada sconosciuto incertae incertæ incertaesedis none nothing no not nicht kein keine non sin sans nao não nul null nan "
    "na n/a n.a. nd n.d. tbd tba various diverse mixed mixture miscellaneous misc several multiple many other others any anything "
    "something nil nichts rien geen ingen sp spp spec species art espèce specie especie genus gen gattung genre género genero empty "
    "blank missing test dummy xxx xx unaccepted unclassed n.n nn delete deleted tobedeleted uncultured environmental metagenome "
    "synthetic artificial unspec clade see to ? ?? ??? temp temporary incomplete illegible unreadable unlabelled unlabeled nomen "
    "candidate otu asv motu bin bold".split()
)
_GROUPS = frozenset(
    "animal animals plant plants fungus insect insects bug bugs beetle beetles moth moths butterfly butterflies fly flies bee bees "
    "wasp wasps ant ants spider spiders mite mites worm worms snail snails bird birds duck ducks gull gulls fish fishes frog frogs "
    "toad snake lizard mammal mammals bat bats rodent mouse rat shrew deer tree trees shrub herb grass grasses moss mosses fern ferns "
    "lichen lichens alga algae seaweed mushroom mushrooms crab shrimp shell shells leaf leaves flower flowers seed seeds larva larvae "
    "egg eggs".split()
)
_RANK_WORDS = frozenset(
    "kingdom phylum division class order ordo ordnung family familia familie famille fam genus gen gattung subfamily subfam "
    "superfamily suborder infraorder subclass classis klasse tribe".split()
)
NO_NAME, GROUP, RANK, TYPE, CANDIDATE, SUBGENUS = "no name", "group", "rank", "type", "candidate", "subgenus"
FIRST: dict[str, str] = {
    **dict.fromkeys(INFRAGENERIC, SUBGENUS), **dict.fromkeys(_NO_NAME, NO_NAME), **dict.fromkeys(_GROUPS, GROUP),
    **dict.fromkeys(_RANK_WORDS, RANK), **dict.fromkeys(TYPES, TYPE), "candidatus": CANDIDATE, "ca": CANDIDATE,
}  # fmt: skip
"""Kind of a first word that is not a genus."""
HIGHER_ENDINGS = ("idae", "aceae", "inae", "oidea", "ales", "iformes", "optera", "mycetes", "phyta", "mycota", "opsida")
"""Endings of names above the genus."""

NOT_PLAIN = frozenset().union(
    INFRASPECIFIC, INFRAGENERIC, DOUBT, UNCERTAIN, OR, AND, UNNAMED_SPECIES, AGGREGATE, HYBRID_WORDS, PARTICLES, CUT, TYPES, REMARKS,
    VIRUSES, "ined".split(),
)  # fmt: skip
"""Lower-case words that are not epithets."""
SURNAMES = frozenset(
    "linnaeus fabricius retzius marcus paulus magnus titus brunnichius gunnerus walbaum garcia costa silva lima sousa souza moura "
    "mello vieira ferreira pereira rivera herrera spinola curtis harris lewis davis morris willis ellis ishii fujii torii yoshii "
    "dallas nicolas thomas rossi bonelli scopoli wallace latreille".split()
)
"""Names of authors that look like epithets."""
COMPOUND_FIRST = frozenset(
    "pseudo filix bursa noli vitis uva ruta crus pes nidus flos novae novi sancti sanctae terrae morsus ros lacryma lacrima vesica".split()
)
"""First words of epithets of two words ("filix femina"), which are never an epithet alone."""
COMPOUNDS = frozenset(
    ("plantago aquatica", "speculum veneris", "pecten veneris", "caput medusae", "caput galli", "caput bovis", "barba jovis", "barba aron",
     "spina christi", "ficus indica", "cornu cervi", "cornu damae", "lingua cervina", "umbilicus veneris", "unguis cati",
     "oculus christi",
     "virga aurea", "dens canis",
     "dens leonis", "rosa sinensis", "regis jubae")
)  # fmt: skip
"""Epithets of two words whose first word may also be an epithet alone. Both kinds are joined with a hyphen."""
NUMERALS = {
    "1": "uni", "2": "bi", "3": "tri", "4": "quadri", "5": "quinque", "6": "sex", "7": "septem", "8": "octo", "9": "novem", "10": "decem",
    "11": "undecim", "12": "duodecim", "13": "tredecim", "14": "quatuordecim", "15": "quindecim", "16": "sedecim", "17": "septendecim",
    "18": "octodecim", "19": "novemdecim", "20": "viginti", "21": "vigintiuno", "22": "vigintiduo", "23": "vigintitre",
    "24": "vigintiquatuor", "25": "vigintiquinque", "26": "vigintisex", "27": "vigintiseptem", "28": "vigintiocto", "29": "vigintinovem",
    "30": "triginta", "31": "trigintauno", "32": "trigintaduo", "38": "trigintaocto", "40": "quadraginta", "100": "centum",
}  # fmt: skip
"""Numbers at the beginning of an epithet as the zoological code spells them (Article 32.5.2.6)."""
