"""What OPERA's search reads and decides, and what it wrote."""

from __future__ import annotations

from lvlm_saliency.interventions.opera import retrospection


def texts(out):
    return [[step.token_id for step in steps] for steps in out.steps]


class Spy:
    """Keeps what the search reads and decides."""

    def __init__(self, monkeypatch):
        self.shares, self.fed, self.full, self.replays = [], [], [], []
        self.monkeypatch = monkeypatch
        self.watch("shares", lambda args, found: self.shares.append(found))
        self.watch("full_log_probs", lambda args, found: self.full.append(found))

    def watch(self, name, note):
        real = getattr(retrospection, name)

        def watched(*args):
            found = real(*args)
            note(args, found)
            return found

        self.monkeypatch.setattr(retrospection, name, watched)

    def watch_method(self, owner, name, note):
        real = getattr(owner, name)

        def watched(this, *args):
            found = real(this, *args)
            note(this, args, found)
            return found

        self.monkeypatch.setattr(owner, name, watched)
