"""Which of three irises a flower is, from four measurements of it."""

from bentos.contract import Field, Fields, Model, Signature, Tensor

LABELS = ("setosa", "versicolor", "virginica")

MODEL = Model(
    name="iris",
    title="Iris",
    doc="The species of an iris, from the length and width of its sepals and petals.",
    verb="classify",
    payload=Fields(
        (
            Field("sepal_length", "length of a sepal, the outer leaf of the flower", 0.1, 15, 5.8, "cm"),
            Field("sepal_width", "width of a sepal at its widest", 0.1, 10, 3.0, "cm"),
            Field("petal_length", "length of a petal, the inner leaf of the flower", 0.1, 15, 4.3, "cm"),
            Field("petal_width", "width of a petal at its widest", 0.05, 10, 1.3, "cm"),
        )
    ),
    signature=Signature(
        inputs=(Tensor("features", "FP32", (-1, 4)),),
        outputs=(Tensor("label", "INT64", (-1,)), Tensor("probabilities", "FP32", (-1, 3))),
    ),
    labels=LABELS,
)
