"""The model class that lmms-eval builds and asks."""

from __future__ import annotations

import os
from typing import Any

from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.protocol import ChatMessages

from lvlm_saliency.chat import Chat
from lvlm_saliency.errors import SettingError
from lvlm_saliency.evaluation.systems import system
from lvlm_saliency.integrations.lmms_eval.requests import batches, cut, methods_of, numbers, query_of, wanted


class SaliencyLMM(lmms):
    """A checkpoint under this package's methods.

    Args:
        pretrained: "scenes", a hub id or a folder.
        methods: as `--method` takes them, `;` in place of the comma: `sgrs:alpha=0.9;order=greedy+locore`.
        batch_size: questions at a time.
        device, dtype: of the model. A "cuda" that is not there means the CPU: lmms-eval passes it unasked.
        seed: of methods that draw.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str = "scenes",
        methods: str = "greedy",
        batch_size: int | str = 1,
        device: str | None = None,
        dtype: str = "auto",
        seed: int = 0,
        max_batch_size: int | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        if unknown:
            raise SettingError(f"model_args that are not known: {', '.join(sorted(unknown))}")
        self.system = system(methods_of(methods), int(seed))
        self.chat = Chat.load(pretrained, device=_device(device), dtype=dtype)
        for method in self.system.methods:
            method.check_model(self.chat.model)
        self.batch_size = int(batch_size)
        self.plain = 0
        self.settings = f"pretrained={pretrained},methods={methods},dtype={dtype},seed={seed}"

    def __repr__(self) -> str:
        """Whose answers these are: lmms-eval keeps cached answers by this line where it is given an instance."""
        return f"SaliencyLMM({self.settings})"

    @property
    def device(self) -> Any:
        """Where the model is; lmms-eval asks where it runs in several processes."""
        return self.chat.model.device

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """One answer to each request, in order. What fails raises: an empty answer would be scored as one.

        Questions without a picture are answered without methods, as `evaluate` does it; `plain` counts them.
        """
        queries, settings = [], []
        for request in requests:
            _, to_messages, given, number, task, split = request.args  # six, the context first
            chat = ChatMessages(messages=to_messages(self.task_dict[task][split][number]))
            queries.append(query_of([(one.role, [_part(part) for part in one.content]) for one in chat.messages]))
            settings.append(wanted(given, draws=self.system.decides and bool(queries[-1].pictures)))
        kinds = [(repr(one), bool(query.pictures)) for one, query in zip(settings, queries, strict=True)]
        samples = numbers([(request.args[4], request.args[5], request.args[3]) for request in requests])
        results: dict[int, GenerationResult] = {}
        for batch in batches(kinds, self.batch_size):
            how, seen = settings[batch[0]], kinds[batch[0]][1]
            self.plain += 0 if seen else len(batch)
            answers = self.chat.ask(
                [queries[index] for index in batch],
                self.system.methods if seen else (),
                sample_ids=[samples[index] for index in batch],
                **how.settings,
            )
            for index, answer in zip(batch, answers, strict=True):
                counts = TokenCounts(output_tokens=len(answer.token_ids))
                results[index] = GenerationResult(text=cut(answer.text, how.until), token_counts=counts)
                key = (requests[index].args[0], dict(requests[index].args[2]))
                self.cache_hook.add_partial("generate_until", key, results[index].text)
        return [results[index] for index in range(len(requests))]

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not served."""
        raise SettingError("lvlm_saliency writes answers: tasks that compare likelihoods are not served")

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Not served."""
        raise SettingError("lvlm_saliency answers one question at a time: tasks of several rounds are not served")


def _part(part: Any) -> tuple[str, Any]:
    """A part of a message: its kind and its text or picture."""
    return part.type, part.text if part.type == "text" else part.url


def _device(given: str | None) -> str | None:
    import torch

    if given in (None, "None", "") or (str(given).startswith("cuda") and not torch.cuda.is_available()):
        return None
    # Processes of one machine take a card each: all of them are told the same name.
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if several and str(given).startswith("cuda") else given
