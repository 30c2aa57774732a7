"""Facts about words and books. Written for this project from common knowledge."""

from __future__ import annotations

OPPOSITES = """
hot: cold|cool
big: small|little
up: down
fast: slow
happy: sad|unhappy
light: dark|heavy|darkness
day: night
old: young|new
rich: poor
hard: soft|easy
high: low
long: short
wet: dry
open: closed|shut|close
full: empty
early: late
true: false|untrue
strong: weak
wide: narrow
thick: thin
loud: quiet|soft|silent
clean: dirty|unclean
left: right
right: wrong|left
good: bad|evil
black: white
love: hate|hatred
war: peace
win: lose|loss
buy: sell
push: pull
begin: end|finish
start: stop|end|finish
above: below
inside: outside
before: after
front: back|rear
top: bottom
north: south
east: west
male: female
life: death
remember: forget
laugh: cry
accept: reject|refuse|decline
arrive: depart|leave|go
ancient: modern|new
brave: cowardly|afraid|timid|fearful
cheap: expensive|costly|dear
deep: shallow
difficult: easy|simple
enemy: friend|ally
entrance: exit
guilty: innocent
increase: decrease|reduce
junior: senior
lend: borrow
maximum: minimum
optimist: pessimist
polite: rude|impolite
question: answer
safe: dangerous|unsafe
sharp: blunt|dull
success: failure
sweet: sour|bitter
tall: short
victory: defeat
visible: invisible
always: never
alive: dead
asleep: awake
cruel: kind|gentle
dangerous: safe
far: near|close
future: past
generous: stingy|selfish|mean|greedy
heavy: light
hero: villain|coward
include: exclude
lazy: industrious|hardworking|active|diligent|energetic
major: minor
noisy: quiet|silent
permanent: temporary
positive: negative
public: private
rough: smooth|gentle
smooth: rough
straight: crooked|curved|bent
tight: loose
vertical: horizontal
wild: tame|domestic|domesticated
wise: foolish|unwise
"""

PLURALS = """
mouse: mice
child: children
tooth: teeth
man: men
woman: women
foot: feet
goose: geese
ox: oxen
person: people|persons
sheep: sheep
deer: deer
fish: fish|fishes
louse: lice
knife: knives
wife: wives
life: lives
leaf: leaves
wolf: wolves
half: halves
shelf: shelves
thief: thieves
loaf: loaves
calf: calves
elf: elves
scarf: scarves|scarfs
potato: potatoes
tomato: tomatoes
hero: heroes
echo: echoes
cactus: cacti|cactuses
fungus: fungi|funguses
nucleus: nuclei
radius: radii|radiuses
stimulus: stimuli
analysis: analyses
crisis: crises
thesis: theses
oasis: oases
hypothesis: hypotheses
phenomenon: phenomena
criterion: criteria
bacterium: bacteria
datum: data|datums
medium: media|mediums
appendix: appendices|appendixes
index: indices|indexes
matrix: matrices|matrixes
vertex: vertices|vertexes
larva: larvae
alumnus: alumni
city: cities
baby: babies
box: boxes
bus: buses|busses
church: churches
boy: boys
dog: dogs
lady: ladies
glass: glasses
dish: dishes
fox: foxes
monkey: monkeys
piano: pianos
roof: roofs|rooves
"""

PASTS = """
go: went
eat: ate
run: ran
see: saw
take: took
give: gave
come: came
write: wrote
speak: spoke
break: broke
choose: chose
drive: drove
ride: rode
rise: rose
fly: flew
grow: grew
know: knew
throw: threw
blow: blew
draw: drew
swim: swam
sing: sang
drink: drank
begin: began
ring: rang
sink: sank
think: thought
buy: bought
bring: brought
catch: caught
teach: taught
fight: fought
seek: sought
sleep: slept
keep: kept
feel: felt
leave: left
meet: met
lead: led
feed: fed
find: found
build: built
send: sent
spend: spent
lend: lent
lose: lost
make: made
say: said
tell: told
sell: sold
stand: stood
understand: understood
win: won
hold: held
hear: heard
sit: sat
forget: forgot
get: got
shoot: shot
steal: stole
wake: woke|waked
wear: wore
tear: tore
swear: swore
freeze: froze
hide: hid
bite: bit
fall: fell
forgive: forgave
shake: shook
cut: cut
put: put
hit: hit
hurt: hurt
shut: shut
cost: cost
dig: dug
hang: hung|hanged
stick: stuck
strike: struck
swing: swung
spin: spun
weave: wove|weaved
creep: crept
sweep: swept
weep: wept
bend: bent
bleed: bled
breed: bred
deal: dealt
dream: dreamed|dreamt
lay: laid
pay: paid
shine: shone|shined
slide: slid
walk: walked
stop: stopped
try: tried
play: played
carry: carried
"""

