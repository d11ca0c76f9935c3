"""Words of common names in the languages of collections, by which a common name is told from a scientific one.

None of them is a genus, and none of the nouns is an epithet: "lynx", "bison" and "zebra" are left out for this reason. All are without
case and accents, as :func:`bioclip_core.naming.verdict_words.word_key` writes them.
"""

from __future__ import annotations

from bioclip_core.naming.verdict_words import word_key


def _set(*texts: str) -> frozenset[str]:
    return frozenset(word_key(word) for text in texts for word in text.split())


_ENGLISH = _set(
    """animal animals mammal mammals bird birds reptile reptiles amphibian amphibians fish fishes insect insects rodent
    rodents carnivore herbivore ungulate predator raptor songbird waterfowl wildlife plant plants tree trees
    flower grass herb shrub fern moss lichen mushroom fungus fox foxes wolf wolves jackal coyote coyotes dog
    dogs puppy cat cats kitten bobcat wildcat lion lions tiger tigers leopard leopards cheetah jaguar cougar
    ocelot margay panther bear bears badger badgers otter otters weasel weasels stoat ermine polecat ferret mink
    marten martens fisher wolverine skunk skunks raccoon raccoons coati kinkajou ringtail mongoose meerkat hyena
    civet genet seal walrus manatee deer fawn doe stag buck elk moose reindeer caribou antelope antelopes
    gazelle impala eland wildebeest gnu hartebeest waterbuck bushbuck reedbuck springbok steenbok duiker dikdik
    klipspringer buffalo buffaloes cattle cow cows calf bull ox oxen yak sheep lamb ram ewe goat goats chamois
    mouflon horse horses pony donkey mule pig pigs boar boars hog hogs swine peccary warthog bushpig camel llama
    alpaca giraffe elephant elephants rhino rhinoceroses hippo tapirs hare hares rabbit rabbits cottontail
    jackrabbit pika squirrel squirrels chipmunk marmot groundhog woodchuck gopher beaver beavers muskrat
    porcupine porcupines vole voles lemming mouse mice rat rats hamster dormouse hedgehog hedgehogs mole moles
    shrew shrews bat bats monkey monkeys baboon baboons chimpanzee chimp macaque mangabey ape kangaroo kangaroos
    wallaby wombat koala possum bandicoot quoll armadillo anteater sloth pangolin aardvark aardwolf hyrax
    capybara duck ducks goose geese swan swans gull gulls tern heron herons egret stork storks crane cranes hawk
    hawks eagle eagles falcon kestrel kite buzzard vulture owl owls pheasant pheasants partridge quail grouse
    ptarmigan turkey turkeys guineafowl junglefowl chicken chickens hen rooster pigeon pigeons dove doves cuckoo
    swift woodpecker woodpeckers kingfisher hornbill parrot parrots parakeet cockatoo crow crows raven ravens
    magpie magpies jay jays jackdaw rook thrush thrushes blackbird robin robins warbler wren wrens tit tits
    titmouse chickadee nuthatch treecreeper finch finches chaffinch goldfinch bullfinch greenfinch sparrow
    sparrows bunting starling lark skylark wagtail pipit swallow martin flycatcher shrike waxwing dipper
    nightingale redstart wheatear stonechat hummingbird sunbird bulbul babbler tanager oriole drongo myna
    woodcock snipe sandpiper plover lapwing curlew godwit redshank oystercatcher coot moorhen grebe loon
    cormorant pelican penguins albatross petrel shearwater gannet puffin ostrich cassowary bustard nightjar
    roller hoopoe snake snakes lizard lizards skink tortoise turtle turtles crocodile frog frogs toad toads newt
    newts shark sharks ray rays eel eels trout salmon carp bream perch herring cod mackerel snapper grouper
    wrasse parrotfish butterflyfish damselfish angelfish surgeonfish goby blenny seahorse pufferfish catfish ant
    ants bee bees bumblebee wasp wasps hornet butterfly butterflies moth moths beetle beetles ladybird ladybug
    dragonfly damselfly fly flies mosquito grasshopper cricket cockroach spider spiders tick mite scorpion
    centipede crab crabs lobster shrimp crayfish snail snails slug slugs squid oyster mussel clam worm worms
    earthworm jellyfish starfish oak maple beech birch ash elm willow poplar alder hazel hornbeam chestnut
    walnut spruce fir pine larch cedar yew holly ivy rowan hawthorn blackthorn cherry apple pear plum lime elder
    bramble blackberry raspberry nettle thistle dandelion daisy buttercup clover bracken heather gorse broom
    bluebell foxglove""",
    """shrimp prawn tyrant antbird flounder skate grenadier sole croaker anchovy spinetail antpitta tyrannulet
    honeyeater cuttlefish scallop seabream antwren barbet tinamou mullet woodcreeper antshrike tapaculo moray
    rockfish sculpin laughingthrush whale pipefish manakin cockle seedeater lamprey conch lanternfish stingray
    crake dolphin weaver trevally limpet goatfish cardinalfish threadfin gleaner brushfinch grosbeak swimcrab
    shiner francolin scorpionfish dogfish whistler puffbird gurnard triplefin silverside greenbul sturgeon
    triggerfish halfbeak flyingfish cichlid weakfish urchin flathead abalone guitarfish scad fantail minnow
    coucal toadfish chachalaca clingfish hake flowerpecker canastero piculet sprat antthrush filefish stingaree
    cuckooshrike rockcod lanternshark mockingbird turaco goshawk thrasher jacamar stargazer lizardfish fusilier
    curassow tailorbird ponyfish sucker becard chipmunk whiptail toucanet cacique cockatoo toucan kingbird teal
    bittern parrotlet frogmouth duiker thornbill flowerpiercer grackle towhee yellowthroat macaw mojarra
    snailfish loach pewee siskin whipray whitefish squeaker hawkfish boubou thornbird egret bushshrike killifish
    gourami nighthawk needlefish owlet soldierfish bullhead grassbird woodswallow oropendola broadbill bluebird
    bowerbird parrotbill sparrowhawk lorikeet earthcreeper rosefinch capuchin snakehead squirrelfish gnatcatcher
    langur frogfish rosella knifefish bellbird otter brocket muntjacs shelduck harrier cowbird bullfinch catbird
    treeshrew woodrat bushlark diver tamarin spiderhunter chough pademelon potoroo bettong bilby dunnart numbat
    dingos echidnas lory sapsucker sunfish butcherbird waxbill potoo swamphen flamingo wigeon sengi pilchard
    eider scoter godwit mourner wildfowl lovebird tayra grison olingo jaguarundi lioness tigress foal piglet
    duckling gosling chick chicks nestling calves wolves oxen geese mice cub cubs pup pups livestock poultry
    waterbird seabird shorebird warthogs oribis bontebok blesbok
    nyalas sitatunga topis gerbil springhare caracals servals baboons vervet guenon mandrills bonobo orangutan
    gibbon siamang bushbaby galagos lorises tapirs agoutis pacas ocelots pumas lynxes ibexes bisons zebras
    giraffes gorillas iguanas pythons cobra viper rattlesnake gecko geckos alligators caimans""",
)
_OTHERS = _set(
    # German
    """tier tiere saeugetier saeugetiere vogel voegel fuchs fuechse rotfuchs polarfuchs wolf woelfe goldschakal hund
    hunde haushund katze katzen hauskatze wildkatze luchs luchse baer baeren bär braunbaer braunbär dachs dachse
    marder steinmarder baummarder edelmarder iltis hermelin mauswiesel wiesel fischotter waschbaer waschbär
    marderhund reh rehe rehwild rehbock hirsch hirsche rothirsch rotwild damhirsch damwild sikahirsch elch elche
    rentier gams gämse gaemse steinbock mufflon wildschwein wildschweine schwarzwild sau schwein pferd pferde
    esel rind rinder kuh kuehe kühe schaf schafe ziege ziegen hase hasen feldhase schneehase kaninchen
    wildkaninchen eichhoernchen eichhörnchen murmeltier biber bisam bisamratte nutria maus maeuse mäuse waldmaus
    ratte ratten igel maulwurf spitzmaus siebenschlaefer siebenschläfer fledermaus fledermäuse amsel amseln
    drossel singdrossel elster elstern eichelhaeher eichelhäher kraehe krähe rabenkraehe rabenkrähe kolkrabe
    ringeltaube taube tauben fasan fasane rebhuhn waldschnepfe auerhahn auerhuhn birkhuhn maeusebussard
    mäusebussard bussard habicht sperber adler seeadler steinadler uhu waldkauz eule eulen kranich storch
    weissstorch graureiher reiher ente enten stockente gans graugans schwan moewe möwe specht buntspecht
    schwarzspecht gruenspecht kohlmeise blaumeise meise meisen rotkehlchen buchfink fink kleiber zaunkoenig
    zaunkönig haussperling sperling spatz star huhn schlange eidechse frosch froesche frösche kroete kröte
    erdkroete fisch fische schmetterling kaefer käfer biene hummel wespe fliege spinne schnecke baum pflanze
    blume eiche buche ahorn birke esche fichte tanne kiefer linde""",
    # Dutch
    """dier dieren zoogdier vogel vogels vos vossen ree reeen hert herten edelhert damhert wildzwijn everzwijn zwijn
    haas hazen konijn konijnen das dassen marter boommarter steenmarter bunzing wezel hermelijn bever bevers kat
    katten huiskat hond honden paard paarden koe koeien schaap schapen geit geiten eekhoorn eekhoorns egel egels
    muis muizen mol wasbeer wasbeerhond merel merels ekster houtduif duif fazant kraai gaai buizerd uil eend
    eenden gans ganzen reiger ooievaar koolmees pimpelmees roodborst specht vlinder kever""",
    # Swedish, Danish, Norwegian
    """djur däggdjur raev räv rödräv rev ræv rådjur rådyr raadyr grävling grævling grevling vildsvin villsvin älg elg
    hjort kronhjort dovhjort krondyr dådyr hare skogshare fälthare harer kanin mård mår ekorre ekorn egern
    lodjur gaupe varg ulv björn bjørn järv jerv utter oter odder katt kat hund häst hest får sau get geit
    igelkott pindsvin piggsvin bäver bæver fågel fåglar fugl fugle skata kråka kråke krage korp ravn nötskrika
    skogsduva ringduva tjäder orre rype fasan and gås svan trana traner hägg""",
    # French
    """mammifere oiseau oiseaux poisson renard renards loup loups chien chiens chat chats ours blaireau blaireaux
    martre fouine hermine belette putois loutre loutres raton sanglier sangliers chevreuil chevreuils cerf cerfs
    biche daim chamois bouquetin mouflon vache vaches veau boeuf mouton moutons chevre chevres cheval chevaux
    ane lievre lievres lapin lapins ecureuil ecureuils marmotte ragondin herisson herissons taupe souris mulot
    merle merles pie pies geai geais corneille corbeau pigeon faisan perdrix becasse buse epervier aigle hibou
    chouette cigogne grue heron canard canards oie cygne mouette mesange mesanges rougegorge pinson moineau
    grive serpent lezard grenouille crapaud tortue papillon abeille guepe mouche araignee escargot chene hetre
    erable bouleau sapin""",
    # Spanish
    """mamifero ave pajaro pajaros pez zorro zorros lobo lobos perro perros gato gatos lince linces oso osos tejon
    tejones garduña garduna comadreja armiño armino mapache jabali jabalies corzo corzos ciervo ciervos gamo
    gamos venado venados rebeco muflon vaca vacas toro ternero oveja ovejas caballo caballos yegua burro burros
    mula cerdo cerdos liebre liebres conejo conejos ardilla ardillas erizo erizos topo raton ratones murcielago
    mirlo urraca arrendajo cuervo corneja palomas faisan perdiz aguila buitre buitres halcon cernicalo buho
    lechuza cigueña ciguena grulla garza pato patos ganso cisne gaviota gorrion carbonero petirrojo serpiente
    culebra lagarto lagartija sapo tortuga mariposa abeja avispa mosca araña arana hormiga encina roble haya
    zarigueya tlacuache coyotes""",
    # Portuguese
    """mamifero ave passaro passaros peixe raposa raposas lobo cão cao caes cachorro cachorros gato gatos lince urso
    texugo fuinha doninha javali javalis veado veados corço gamo vaca boi gado touro ovelha ovelhas cabrito
    cavalo cavalos burro porco porcos lebre lebres coelho coelhos esquilo ouriço ourico rato ratos morcego melro
    pega gaio corvo gralha pombo pombos faisao perdiz aguia abutre falcao coruja cegonha garça garca pato patos
    ganso cisne gaivota pardal tucano arara jaguatirica quati tatu anta capivara macaco bugio lagarto sapo
    tartaruga borboleta abelha vespa mosca aranha formiga""",
    # Italian
    """mammifero uccello uccelli pesce volpe volpi lupo lupi cane cani gatto gatti lince orso orsi tasso tassi faina
    martora donnola ermellino puzzola procione cinghiale cinghiali capriolo caprioli cervo cervi daino daini
    camoscio stambecco muflone mucca mucche bovino toro pecora pecore cavallo cavalli asino maiale lepre lepri
    coniglio conigli scoiattolo scoiattoli marmotta castoro istrice ricci topo topi ratto pipistrello merlo
    ghiandaia cornacchia corvo piccione colombaccio fagiano pernice beccaccia gufo allocco cicogna gru airone
    anatra oca cigno gabbiano passero cinciallegra pettirosso fringuello serpente lucertola rospo tartaruga
    farfalla ape ragno formica quercia faggio""",
    # Finnish and Polish
    """kettu susi ilves karhu hirvi metsäkauris peura valkohäntäpeura jänis rusakko metsäjänis orava mäyrä näätä
    supikoira majava lintu villisika lis wilk pies kot ryś niedźwiedź borsuk kuna wydra sarna jeleń łoś dzik
    zając królik wiewiórka bóbr jeż mysz ptak""",
)  # fmt: skip
_PLURALS = {noun + ending for noun in _ENGLISH for ending in ("s", "es")} - {"hippos"}
NOUNS = _ENGLISH | _PLURALS | _OTHERS
"""Nouns for organisms: a cell that is one of them, or ends in one, is a common name."""

