"""The guard: every object word is checked while the text is written, and a sentence that names what is not there is
written again. `vocabulary` and `words` find object words, `questions` asks the model about them, `judge` weighs both,
`verdicts` are its rivals (oracle, random, position), `sentences` says where to go back to, `bans` what may not be
written then, `draft` is one text in progress, `loop` writes them all, `method` is `ls.Guard`, `events` is what is told
of it."""
