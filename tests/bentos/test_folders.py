"""An author's mistake is one line that names the file, the key, the value and what is allowed."""

import re

import pytest

from bentos import contract, folders
from bentos.contract import ModelError
from tests.kettle import Kettle

MODEL, RECIPE, EXAMPLES = "model.py", "recipe.py", "examples.json"


def read_all() -> None:
    """As train and convert read a folder."""
    contract.recipe("kettle")
    folders.payloads(contract.model("kettle"))


def test_the_readmes_kettle_is_right(kettle: Kettle) -> None:
    read_all()
    assert contract.names() == ["kettle"]


MISTAKES = {
    "another name": (MODEL, 'name="kettle"', 'name="ketle"', "model.py: name='ketle' must be 'kettle', as its folder"),
    "a route's verb": (MODEL, 'verb="time"', 'verb="random"', "model.py: verb='random' must be lower-case letters"),
    "a verb with a slash": (MODEL, 'verb="time"', 'verb="a/b"', "model.py: verb='a/b' must be"),
    "a wrong size": (
        MODEL, "(-1, 3)", "(-1, 4)", "model.py: signature: inputs features [-1, 4] must be [-1, 3], one column a field"
    ),
    "a wrong datatype": (MODEL, '"FP32", (-1, 3)', '"FLOAT", (-1, 3)', "datatype 'FLOAT' is none of BOOL, UINT8"),
    "bounds reversed": (
        MODEL, "0.1, 3, 1.0", "3, 0.1, 1.0", "model.py, line N: field litres: low=3 is above high=0.1"
    ),
    "a default out of bounds": (
        MODEL, "1, 95, 15", "1, 95, 150",
        "model.py, line N: field start: default=150 must be a number from 1 to 95 °C",
    ),
    "no bounds": (
        MODEL, '0.1, 3, 1.0, "l"', 'unit="l"',
        "model.py, line N: field litres: low= and high= must be numbers, or choices= say what there is",
    ),
    "a code that is none": (MODEL, '1, 95, 15, "°C"', 'choices={"1": "cold"}', "start: choices: the code '1' must be"),
    "a word that is none": (MODEL, '1, 95, 15, "°C"', 'choices={1: ""}', "field start: choices: '' must be a word"),
    "a word twice": (MODEL, '1, 95, 15, "°C"', 'choices={1: "hot", 2: "hot"}', "choices: two codes have one word"),
    "choices and bounds": (
        MODEL, '1, 95, 15, "°C"', '1, 95, choices={1: "cold", 80: "hot"}', "field start: bounds and type follow from",
    ),
    "a default that is no choice": (
        MODEL, '1, 95, 15, "°C"', 'default=2, choices={1: "cold", 80: "hot"}',
        "model.py, line N: field start: default=2 must be one of cold (1), hot (80)",
    ),
    "a text for a number": (
        MODEL, '1, 95, 15, "°C"', "type=str",
        "model.py: field start: a text of at most 256 characters does not fit input features, which is FP32",
    ),
    "a number for a text": (
        MODEL, '"FP32", (-1, 3)', '"BYTES", (-1, 3)',
        "model.py: field litres: a number from 0.1 to 3 l does not fit input features, which is BYTES",
    ),
    "a text that is null": (MODEL, '1, 95, 15, "°C"', "type=str, nullable=True", "field start: a text is never null"),
    "half a character": (MODEL, '1, 95, 15, "°C"', "0.5, 9, type=str", "field start: low=0.5 must be a number of char"),
    "a text that is too long": (
        MODEL, '1, 95, 15, "°C"', '1, 3, "warm", type=str',
        'model.py, line N: field start: default="warm" must be a text of 1 to 3 characters',
    ),
    "a number for a default": (MODEL, '15, "°C"', "15, type=str", "field start: default=15 must be a text of 1 to 95"),
    "a text with choices": (MODEL, '1, 95, 15, "°C"', 'choices={1: "a"}, type=str', "bounds and type follow from"),
    "texts compared": (
        MODEL, "500, 3000, 2200, \"W\"),", "type=str),), at_most=((\"power\", \"start\"),",
        "at_most: power is a text: numbers are compared",
    ),
    "a parameter of nothing": (
        MODEL, "unit=", 'parameters=(Field("cut", "", 0, 1, 0.5),), unit=',
        "model.py: parameter cut: it is for postprocess=, which is not there",
    ),
    "a parameter without a default": (
        MODEL, "unit=", 'postprocess=print, parameters=(Field("cut", "", 0, 1),), unit=',
        "model.py: parameter cut: it needs a default",
    ),
    "a parameter that is another's": (
        MODEL, "unit=", 'postprocess=print, parameters=(Field("form", "", 0, 1, 0),), unit=',
        "model.py: parameter form: the query has one of this name already",
    ),
    "an input that is not there": (
        MODEL, '15, "°C"', '15, "°C", into="ids"', "model.py: field start: into='ids' is no input: there is features",
    ),
    "an input without fields": (
        MODEL, '"FP32", (-1, 3)),', '"FP32", (-1, 3)), Tensor("ids", "INT64", (-1,)),',
        "model.py: signature: no field goes into input ids: those that do say into='ids'",
    ),
    "a fraction for a whole number": (
        MODEL, '"FP32", (-1, 3)', '"INT64", (-1, 3)',
        "model.py: field litres: a number from 0.1 to 3 l does not fit input features, which is INT64",
    ),
    "a field twice": (MODEL, 'Field("start"', 'Field("litres"', "field litres is there twice"),
    "no name": (MODEL, 'Field("start"', 'Field("at first"', "field name 'at first': it must be letters"),
    "labels for a value": (
        MODEL, 'unit="s"', 'labels=("fast", "slow")',
        "model.py: signature: outputs seconds [-1, 1] must have probabilities or logits [-1, 2], one column a label",
    ),
    "a misspelt argument": (MODEL, "doc=", "docs=", "model.py, line N: TypeError: Model.__init__() got an unexpected"),
    "no Python": (MODEL, "MODEL = Model(", "MODEL = Model((", "model.py, line N: SyntaxError: '(' was never closed"),
    "nothing there": (MODEL, "MODEL =", "KETTLE =", "model.py: MODEL is None: it must say MODEL = Model(…)"),
    "a framework": (
        RECIPE, 'framework="sklearn"', 'framework="sk-learn"',
        "recipe.py, line N: framework='sk-learn' must be one of pytorch, sklearn",
    ),
    "a form": (RECIPE, '"onnx": Tol', '"onxx": Tol', "tolerances: 'onxx' is no form: there is optimized, onnx"),
    "no network": (
        RECIPE, 'framework="sklearn"', 'framework="pytorch"', "model.py: network='' cannot be imported",
    ),
    "a name that is not there": (
        RECIPE, "from bentos import scores", "from bentos import score", "recipe.py, line N: ImportError: cannot import"
    ),
    "a misspelt key": (
        EXAMPLES, '"litres"', '"liters"',
        "examples.json, payload 0: 'liters' is no field: there is litres, start, power",
    ),
    "a key missing": (EXAMPLES, ', "power": 2200', "", "payload 0: power is missing: it must be a number from 500"),
    "a text": (EXAMPLES, "2200", '"2200"', 'payload 0: power is "2200": it must be a number from 500 to 3000 W'),
    "out of bounds": (EXAMPLES, "1500", "15000", "examples.json, payload 1: power is 15000: it must be a number from"),
    "no JSON": (EXAMPLES, "}]", "}", "examples.json is not JSON: "),
    "no list": (EXAMPLES, "[", '{"payloads": [', "examples.json is not JSON"),
}  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(file: str, old: str, new: str, words: str, kettle: Kettle) -> None:
    kettle.edit(file, old, new)
    with pytest.raises(ModelError, match=re.escape(words).replace("line\\ N", r"line \d+")) as mistake:
        read_all()
    assert str(mistake.value).startswith("bentos/kettle/") and "\n" not in str(mistake.value)