ALONE = _set("zebra panda serval dingo ibex quagga kudu onager kiang topi paca agouti coypu nutria vicuna guanaco")
"""Nouns that are epithets too, so that only a cell that is one of them is a common name."""

LATIN_NOUNS = frozenset(
    "hippopotamus octopus walrus colobus cactus eucalyptus papyrus hibiscus crocus citrus lotus narcissus asparagus iris clematis abacus "
    "platypus rhinoceros cetus lupinus".split()
)
"""Words of other languages that end as an epithet does: "common hippopotamus"."""

FIRST_WORDS = _set(
    # English: colours, sizes, looks, places of living, parts of the world
    """common red reddish black blackish cinereous plumbeous
    variegated rufescent olivaceous glossy shining elegant superb splendid magnificent noble imperial royal
    honey rainbow false true variable noisy laughing flying freshwater marine flat round thick slim fat naked
    ragged fringed bigeye white whitish grey gray greyish blue green greenish yellow orange purple pink brown
    golden silver silvery scarlet crimson rufous rusty ruddy tawny chestnut buff olive slaty sooty dusky dark
    pale bronze copper violet pied spotted striped banded barred streaked speckled mottled dappled marbled
    collared hooded crested horned bearded tufted crowned masked spectacled painted ornate plain great greater
    large larger giant little lesser least small smaller dwarf pygmy tiny big long short slender stout wild
    feral domestic domesticated juvenile adult male female young baby european eurasian african asian asiatic
    american australian arctic antarctic alpine pyrenean iberian siberian japanese chinese indian persian
    arabian egyptian mediterranean british scottish irish german french spanish italian polish scandinavian
    caucasian himalayan tibetan mongolian korean vietnamese burmese javan bornean sumatran malayan philippine
    canadian mexican brazilian bolivian peruvian chilean argentine patagonian amazonian andean caribbean cuban
    hawaiian californian virginian texan carolinian floridian antillean jamaican bahamian guianan ecuadorian
    colombian venezuelan guinean kenyan ethiopian somali congolese angolan malagasy madagascan sri indochinese
    taiwanese formosan papuan australasian polynesian samoan kerguelen magellanic galapagos tumbes moluccan
    baltic caspian balkan siamese thai nepalese bengal ussuri amur russian ukrainian hungarian greek turkish
    cretan cyprian maltese corsican sardinian norwegian swedish danish finnish icelandic dutch belgian swiss
    austrian portuguese eastern western northern southern central north south east west northeastern old new
    atlantic pacific tasmanian mountain forest wood woodland desert savanna savannah steppe swamp marsh water
    river lake sea coastal tree bush field meadow garden house barn rock stone sand bank hill jungle bamboo
    plains polar snow winter summer rain tropical temperate roe fallow mule musk spiny bristly hairy smooth
    rough prickly thorny weeping sugar""",
    # German, Dutch, Scandinavian
    """roter rote rotes schwarzer schwarze weisser weiße weisse weißer grauer graue brauner braune gruener grüner grüne
    blauer blaue gelber gelbe grosser großer grosse große grosses kleiner kleine kleines gemeiner gemeine
    gewoehnlicher gewöhnlicher gewöhnliche europaeischer europäischer europäische wilder wilde wildes junger
    junge rode zwarte witte grijze bruine groene blauwe gele grote gewone europese röd röda svart grå brun bruna
    större mindre vanlig europeisk vild""",
    # French, Spanish, Portuguese, Italian: the noun comes first there, and the words before it are few
    """grand grande petit petite gros grosse jeune vieux gran pequeño pequeno piccolo piccola grosso""",
)  # fmt: skip
"""Words that common names begin with."""
