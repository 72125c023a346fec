"""What a flat would be listed at, from the fields of a listing."""

from bentos.contract import Field, Fields, Model, Signature, Tensor

# building_type_int, as listings number them
BUILDING_TYPES = ("unknown", "brick", "panel", "block", "monolith", "brick on a monolith frame", "wood")

FIELDS = (
    Field("floor", "floor that the flat is on, 1 at the ground", 1, 100, 5, type=int),
    Field("is_apartment", "sold as non-residential “apartments”, without registration", 0, 1, 0, type=bool),
    Field("kitchen_area", "area of the kitchen; null if the listing does not say", 1, 200, 9, "m²", nullable=True),
    Field("living_area", "area of the rooms; null if the listing does not say", 4, 800, 32, "m²", nullable=True),
    Field("rooms", "rooms without the kitchen; 0 for a studio", 0, 15, 2, type=int),
    Field("total_area", "area of the whole flat", 8, 1000, 54, "m²"),
    Field("building_id", "told but not used", 0, 10_000_000, 1, type=int, label="Building number"),
    Field("build_year", "year in which the building was finished, or will be", 1800, 2035, 1985, type=int),
    Field(
        "building_type_int",
        "what the walls are of",
        default=2,
        choices=dict(enumerate(BUILDING_TYPES)),
        label="Building type",
    ),
    Field("latitude", "of the building, in and around Moscow", 55.0, 56.5, 55.75, "°"),
    Field("longitude", "of the building, in and around Moscow", 36.5, 38.7, 37.62, "°"),
    Field("ceiling_height", "from floor to ceiling", 2, 8, 2.7, "m"),
    Field("flats_count", "flats in the building", 1, 5000, 140, type=int),
    Field("floors_total", "floors of the building", 1, 100, 12, type=int),
    Field("has_elevator", "whether the building has a lift", 0, 1, 1, type=bool),
)

MODEL = Model(
    name="homes",
    title="Homes",
    doc="The price of a flat in Moscow, from the fields of its listing.",
    verb="price",
    payload=Fields(
        FIELDS,
        at_most=(("floor", "floors_total"), ("living_area", "total_area"), ("kitchen_area", "total_area")),
    ),
    signature=Signature(
        inputs=(Tensor("features", "FP32", (-1, len(FIELDS))),),
        outputs=(Tensor("price", "FP32", (-1, 1)),),
    ),
    unit="roubles",
    synthetic="Trained on made-up listings: a seeded generator drew them, so no price here is a market's.",
    finite=False,  # NaN is how a tensor says that a listing gives no area
)
