"""BentoML's own client, which makes a method for every native route: iris_classify, digits_classify, …"""

import os
import sys
from pathlib import Path

import bentoml

URL = os.environ.get("EKIBEN_URL", "http://localhost:3000")

if __name__ == "__main__":
    with bentoml.SyncHTTPClient(URL) as client:
        flower = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
        print(client.iris_classify(**flower)["label"])
        if len(sys.argv) > 1:
            print(client.digits_classify(image=[Path(sys.argv[1])])["label"])