@pytest.mark.parametrize(("file", "words"), [(RECIPE, "must say RECIPE = Recipe"), (EXAMPLES, "must be a list")])
def test_a_file_that_is_missing_is_named(file: str, words: str, kettle: Kettle) -> None:
    (kettle.folder / file).unlink()
    with pytest.raises(ModelError, match=f"bentos/kettle/{file} is missing: it {words}"):
        read_all()


def test_a_wrong_path_of_a_network_is_named(kettle: Kettle) -> None:
    kettle.edit(RECIPE, 'framework="sklearn"', 'framework="pytorch"')
    kettle.edit(MODEL, 'unit="s"', 'network="bentos.kettle.network:Network"')
    with pytest.raises(ModelError, match=r"network='bentos.kettle.network:Network' cannot be imported \(No module"):
        read_all()
    (kettle.folder / "network.py").write_text("class Net: ...\n")
    kettle.forget()
    with pytest.raises(ModelError, match="has no attribute 'Network'"):
        read_all()
    (kettle.folder / "network.py").write_text("class Network: ...\n")
    kettle.forget()
    read_all()


TWO = 'Tensor("features", "FP32", (-1, 2)), Tensor("ids", "INT8", (-1,)),'


def two_inputs(kettle: Kettle, power: str) -> None:
    kettle.edit(MODEL, 'Tensor("features", "FP32", (-1, 3)),', TWO)
    kettle.edit(MODEL, '500, 3000, 2200, "W"', power)


@pytest.mark.parametrize(
    ("power", "words"),
    [
        (
            '500, 3000, 2200, type=int, into="ids"',
            "a whole number from 500 to 3000 does not fit input ids, which is INT8",
        ),
        ('choices={1: "low"}, nullable=True, into="ids"', "one of low (1), or null does not fit input ids"),
    ],
)
def test_a_field_that_an_input_cannot_hold_is_named(power: str, words: str, kettle: Kettle) -> None:
    two_inputs(kettle, power)
    with pytest.raises(ModelError, match=re.escape(f"model.py: field power: {words}")):
        contract.model("kettle")


