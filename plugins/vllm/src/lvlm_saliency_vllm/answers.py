"""A completion request that wants grounding, and its answer: what is asked of vLLM for it, and what is put in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lvlm_saliency_vllm.grounding import GroundingError, TokenGrounding
from lvlm_saliency_vllm.risk import CausalRisk


@dataclass(frozen=True)
class Wanted:
    """One request. content: its JSON body; chat: which of the two interfaces; key: the name of its readings."""

    content: Mapping[str, Any]
    chat: bool
    key: str

    def refusal(self) -> str:
        """Why its answer cannot carry grounding; empty where it can."""
        prompt = self.content.get("prompt")
        if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
            return "grounding goes with one prompt a request, not with a list of them"
        if self.content.get("echo"):
            return "grounding does not go with echo: the prompt's tokens have none"
        if self.content.get("tools"):
            return "grounding does not go with tools: a parser hides some of the tokens"
        if self.content.get("use_beam_search"):
            return "grounding does not go with beam search: its texts are not one request each"
        return ""

    def asking(self, risk: CausalRisk | None, layers: Sequence[int]) -> bytes:
        """The body for vLLM: readings under our key, and the ids and log-probabilities of all tokens."""
        xargs = {**self.content["vllm_xargs"], "grounding": self.key}
        named = xargs.get("grounding_layers")
        if risk is not None and isinstance(named, list):
            xargs["grounding_layers"] = sorted({*named, *risk.layers})
        new = {**self.content, "vllm_xargs": xargs, "return_token_ids": True}
        if self.chat:
            new |= {"logprobs": True, "top_logprobs": self.content.get("top_logprobs") or 0}
        elif self.content.get("logprobs") is None:
            new["logprobs"] = 0
        return json.dumps(new).encode()


@dataclass
class Answer:
    """What has been heard of the answer's tokens so far; told: how many of them the client has the grounding of."""

    wanted: Wanted
    risk: CausalRisk | None
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)
    entropy: list[Any] = field(default_factory=list)
    told: int = 0
    ended: bool = False

    def hear(self, choice: Mapping[str, Any]) -> bool:
        """Take the tokens of a choice, whole or a chunk's; whether there is something to tell."""
        ids, odds = choice.get("token_ids") or [], choice.get("logprobs") or {}
        if self.wanted.chat:
            odds = [one["logprob"] for one in odds.get("content") or []]
        else:
            odds = list(odds.get("token_logprobs") or [])
        self.token_ids += ids
        self.logprobs += odds
        self.ended = choice.get("finish_reason") is not None
        return bool(ids) or (self.ended and self.told < len(self.token_ids))

    def read(self, read: Mapping[str, Any], usage: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        """The grounding of the tokens that the client has not had.

        Where the risk of a token waits for the next pass, its entry comes with the next chunk, the last at the end.

        Raises:
            GroundingError: readings and tokens do not fit.
        """
        if read.get("fault"):
            raise GroundingError(read["fault"])
        self.rows += read["rows"]
        self.entropy += read["entropy"]
        if usage and usage.get("completion_tokens") not in (None, len(self.token_ids)):
            raise GroundingError("the server hid some of the tokens, so their readings cannot be told apart")
        whole = {**read, "rows": self.rows, "entropy": self.entropy}
        grounding = TokenGrounding.of(self.token_ids, self.logprobs, whole)
        stop = len(self.token_ids) - (self.risk is not None and self.risk.waits and not self.ended)
        found = grounding.to_dict(self.told, stop)
        if self.risk is not None:
            risk, named = self.risk(grounding), self.risk.names_object(grounding)
            for entry, t in zip(found, range(self.told, stop), strict=True):
                entry |= {"risk": float(risk[t]), "names_object": bool(named[t])}
        self.told = stop
        return found

    def tidy(self, content: dict[str, Any]) -> None:
        """Take out of an answer, or of a chunk, what was asked of vLLM for us alone."""
        asked = self.wanted.content.get("logprobs")
        for part in (content, *content["choices"]):
            if not self.wanted.content.get("return_token_ids"):
                for name in ("token_ids", "prompt_token_ids", "prompt_text"):
                    part.pop(name, None)
            if "logprobs" in part and (asked is None or (self.wanted.chat and not asked)):
                part["logprobs"] = None
