"""A client that asks by itself: nothing is done twice for it, and nothing is waited for."""

from __future__ import annotations

import asyncio
import socket

import pytest

from lvlm_saliency.serve import worker as workers
from lvlm_saliency.serve.decode import Writing
from lvlm_saliency.serve.run import bound
from lvlm_saliency.serve.settings import ServeSettings

from .conftest import asking


def test_what_is_written_is_sent_at_once():
    """Else the end of an answer waits for the acknowledgement of its beginning, some 40 ms."""

    async def options():
        found = asyncio.get_running_loop().create_future()

        async def serve(_, writer):
            own = writer.get_extra_info("socket")
            found.set_result(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with bound(ServeSettings(port=0)) as listener:
            server = await asyncio.start_server(serve, sock=listener)
            _, writer = await asyncio.open_connection(*listener.getsockname())
            kept = await asyncio.wait_for(found, 30)
            writer.close()
            server.close()
        return kept

    assert asyncio.run(options()) != 0


def test_a_prompt_is_encoded_once(server, client, pictures, monkeypatch):
    encode, seen = server.chat.encode, []
    monkeypatch.setattr(server.chat, "encode", lambda *given: seen.append(given) or encode(*given))
    client.chat.completions.create(model="scenes", messages=asking(pictures[0]), max_tokens=3)
    assert len(seen) == 1


@pytest.mark.parametrize(("more", "heard"), [({}, 0), ({"stop": ["boat"]}, 4), ({"logprobs": True}, 4)])
def test_tokens_are_heard_one_by_one_only_where_it_matters(client, pictures, monkeypatch, more, heard):
    put, seen = Writing.put, []
    monkeypatch.setattr(Writing, "put", lambda self, tokens: (tokens.dim() == 1 and seen.append(1), put(self, tokens)))
    found = client.chat.completions.create(model="scenes", messages=asking(pictures[0]), max_tokens=4, **more)
    assert (len(seen), found.usage.completion_tokens) == (heard, 4)


def test_only_those_who_had_company_wait_for_it(client, pictures, monkeypatch):
    linger, seen = workers.Worker._linger, []
    monkeypatch.setattr(workers.Worker, "_linger", lambda self, company: (seen.append(company), linger(self, company)))

    def ask(**more):
        client.chat.completions.create(model="scenes", messages=asking(pictures[0]), max_tokens=2, **more)

    ask()  # whoever came before this test
    del seen[:]
    ask()
    ask(n=2)
    ask()
    ask()
    assert seen == [False, False, True, False]
