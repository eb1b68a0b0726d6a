"""An endpoint with OpenAI's interface as the rewriter: POST <url>/chat/completions, several requests at a time.

What it writes cannot be made again; the artefact's digests pin it. The key comes from the variable REWRITER_API_KEY.
"""

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from capacity.errors import UserError
from capacity.rewriting.deadline import Connections, deadline
from capacity.rewriting.prompts import prompt
from capacity.rewriting.spec import EndpointRewriter
from capacity.world import streams
from capacity.world.facts import World

KEY = "REWRITER_API_KEY"
ATTEMPTS, PAUSE = 3, 1.0  # of one request: how often, and seconds before the second try, doubled before the third
BUSY = (408, 429, 500, 502, 503, 504)
LARGEST = 2**20  # bytes of an answer
CHARACTERS = 50  # of a token, at most: assumed


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Another address would be sent the key."""

    def redirect_request(self, *arguments: Any, **more: Any) -> None:
        return None


HANDLERS = (_NoRedirects, Connections)
DIRECT = urllib.request.build_opener(*HANDLERS)


class EndpointClient:
    """Writes texts by asking; a request is given up at its timeout, from connecting to the last byte."""

    def __init__(self, settings: EndpointRewriter, world: World, seed: int):
        self.settings, self.world, self.seed = settings, world, seed
        self.url = settings.url.rstrip("/") + "/chat/completions"

    def write(self, asks: list[tuple[int, int]], attempt: int) -> list[str]:
        """A text for each (person, number of the text); another one at every attempt."""
        with ThreadPoolExecutor(self.settings.parallel) as pool:
            jobs = [pool.submit(self._ask, person, number, attempt) for person, number in asks]
            try:
                return [job.result() for job in jobs]
            except UserError:
                pool.shutdown(cancel_futures=True)
                raise

    def _ask(self, person: int, number: int, attempt: int) -> str:
        key = streams.key(self.seed, streams.REWRITING, person, number, attempt)
        content = {
            "model": self.settings.model,
            "messages": [
                {"role": "user", "content": prompt(self.world, person, number, self.settings.words)},
            ],
            "temperature": self.settings.temperature,
            "max_tokens": self.settings.max_tokens,
            "seed": int(key.generate_state(1)[0] >> 1),
        }
        return self._text_of(self._post(json.dumps(content).encode()))

    def _post(self, content: bytes) -> bytes:
        """The answer's bytes. Raises UserError, after three tries where a later one could go better."""
        headers = {"Content-Type": "application/json"}
        if key := _key():
            headers["Authorization"] = f"Bearer {key}"
        for trial in range(1, ATTEMPTS + 1):
            try:
                return self._answer(urllib.request.Request(self.url, content, headers))
            except urllib.error.HTTPError as error:
                reason = f"HTTP {error.code} {error.reason}"
                if error.code not in BUSY:
                    break
            except (OSError, http.client.HTTPException) as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            except UserError:
                raise
            except ValueError as error:  # an address that no request can be made of
                reason = str(error)
                break
            if trial < ATTEMPTS:
                time.sleep(PAUSE * 2 ** (trial - 1))
        raise UserError(f"rewriter.url: {self.url}: {reason}; see that it serves and run again; texts so far are kept")

    def _answer(self, request: urllib.request.Request) -> bytes:
        """The whole answer, where it comes within the timeout."""
        timeout = self.settings.timeout
        with deadline(timeout), DIRECT.open(request, timeout=timeout) as response:
            answer = response.read(LARGEST + 1)
        if len(answer) > LARGEST:
            raise UserError(f"rewriter.url: {self.url}: an answer of more than {LARGEST} bytes")
        return bytes(answer)

    def _text_of(self, answer: bytes) -> str:
        try:
            text = json.loads(answer)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            text = None
        if not isinstance(text, str):
            shown = answer[:80].decode("utf-8", errors="replace")
            raise UserError(f"rewriter.url: {self.url}: the answer {shown!r} is no chat completion; correct the url")
        if len(text) > CHARACTERS * self.settings.max_tokens:
            raise UserError(
                f"rewriter.url: {self.url}: a text of {len(text):,} characters; it does not keep to max_tokens: "
                f"{self.settings.max_tokens}; use one that does"
            )
        return text


def _key() -> str:
    """The key, without the newline of the file that it came from. Raises UserError, which does not show it."""
    key = os.environ.get(KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"{KEY}: has characters that no key has, such as a line break or a curly quote; set it again")
    return key
