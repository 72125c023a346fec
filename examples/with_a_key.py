"""A service with API keys (docs/security.md): the key in Authorization, the trace id to ask the operator by."""

import json
import os
import urllib.error
import urllib.request

URL, KEY = os.environ.get("EKIBEN_URL", "http://localhost:3000"), os.environ.get("EKIBEN_KEY", "")

if __name__ == "__main__":
    request = urllib.request.Request(f"{URL}/v2/models/iris", headers={"Authorization": f"Bearer {KEY}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            print(response.status, json.load(response)["inputs"][0]["name"])
    except urllib.error.HTTPError as error:
        print(error.code, json.load(error)["error"])
        print("x-trace-id:", error.headers["x-trace-id"])
