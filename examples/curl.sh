#!/bin/sh
# A picture, a flower, and the same flower over the Open Inference Protocol. Needs curl.
set -eu
url=${EKIBEN_URL:-http://localhost:3000}
here=$(dirname "$0")

curl --fail --silent --form image=@"$here/../bentos/digits/examples/seven.png" "$url/digits/classify?form=int8"
echo
curl --fail --silent --header 'Content-Type: application/json' "$url/iris/classify" \
  --data '{"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}'
echo
curl --fail --silent "$url/v2/models/iris/infer" \
  --data '{"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]}'
echo
