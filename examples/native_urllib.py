"""The native route with nothing but Python: one flower in the model's own words, and what is said of a wrong one."""

import json
import os
import urllib.error
import urllib.request

URL = os.environ.get("EKIBEN_URL", "http://localhost:3000")


def classify(flower: dict[str, float]) -> dict[str, object]:
    """The answer: label, probabilities, and which model, form and version gave it. ValueError says what is wrong."""
    request = urllib.request.Request(
        f"{URL}/iris/classify", json.dumps(flower).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            answer: dict[str, object] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        raise ValueError(json.load(error)["error"]) from None


if __name__ == "__main__":
    setosa = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
    print(classify(setosa)["label"])
    try:
        classify({**setosa, "petal_width": -1})
    except ValueError as error:
        print(error)
