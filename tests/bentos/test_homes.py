"""Homes: listings that could exist, a CSV file that is checked, and trees that learn from either."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bentos import contract, trained
from bentos.contract import Fields
from bentos.homes import listings, recipe, table
from bentos.homes.model import FIELDS, MODEL

NAMES = [f.name for f in FIELDS]


def test_fields_in_the_order_of_the_interface() -> None:
    assert ", ".join(NAMES) == (
        "floor, is_apartment, kitchen_area, living_area, rooms, total_area, building_id, build_year, "
        "building_type_int, latitude, longitude, ceiling_height, flats_count, floors_total, has_elevator"
    )
    assert MODEL.signature.inputs[0].shape == (-1, 15) and MODEL.synthetic


def possible(row: dict[str, float]) -> bool:
    assert isinstance(MODEL.payload, Fields)
    in_bounds = all(
        f.low <= row[f.name] <= f.high or (f.nullable and math.isnan(row[f.name])) for f in MODEL.payload.fields
    )
    return in_bounds and not any(row[lesser] > row[greater] for lesser, greater in MODEL.payload.at_most)


def test_the_generator_is_seeded_and_makes_listings_that_could_exist() -> None:
    features, prices, buildings = listings.listings(7, 3000)
    again, others = listings.listings(7, 3000), listings.listings(8, 3000)
    assert np.array_equal(features, again[0], equal_nan=True) and (prices == again[1]).all()
    assert not np.array_equal(features, others[0], equal_nan=True)
    assert features.shape == (3000, 15) and features.dtype == np.float32 and (prices > 0).all()
    assert all(possible(dict(zip(NAMES, row.tolist(), strict=True))) for row in features)
    assert (features[:, NAMES.index("building_id")] == buildings).all()


def test_listings_have_gaps_outliers_and_interactions() -> None:
    features, prices, _ = listings.listings(0)
    column = dict(zip(NAMES, features.T, strict=True))
    assert 0.25 < np.isnan(column["kitchen_area"]).mean() < 0.4
    assert 0.25 < np.isnan(column["living_area"]).mean() < 0.4
    assert not np.isnan(column["total_area"]).any()
    metre = np.log(prices / column["total_area"])
    top = column["floor"] == column["floors_total"]

    def cost_of_the_top(lift: int) -> float:
        low_house = (column["has_elevator"] == lift) & (column["floors_total"] < 12) & (column["floor"] > 1)
        return float(metre[low_house & top].mean() - metre[low_house & ~top].mean())

    assert cost_of_the_top(0) < cost_of_the_top(1) - 0.03
    assert np.abs(metre - np.median(metre)).max() > 4 * metre.std()


def test_no_building_is_on_both_sides_of_the_split() -> None:
    data = recipe.load({})
    number = NAMES.index("building_id")
    assert not set(data.train.inputs[:, number]) & set(data.held_out.inputs[:, number])
    assert 0.15 < len(data.held_out.inputs) / (len(data.train.inputs) + len(data.held_out.inputs)) < 0.25


def test_gaps_and_order_matter_and_the_building_number_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "TREES", 40)
    fitted = recipe.fit(recipe.load({}), 0, lambda steps, what: steps)
    run = trained.predictor(MODEL, "sklearn", fitted)
    examples = contract.examples("homes")
    rows = np.stack([MODEL.rows(example)[0] for example in examples])
    assert np.isnan(rows).any(), "no example leaves an area out"
    price = run({"features": rows})["price"]
    assert price.shape == (len(rows), 1) and price.dtype == np.float32 and (price > 1e6).all() and (price < 1e8).all()
    renumbered = rows.copy()
    renumbered[:, NAMES.index("building_id")] = 1
    assert (run({"features": renumbered})["price"] == price).all()
    larger = rows.copy()
    larger[:, NAMES.index("total_area")] *= 1.5
    dearer = run({"features": larger})["price"] / price
    assert (dearer >= 1).all() and (dearer > 1.2).sum() > len(rows) / 2
    assert all(possible(dict(zip(NAMES, row.tolist(), strict=True))) for row in rows)
    assert all(set(example) == set(NAMES) for example in examples)


def write_csv(path: Path, changes: dict[int, dict[str, Any]] | None = None, drop: str = "", count: int = 150) -> Path:
    features, prices, _ = listings.listings(3, count)
    with path.open("w", newline="") as file:
        names = [n for n in ["price", *reversed(NAMES), "comment"] if n != drop]
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        for index, (row, price) in enumerate(zip(features.tolist(), prices.tolist(), strict=True)):
            cells = {n: "" if math.isnan(v) else v for n, v in zip(NAMES, row, strict=True)}
            cells |= {"price": price, "comment": "nice, quiet"} | (changes or {}).get(index, {})
            writer.writerow(cells | {"has_elevator": "true" if cells["has_elevator"] == 1 else cells["has_elevator"]})
    return path


def test_a_csv_file_is_read_as_the_fields_say(tmp_path: Path) -> None:
    features, prices, buildings = table.read(write_csv(tmp_path / "flats.csv"))
    expected = listings.listings(3, 150)
    assert np.array_equal(features, expected[0], equal_nan=True)
    assert (prices == expected[1]).all() and (buildings == expected[2]).all()
    kind = NAMES.index("building_type_int")
    words = table.read(write_csv(tmp_path / "words.csv", {0: {NAMES[kind]: "wood"}, 1: {NAMES[kind]: "6"}}))
    assert words[0][:2, kind].tolist() == [6, 6]
    data = recipe.load({"csv": str(tmp_path / "flats.csv")})
    assert data.source == "flats.csv: 150 listings"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"building_type_int": "clay"}, r"row 5, column building_type_int: 'clay' is not one of unknown \(0\), brick"),
        ({"building_type_int": 7}, "row 5, column building_type_int: '7' is not one of unknown"),
        ({"floor": "second"}, r"row 5, column floor: 'second' is not a whole number from 1 to 100"),
        ({"floor": 2.5}, "row 5, column floor: '2.5' is not a whole number"),
        ({"total_area": ""}, "row 5, column total_area: '' is not a number from 8 to 1000 m²"),
        ({"total_area": "nan"}, "row 5, column total_area: 'nan'"),
        ({"price": "inf"}, "row 5, column price: 'inf'"),
        ({"price": -1}, "row 5, column price: '-1'"),
        ({"rooms": "inf"}, "row 5, column rooms: 'inf'"),
        ({"has_elevator": "maybe"}, "row 5, column has_elevator: 'maybe' is not true or false"),
        ({"is_apartment": 0.5}, "row 5, column is_apartment: '0.5' is not true or false"),
        ({"latitude": 41.3}, "row 5, column latitude: '41.3' is not a number from 55 to 56.5 °"),
        ({"floor": 9, "floors_total": 5}, "row 5, column floor: 9 is above floors_total, 5"),
        ({"living_area": 60, "total_area": 50}, "row 5, column living_area: 60 is above total_area, 50"),
    ],
)
def test_a_wrong_cell_is_named(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        table.read(write_csv(tmp_path / "flats.csv", {3: change}))


def test_wrong_columns_and_too_few_rows_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lacks flats_count among its columns price, has_elevator"):
        table.read(write_csv(tmp_path / "flats.csv", drop="flats_count"))
    with pytest.raises(ValueError, match="has 20 rows of listings, training needs 100"):
        table.read(write_csv(tmp_path / "flats.csv", count=20))
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match="lacks floor"):
        table.read(tmp_path / "empty.csv")


def test_a_short_row_is_named(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "flats.csv")
    lines = path.read_text().splitlines()
    lines[7] = "5000000,1"
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"row 8, column floor: '' is not"):
        table.read(path)


def test_training_on_a_csv_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    from train.__main__ import main

    monkeypatch.setattr(recipe, "TREES", 60)
    write_csv(tmp_path / "flats.csv", count=3000)
    assert main(["homes", "--csv", str(tmp_path / "flats.csv"), "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "r2 0." in out and "mae" in out and "mape" in out
    assert (tmp_path / "homes/errors.png").read_bytes()[1:4] == b"PNG"
    write_csv(tmp_path / "flats.csv", {0: {"rooms": "many"}}, count=3000)
    assert main(["homes", "--csv", str(tmp_path / "flats.csv"), "--out", str(tmp_path)]) == 1
    assert "row 2, column rooms: 'many'" in capsys.readouterr().err
    assert main(["homes", "--csv", str(tmp_path / "none.csv"), "--out", str(tmp_path)]) == 1
    assert "none.csv" in capsys.readouterr().err
