"""The native routes, as a person calls them."""

import json

import httpx
import pytest

from bentos import contract

IRIS = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
TABULAR = [name for name in contract.names() if isinstance(contract.model(name).payload, contract.Fields)]


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url) as client:
        yield client


def picture(name="seven.png"):
    return (contract.BENTOS / "digits" / "examples" / name).read_bytes()


def test_one_object_gets_one_answer_and_a_list_gets_a_list(http):
    one = http.post("/iris/classify", json=IRIS).json()
    assert one["label"] == "setosa"
    assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert (one["model"], one["form"]) == ("iris", "onnx")
    assert http.post("/iris/classify", json=[IRIS, IRIS]).json() == [one, one]


@pytest.mark.parametrize("name", TABULAR)
def test_every_example_is_answered_alike_by_every_form(http, name):
    model = contract.model(name)
    forms = http.get("/health").json()["models"][name]["forms"]
    answers = {
        form: http.post(f"/{name}/{model.verb}", params={"form": form}, json=contract.examples(name)).json()
        for form in forms
    }
    assert len(answers) == 2
    key = "label" if model.labels else model.signature.outputs[0].name
    onnx, sklearn = ([a[key] for a in answers[form]] for form in ("onnx", "sklearn"))
    assert onnx == sklearn if model.labels else onnx == pytest.approx(sklearn, rel=1e-4)


@pytest.mark.parametrize("form", ["pytorch", "onnx", "optimized", "int8"])
def test_a_picture_is_classified_by_every_form(http, form):
    answer = http.post("/digits/classify", params={"form": form}, files={"image": picture()}).json()
    assert (answer["label"], answer["form"]) == ("7", form)


def test_several_pictures_are_answered_in_their_order(http):
    files = [("image", ("a.png", picture("seven.png"))), ("image", ("b.png", picture("zero.png")))]
    assert [a["label"] for a in http.post("/digits/classify", files=files).json()] == ["7", "0"]


def test_a_picture_may_be_the_body_itself(http):
    answer = http.post("/digits/classify", content=picture(), headers={"content-type": "image/png"})
    assert answer.json()["label"] == "7"


@pytest.mark.parametrize("name", contract.names())
def test_random_gives_a_payload_that_is_valid_and_its_prediction(http, name):
    for _ in range(5):
        drawn = http.get(f"/{name}/random").json()
        assert drawn.keys() == {"payload", "prediction"}
        if name in TABULAR:
            again = http.post(f"/{name}/{contract.model(name).verb}", json=drawn["payload"])
            assert again.json() == drawn["prediction"]


FIELD_CASES = {
    "missing": ({**IRIS, "petal_width": ...}, "petal_width is missing: it must be a number from"),
    "extra": ({**IRIS, "colour": 3}, "'colour' is unknown; the fields are"),
    "misnamed": ({**IRIS, "petal_widht": 1}, "'petal_widht' is unknown; did you mean 'petal_width'?"),
    "mistyped": ({**IRIS, "petal_width": "0.2"}, 'petal_width is "0.2": it must be a number from'),
    "null": ({**IRIS, "petal_width": None}, "petal_width is null: it must be a number"),
    "boolean": ({**IRIS, "petal_width": True}, "petal_width is true: it must be a number"),
    "too small": ({**IRIS, "petal_width": -1}, "petal_width is -1: it must be a number from"),
    "too large": ({**IRIS, "petal_width": 1e9}, "petal_width is 1000000000.0: it must be a number from"),
    "a number": (3, "expected an object with the fields sepal_length"),
    "an empty list": ([], "the list is empty"),
    "in a list": ([IRIS, {**IRIS, "petal_width": -1}], "[1] petal_width is -1"),
    "every complaint": ({"petal_width": -1}, "sepal_length is missing"),
}