def test_fields_go_into_the_inputs_that_they_name(kettle: Kettle) -> None:
    two_inputs(kettle, 'choices={3: "low", 5: "full"}, default=5, into="ids"')
    kettle.edit(EXAMPLES, "2200", '"full"')
    kettle.edit(EXAMPLES, "1500", "3")
    model = contract.model("kettle")
    features, ids = zip(*map(model.rows, folders.payloads(model)), strict=True)
    assert [row.tolist() for row in ids] == [5, 3] and {row.dtype.name for row in ids} == {"int8"}
    assert [row.shape for row in features] == [(2,), (2,)]
    kettle.edit(RECIPE, 'framework="sklearn"', 'framework="xgboost"')
    with pytest.raises(ModelError, match=r"recipe.py: framework='xgboost' takes one input, the signature has features"):
        contract.recipe("kettle")


def test_a_model_of_tensors_needs_no_examples(kettle: Kettle) -> None:
    kettle.edit(MODEL, "payload=Fields(", "payload=None and Fields(")
    with pytest.raises(ModelError, match="verb='time' must be 'predict', where payload=None"):
        contract.model("kettle")
    kettle.edit(MODEL, 'verb="time"', 'verb="predict"')
    (kettle.folder / EXAMPLES).unlink()
    read_all()


def test_a_picture_that_is_not_there_is_named(kettle: Kettle) -> None:
    kettle.edit(MODEL, "Signature, Tensor", "Image, Signature, Tensor")
    kettle.edit(MODEL, "    signature=", "    preprocess=lambda data: (),\n    signature=")
    kettle.edit(MODEL, "payload=Fields(", "payload=Image() or Fields(")
    kettle.edit(EXAMPLES, (kettle.folder / EXAMPLES).read_text(), '["kettle.png"]')
    with pytest.raises(ModelError, match=r'payload 0: "kettle.png" must be the path of a file in bentos/kettle'):
        read_all()


ROUTE = "Route('/v1/kettles', '', {}, list, dict)"


@pytest.mark.parametrize(
    ("routes", "words"),
    [
        ("1,", "routes[0] is 1: it must be a Route(…)"),
        (ROUTE.replace("/v1/", "v1/"), "routes[0]: path='v1/kettles' must be like '/v1/embeddings'"),
        (ROUTE.replace("/v1/kettles", "/v1/../x"), "path='/v1/../x' must be like"),
        (ROUTE.replace("/v1/kettles", "/v2/models"), "path='/v2/models' is the service's own"),
        (ROUTE.replace("/v1/kettles", "/livez-too"), "path='/livez-too' is the service's own"),
        (ROUTE.replace("/v1/kettles", "/kettle/time"), "path='/kettle/time' is the service's own"),
        (f"{ROUTE}, {ROUTE}", "routes[1]: path='/v1/kettles' is there twice"),
        (ROUTE.replace("list", "5"), "path='/v1/kettles': read, answer and error must be functions"),
    ],
)
def test_a_wrong_route_is_named(routes: str, words: str, kettle: Kettle) -> None:
    kettle.edit(MODEL, "Signature, Tensor", "Route, Signature, Tensor")
    kettle.edit(MODEL, 'unit="s"', f'unit="s", routes=({routes},)'.replace(",,", ","))
    with pytest.raises(ModelError, match=re.escape(words)):
        read_all()


@pytest.mark.parametrize("example", ['"boil it"', "{}", '{"text": 1}', '{"text": "a", "more": 1}'])
def test_an_example_of_a_text_is_an_object_with_a_text(example: str, kettle: Kettle) -> None:
    kettle.edit(MODEL, "Signature, Tensor", "Signature, Tensor, Text")
    kettle.edit(MODEL, "    signature=", "    preprocess=lambda text: (),\n    signature=")
    kettle.edit(MODEL, "payload=Fields(", "payload=Text() or Fields(")
    kettle.edit(EXAMPLES, (kettle.folder / EXAMPLES).read_text(), f'[{{"text": "boil it"}}, {example}]')
    with pytest.raises(ModelError, match=r'payload 1: .* must be an object \{"text"'):
        read_all()


def test_a_library_that_is_not_installed_is_no_mistake_of_the_folder(kettle: Kettle) -> None:
    kettle.edit(MODEL, "from bentos.contract", "import no_such_library\nfrom bentos.contract")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        contract.model("kettle")


def test_nullable_fields_may_be_left_out_of_an_example(kettle: Kettle) -> None:
    kettle.edit(MODEL, '15, "°C")', '15, "°C", nullable=True)')
    kettle.edit(EXAMPLES, '"start": 15, ', "")
    assert folders.payloads(contract.model("kettle"))[0] == {"litres": 1.0, "start": None, "power": 2200}
