"""Facts of science and nature. Written for this project from common knowledge."""

from __future__ import annotations

ELEMENTS = """
hydrogen H, helium He, lithium Li, beryllium Be, boron B, carbon C, nitrogen N, oxygen O, fluorine F, neon Ne,
sodium Na, magnesium Mg, aluminium Al, silicon Si, phosphorus P, sulfur S, chlorine Cl, argon Ar, potassium K,
calcium Ca, scandium Sc, titanium Ti, vanadium V, chromium Cr, manganese Mn, iron Fe, cobalt Co, nickel Ni,
copper Cu, zinc Zn, gallium Ga, germanium Ge, arsenic As, selenium Se, bromine Br, krypton Kr, rubidium Rb,
strontium Sr, yttrium Y, zirconium Zr, niobium Nb, molybdenum Mo, technetium Tc, ruthenium Ru, rhodium Rh,
palladium Pd, silver Ag, cadmium Cd, indium In, tin Sn, antimony Sb, tellurium Te, iodine I, xenon Xe, caesium
Cs, barium Ba, lanthanum La, cerium Ce, praseodymium Pr, neodymium Nd, promethium Pm, samarium Sm, europium Eu,
gadolinium Gd, terbium Tb, dysprosium Dy, holmium Ho, erbium Er, thulium Tm, ytterbium Yb, lutetium Lu, hafnium
Hf, tantalum Ta, tungsten W, rhenium Re, osmium Os, iridium Ir, platinum Pt, gold Au, mercury Hg, thallium Tl,
lead Pb, bismuth Bi, polonium Po, astatine At, radon Rn, francium Fr, radium Ra, actinium Ac, thorium Th,
protactinium Pa, uranium U, neptunium Np, plutonium Pu
"""
"""Element and symbol, in the order of their atomic numbers, from 1."""

YOUNG = """
dog: puppy|pup
cat: kitten
cow: calf
horse: foal|colt|filly
sheep: lamb
goat: kid
pig: piglet
lion: cub
bear: cub
wolf: pup|cub|whelp
fox: cub|kit|pup
deer: fawn
duck: duckling
goose: gosling
chicken: chick
swan: cygnet
owl: owlet
eagle: eaglet
frog: tadpole|polliwog
kangaroo: joey
koala: joey
rabbit: kit|kitten|bunny
elephant: calf
whale: calf
dolphin: calf
seal: pup
tiger: cub
leopard: cub
giraffe: calf
zebra: foal
donkey: foal
camel: calf
hippopotamus: calf
turkey: poult|chick
pigeon: squab|squeaker
butterfly: caterpillar|larva
fly: maggot|larva
fish: fry
eel: elver
hare: leveret
"""

CLASSES = """
mammal|mammals|marine mammal|land mammal: dog, cat, whale=cetacean, dolphin=whale/cetacean, bat, elephant,
    mouse=rodent, kangaroo=marsupial, platypus=monotreme, seal, squirrel=rodent, camel, otter,
    gorilla=primate/ape, hedgehog, giraffe, walrus, beaver=rodent, porcupine=rodent, sloth
bird|birds|flightless bird|songbird: eagle=raptor, penguin, ostrich, sparrow, owl, pigeon, swan, parrot,
    flamingo, kiwi, hummingbird, crow, pelican, turkey, woodpecker, stork, robin, emu, gull, peacock
fish|fishes: salmon, trout, shark, tuna, cod, herring, eel, seahorse, carp, goldfish, pike, sardine, anchovy,
    piranha, stingray=ray
reptile|reptiles: snake, lizard, crocodile, turtle, tortoise=turtle, iguana=lizard, gecko=lizard,
    chameleon=lizard, alligator, cobra=snake, python=snake, viper=snake
amphibian|amphibians: frog, toad=frog, salamander, newt=salamander, axolotl=salamander, bullfrog=frog
insect|insects: bee, ant, butterfly, beetle, mosquito, grasshopper, ladybird, moth, wasp, dragonfly, fly,
    cricket, locust, termite, flea, cockroach
"""
"""Class of animals: animals of it; behind "=" narrower classes, which are no less true."""

COLOURS = """
grass: green
snow: white
blood: red
the sky on a clear day: blue
a banana: yellow
a lemon: yellow
a tomato: red
coal: black
milk: white
a carrot: orange
an emerald: green
a ruby: red
a sapphire: blue
chocolate: brown
a crow: black
a polar bear: white
a flamingo: pink
a frog: green|brown
a strawberry: red
a pumpkin: orange
a sunflower: yellow
the sun in a child's drawing: yellow
a fire engine: red
a swan: white
a lime: green
broccoli: green
an aubergine: purple
lavender: purple|lavender
salt: white
sugar: white
rice: white|brown
cheese: yellow|white|orange
butter: yellow
ink: black|blue
an elephant: grey|gray
a mouse: grey|gray|brown|white
rust: red|brown|orange|reddish
a brick: red
a canary: yellow
charcoal: black
cucumber: green
spinach: green
a cherry: red
a raven: black
the White House: white
a stop sign: red
gold: gold|yellow|golden
silver: silver|grey|gray
jade: green
turmeric: yellow|orange
"""

MEASURES = """
minutes in an hour: 60
days in a week: 7
months in a year: 12
seconds in a minute: 60
hours in a day: 24
weeks in a year: 52
years in a decade: 10
years in a century: 100
years in a millennium: 1000|1,000|one thousand
days in a leap year: 366
centimetres in a metre: 100
metres in a kilometre: 1000|1,000|one thousand
millimetres in a centimetre: 10
grams in a kilogram: 1000|1,000|one thousand
inches in a foot: 12
feet in a yard: 3
eggs in a dozen: 12
cents in a dollar: 100
sides of a triangle: 3
sides of a square: 4
sides of a hexagon: 6
sides of an octagon: 8
sides of a pentagon: 5
degrees in a circle: 360
degrees in a right angle: 90
legs of a spider: 8
legs of an insect: 6
arms of an octopus: 8
letters in the English alphabet: 26
strings of a violin: 4
keys of a piano: 88
players in a football team on the field: 11
cards in a standard deck: 52
squares on a chessboard: 64
states of the United States: 50
planets of the solar system: 8
wheels of a bicycle: 2
wheels of a tricycle: 3
colours of the rainbow: 7
bones in the adult human body: 206
"""
