"""Which of three cultivars a wine was made from, by its chemical analysis."""

from bentos.contract import Field, Fields, Model, Signature, Tensor

LABELS = ("cultivar 1", "cultivar 2", "cultivar 3")  # scikit-learn's class_0, class_1, class_2

FIELDS = (
    Field("alcohol", "alcohol by volume", 8, 18, 13.05, "%"),
    Field("malic_acid", "malic acid, which tastes of green apples", 0, 10, 1.87, "g/l"),
    Field("ash", "what is left of the wine after it is burnt", 0.5, 6, 2.36, "g/l"),
    Field("alcalinity_of_ash", "how alkaline that ash is", 5, 50, 19.5, "mEq/l"),
    Field("magnesium", "magnesium", 30, 300, 98, "mg/l"),
    Field("total_phenols", "all phenols, which give body and bitterness", 0.1, 8, 2.36, "g/l"),
    Field("flavanoids", "the phenols of skins and seeds", 0.05, 10, 2.13, "g/l"),
    Field("nonflavanoid_phenols", "the other phenols", 0.01, 2, 0.34, "g/l"),
    Field("proanthocyanins", "condensed tannins", 0.1, 8, 1.56, "g/l"),
    Field("color_intensity", "absorbance at 420 + 520 nm: how deep the colour is", 0.5, 20, 4.69, "AU"),
    Field("hue", "absorbance at 420 nm over that at 520 nm: brown against red", 0.2, 3, 0.965),
    Field(
        "od280_od315_of_diluted_wines",
        "absorbance at 280 nm over that at 315 nm: protein content",
        0.5,
        6,
        2.78,
        label="OD280/OD315 of diluted wines",
    ),
    Field("proline", "proline, the grape's main amino acid", 100, 3000, 673.5, "mg/l"),
)

MODEL = Model(
    name="wine",
    title="Wine",
    doc="The cultivar of a wine grown in one region of Italy, from thirteen figures of its chemical analysis.",
    verb="classify",
    payload=Fields(FIELDS),
    signature=Signature(
        inputs=(Tensor("features", "FP32", (-1, 13)),),
        outputs=(Tensor("label", "INT64", (-1,)), Tensor("probabilities", "FP32", (-1, 3))),
    ),
    labels=LABELS,
)
