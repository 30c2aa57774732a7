"""The guard: every object word is checked while the text is written, and sentences that name absent objects are
rewritten. `vocabulary` and `words` find object words, `questions` asks the model about them, `judge` combines both,
`verdicts` are its rivals (oracle, random, position), `sentences` says where to go back to, `bans` what may not be
written then, `draft` is one text in progress, `loop` writes them all, `method` is `ls.Guard`, `events` is what is told
of it."""
