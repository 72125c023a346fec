"""What must hold of a chain that is up, asked from inside its network: the `tests` service of chain.yaml.

Only the standard library, since it runs in the image that it tests.
"""

import base64
import json
import os
import unittest
import urllib.error
import urllib.request
from typing import Any

STAGES = {"model": 5001, "preprocess": 5002, "postprocess": 5003}
REPLICAS = int(os.environ["CHAIN_REPLICAS"])
EXCHANGE = "/exchange"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
BOUNDARY = "chain-check"


def ask(stage: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
    """Status, JSON and headers of an answer."""
    request = urllib.request.Request(f"http://{stage}:{STAGES[stage]}{path}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.status, json.load(answer), {name.lower(): value for name, value in answer.headers.items()}
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), {name.lower(): value for name, value in error.headers.items()}


def upload(stage: str, path: str, file: bytes, **headers: str) -> tuple[int, Any, dict[str, str]]:
    """The same, of a form with one file."""
    head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="image"; filename="file"\r\n\r\n'
    form = head.encode() + file + f"\r\n--{BOUNDARY}--\r\n".encode()
    return ask(stage, path, form, **{"content-type": f"multipart/form-data; boundary={BOUNDARY}", **headers})


class ChainCheck(unittest.TestCase):
    """A chain that is up, with all its replicas."""

    model: str
    file: bytes

    @classmethod
    def setUpClass(cls) -> None:
        """The model of the chain, and a file that it takes."""
        cls.model = ask("postprocess", "/health")[1]["model"]
        payload = ask("model", f"/{cls.model}/random")[1]["payload"]
        cls.file = base64.b64decode(next(iter(payload.values())).partition("base64,")[2])

    def test_every_stage_is_healthy_and_sees_all_replicas_of_the_next(self) -> None:
        for stage in STAGES:
            status, health, _ = ask(stage, "/health")
            self.assertEqual((status, health["status"]), (200, "ok"), stage)
        replicas = ask("preprocess", "/health")[1]["asks"]["model"]
        self.assertEqual(list(replicas.values()), ["up"] * REPLICAS)

    def test_the_answer_is_the_services_own_and_says_which_replica_computed_it(self) -> None:
        (route,) = (route["route"] for route in ask("model", "/schema.json")[1]["routes"])
        status, whole, _ = upload("model", route, self.file)
        self.assertEqual(status, 200, whole)
        status, chained, _ = upload("postprocess", "/finalize", self.file)
        self.assertTrue(chained.pop("replica"))
        self.assertEqual((status, chained), (200, whole))

    def test_every_replica_answers(self) -> None:
        answers = [upload("postprocess", "/finalize", self.file)[1] for _ in range(10 * REPLICAS)]
        self.assertEqual(len({answer["replica"] for answer in answers}), REPLICAS)

    def test_the_trace_of_the_asker_is_kept(self) -> None:
        _, _, headers = upload("postprocess", "/finalize", self.file, traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
        self.assertEqual(headers["traceparent"].split("-")[1], TRACE)

    def test_what_is_no_picture_is_refused_in_words(self) -> None:
        status, answer, _ = upload("postprocess", "/finalize", b"no picture")
        self.assertEqual(status, 400)
        self.assertIn("no picture", answer["error"])

    def test_nothing_is_left_on_the_volume(self) -> None:
        upload("postprocess", "/finalize", self.file)
        upload("postprocess", "/finalize", b"no picture")
        self.assertEqual(os.listdir(EXCHANGE), [])


if __name__ == "__main__":
    unittest.main()
