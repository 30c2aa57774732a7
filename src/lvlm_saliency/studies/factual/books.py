"""Books and who wrote them. Written for this project from common knowledge."""

from __future__ import annotations

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