BOOKS = """
Hamlet: Shakespeare|William Shakespeare
Moby-Dick: Melville|Herman Melville
Oliver Twist: Dickens|Charles Dickens
Pride and Prejudice: Austen|Jane Austen
The Odyssey: Homer
War and Peace: Tolstoy|Leo Tolstoy
Crime and Punishment: Dostoevsky|Fyodor Dostoevsky|Dostoyevsky|Fyodor Dostoyevsky
1984: Orwell|George Orwell
Animal Farm: Orwell|George Orwell
The Great Gatsby: Fitzgerald|F. Scott Fitzgerald
To Kill a Mockingbird: Harper Lee|Lee
The Catcher in the Rye: Salinger|J.D. Salinger|J. D. Salinger
The Lord of the Rings: Tolkien|J.R.R. Tolkien|J. R. R. Tolkien
The Hobbit: Tolkien|J.R.R. Tolkien|J. R. R. Tolkien
Frankenstein: Mary Shelley|Shelley|Mary Wollstonecraft Shelley
Dracula: Bram Stoker|Stoker
Jane Eyre: Charlotte Bronte|Charlotte Brontë
Wuthering Heights: Emily Bronte|Emily Brontë
Emma: Austen|Jane Austen
Great Expectations: Dickens|Charles Dickens
A Tale of Two Cities: Dickens|Charles Dickens
Macbeth: Shakespeare|William Shakespeare
Romeo and Juliet: Shakespeare|William Shakespeare
Don Quixote: Cervantes|Miguel de Cervantes
The Divine Comedy: Dante|Dante Alighieri
Faust: Goethe|Johann Wolfgang von Goethe
The Trial: Kafka|Franz Kafka
The Metamorphosis: Kafka|Franz Kafka
Madame Bovary: Flaubert|Gustave Flaubert
Les Miserables: Victor Hugo|Hugo
The Three Musketeers: Alexandre Dumas|Dumas
Twenty Thousand Leagues Under the Sea: Jules Verne|Verne
Anna Karenina: Tolstoy|Leo Tolstoy
The Cherry Orchard: Chekhov|Anton Chekhov
The Old Man and the Sea: Hemingway|Ernest Hemingway
A Farewell to Arms: Hemingway|Ernest Hemingway
The Grapes of Wrath: Steinbeck|John Steinbeck
Of Mice and Men: Steinbeck|John Steinbeck
The Adventures of Tom Sawyer: Mark Twain|Twain|Samuel Clemens
The Scarlet Letter: Hawthorne|Nathaniel Hawthorne
Walden: Thoreau|Henry David Thoreau
The Raven: Poe|Edgar Allan Poe
The Time Machine: H.G. Wells|H. G. Wells|Wells
The War of the Worlds: H.G. Wells|H. G. Wells|Wells
Brave New World: Aldous Huxley|Huxley
Lord of the Flies: William Golding|Golding
Ulysses: James Joyce|Joyce
Mrs Dalloway: Virginia Woolf|Woolf
The Picture of Dorian Gray: Oscar Wilde|Wilde
Treasure Island: Robert Louis Stevenson|Stevenson
The Jungle Book: Rudyard Kipling|Kipling
Peter Pan: J.M. Barrie|J. M. Barrie|Barrie
Alice's Adventures in Wonderland: Lewis Carroll|Carroll
Gulliver's Travels: Jonathan Swift|Swift
Robinson Crusoe: Daniel Defoe|Defoe
Paradise Lost: John Milton|Milton
The Canterbury Tales: Chaucer|Geoffrey Chaucer
The Republic: Plato
The Aeneid: Virgil|Vergil
Things Fall Apart: Chinua Achebe|Achebe
One Hundred Years of Solitude: Gabriel Garcia Marquez|Gabriel García Márquez|Garcia Marquez
The Name of the Rose: Umberto Eco|Eco
The Little Prince: Antoine de Saint-Exupery|Antoine de Saint-Exupéry|Saint-Exupery
The Stranger: Albert Camus|Camus
Beloved: Toni Morrison|Morrison
Dune: Frank Herbert|Herbert
The Handmaid's Tale: Margaret Atwood|Atwood
Harry Potter and the Philosopher's Stone: J.K. Rowling|J. K. Rowling|Rowling
"""

SPELLED = """
apple, garden, window, river, mountain, yellow, kitchen, elephant, honest, knight, phone, island, queen,
umbrella, zebra, violin, jacket, needle, orange, paper, rabbit, summer, teacher, uncle, valley, water,
xylophone, yesterday, zero, basket, candle, doctor, engine, flower, guitar, hammer, insect, journey, kettle,
ladder, market, nature, ocean, pencil, quarter, rocket, silver, tiger, unique, village, winter, young, zipper,
bridge, castle, desert, eagle, forest, grape, hour, psalm, wrong, gnome, pneumonia, chemistry, scissors,
theatre, whale, cymbal, eight
"""
"""Words whose first letter is asked."""