@pytest.mark.parametrize("name", FIELD_CASES)
def test_wrong_fields_are_named(http, name):
    body, words = FIELD_CASES[name]
    body = {k: v for k, v in body.items() if v is not ...} if isinstance(body, dict) else body
    answer = http.post("/iris/classify", json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"floor": 9, "floors_total": 5}, "floor is 9, which is above floors_total, 5"),
        ({"living_area": 90.5, "total_area": 60}, "living_area is 90.5, which is above total_area, 60"),
        ({"floor": 1.5}, "floor is 1.5: it must be a whole number from"),
        ({"has_elevator": 1}, "has_elevator is 1: it must be true or false"),
    ],
)
def test_impossible_flats_are_refused(http, change, words):
    example = next(e for e in contract.examples("homes") if e.get("kitchen_area"))
    answer = http.post("/homes/price", json={**example, **change})
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_a_building_type_is_a_word_or_its_code(http):
    example = contract.examples("homes")[0]
    by_code = http.post("/homes/price", json=example).json()
    by_word = http.post("/homes/price", json={**example, "building_type_int": "panel"}).json()
    assert example["building_type_int"] == 2 and by_word == by_code
    wrong = http.post("/homes/price", json={**example, "building_type_int": "clay"})
    words = 'building_type_int is "clay": it must be one of unknown (0), brick (1), panel (2), block (3), monolith (4)'
    assert wrong.status_code == 400 and wrong.json()["error"].startswith(words)


def test_areas_of_a_flat_may_be_unknown(http):
    example = {**contract.examples("homes")[0], "kitchen_area": None, "living_area": None}
    left_out = {k: v for k, v in example.items() if v is not None}
    known = [http.post("/homes/price", json=payload).json()["price"] for payload in (example, left_out)]
    assert known[0] == known[1] > 0


FILE_CASES = {
    "no file": ({"data": {"other": "1"}}, 415, "send multipart/form-data with a file field 'image'"),
    "another field": ({"files": {"picture": b"x"}}, 400, "form field 'picture' is unknown; the file field is 'image'"),
    "not a picture": ({"files": {"image": b"hello"}}, 400, "picture"),
    "empty": ({"files": {"image": b""}}, 400, "empty"),
    "an address": (
        {"files": {"image": (None, "http://127.0.0.1/x.png")}}, 400, "must be a file, and is never fetched",
    ),
    "JSON": ({"json": {"image": "x"}}, 415, "content type 'application/json'"),
    "unknown form": ({"files": {"image": b"x"}, "params": {"form": "int4"}}, 404, "no form 'int4': there is optimized"),
    "unknown query": ({"files": {"image": b"x"}, "params": {"from": "int8"}}, 400, "query parameter 'from' is unknown"),
    "cut off": (
        {"content": b"--x\r\nContent-", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400, "form",
    ),
    "no boundary": ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "without a boundary"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILE_CASES)
def test_wrong_files_are_told(http, name):
    request, status, words = FILE_CASES[name]
    answer = http.post("/digits/classify", **request)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]


def test_swagger_has_every_route_with_true_examples(http):
    page, document = http.get("/"), http.get("/docs.json").json()
    assert "swagger-ui" in page.text
    assert "googletagmanager" not in page.text
    assert http.get("/static_content/swagger-ui-bundle.js").status_code == 200
    assert {"/digits/classify", "/homes/random", "/v2/models/{model}/infer", "/health", "/metrics"} <= document[
        "paths"
    ].keys()
    for path, operations in document["paths"].items():
        for name, example in _examples(operations):
            answer = http.post(path.replace("{model}", name).replace("{version}", _version(http, name)), json=example)
            assert answer.status_code == 200, f"{path} {name}: {answer.text}"


def _examples(operations):
    body = operations.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
    return [(name, example["value"]) for name, example in body.get("examples", {}).items()]


def _version(http, name):
    return http.get(f"/v2/models/{name}").json()["versions"][0] if name in contract.names() else ""


def test_health_says_what_is_served(http):
    health = http.get("/health").json()
    assert health["status"] == "ok"
    assert health["models"].keys() == set(contract.names())
    assert health["models"]["digits"]["default"] == "optimized"
    assert json.dumps(health["models"]["digits"]["forms"]["int8"]).count("accuracy") >= 1


def test_a_query_that_asks_nothing_is_as_none(http):
    assert http.post("/iris/classify?&", json=IRIS).status_code == 200
    assert http.get("/iris/random?&").status_code == 200


def test_bentomls_own_client_calls_it(server):
    import bentoml

    with bentoml.SyncHTTPClient(server.url) as client:
        assert client.iris_classify(**IRIS)["label"] == "setosa"
        example = contract.BENTOS / "digits" / "examples" / "seven.png"
        assert client.digits_classify(image=[example])["label"] == "7"
