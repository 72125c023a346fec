"""FastAPI with pydantic models in and out, calling ONNX Runtime in the handler: what its tutorial leads to."""

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel, Field

app = FastAPI()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
iris_session = onnxruntime.InferenceSession(os.environ["IRIS_ONNX"], options)
digits_session = onnxruntime.InferenceSession(os.environ["DIGITS_ONNX"], options)


class Flower(BaseModel):
    features: list[float] = Field(min_length=4, max_length=4)


class Kind(BaseModel):
    label: int
    probabilities: list[float]


class Picture(BaseModel):
    image: list[float] = Field(min_length=784, max_length=784)


class Logits(BaseModel):
    logits: list[float]


# async def, though the call blocks: a hop to FastAPI's thread pool costs more than either of these models.
@app.post("/iris")
async def iris(flower: Flower) -> Kind:
    labels, probabilities = iris_session.run(None, {"features": np.array([flower.features], np.float32)})
    return Kind(label=labels[0], probabilities=probabilities[0].tolist())


@app.post("/digits")
async def digits(picture: Picture) -> Logits:
    image = np.array(picture.image, np.float32).reshape(1, 1, 28, 28)
    return Logits(logits=digits_session.run(None, {"image": image})[0][0].tolist())
