"""The guard: every object word is checked while the text is generated, and sentences that name absent objects are
rewritten.

`method` is `ls.Guard`, and `loop` runs its generation. `vocabulary` and `words` find object words; `features` reads
their first-stage risk from the model's own forward passes, and `questions` asks the model about doubtful ones; `judge`
combines both, and `verdicts` are controls in its place (oracle, random, position). `draft` and `row` hold one text in
progress, `sentences` and `rewriting` decide where a text is rolled back to, and `bans` which tokens are forbidden then.
`events` reports what was done.
"""
