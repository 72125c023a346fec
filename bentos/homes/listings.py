"""Made-up flat listings, for want of real ones that may be given away.

Buildings come first: where they stand (crowded towards the centre), when they were built (older towards the centre)
and so of what, how high, with how many flats and whether with a lift; each has a quality that no field tells. Flats
are then drawn from buildings. A square metre costs less with every kilometre from the centre and from the metro, and:

- the ground floor costs less, the top floor costs less where there is no lift, and height is worth more in new towers;
- panel walls cost less the older they are, high ceilings are worth more in old brick than elsewhere;
- large flats cost less a metre at the edge and more in the centre; a large kitchen pays in small flats;
- apartments cost less, and the more so far out;
- one listing in sixty is an outlier: a forced sale, a luxury renovation, or a slip of the pen.

A third of the listings leave out the living area, a quarter the kitchen's; studios have no kitchen of their own.
"""

from __future__ import annotations

import numpy as np

from bentos.homes.model import FIELDS

BUILDINGS = 2500
LISTINGS = 20_000
CENTRE = np.array([55.7539, 37.6208])
KM = np.array([111.2, 62.7])  # of a degree of latitude and of longitude, at Moscow
BASE = 310_000.0  # roubles a square metre at the centre
OUTLIERS = 1 / 60
NOISE = 0.07  # of the logarithm of a price
Columns = dict[str, np.ndarray]


def listings(seed: int, count: int = LISTINGS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (count, 15) float32, prices (count,) in roubles, buildings (count,): the same for the same seed."""
    random = np.random.default_rng(seed)
    houses = buildings(random, BUILDINGS)
    building = random.integers(0, BUILDINGS, count)
    flat = flats(random, {name: column[building] for name, column in houses.items()})
    price = prices(random, flat)
    leave_out(random, flat)
    return np.stack([flat[f.name] for f in FIELDS], 1).astype(np.float32), price, flat["building_id"].astype(int)


def buildings(random: np.random.Generator, count: int) -> Columns:
    """What listings say of buildings, and what they do not: `distance` and `metro` (km), `quality`."""
    distance = np.minimum(random.gamma(2.2, 5.0, count), 38)
    angle = random.uniform(0, 2 * np.pi, count)
    km = distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    new = random.random(count) < 0.32
    old_year = 1962 + 1.3 * distance + random.normal(0, 17, count)
    year = np.where(new, random.integers(2005, 2026, count), old_year.clip(1880, 2004)).astype(int)
    kind, floors = walls(random, year)
    entrances = random.integers(1, 6, count)
    return {
        "building_id": np.sort(random.choice(np.arange(1, 60_000), count, replace=False)),
        "latitude": CENTRE[0] + km[:, 0] / KM[0],
        "longitude": CENTRE[1] + km[:, 1] / KM[1],
        "build_year": year,
        "building_type_int": kind,
        "floors_total": floors,
        "flats_count": (floors * entrances * random.integers(3, 6, count)).clip(4, 3000),
        "has_elevator": (floors > 5) | (year > 2010),
        "ceiling_height": ceilings(random, year, kind).round(2),
        "distance": distance,
        "metro": random.gamma(1.6, 0.5, count) * (1 + distance / 15),
        "quality": random.normal(0, 0.07, count),
    }


def walls(random: np.random.Generator, year: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Building types (see model.BUILDING_TYPES) and floors, as their time built them."""
    eras = np.searchsorted([1956, 1970, 2005], year, side="right")
    types = np.array([[0.02, 0.85, 0, 0.08, 0, 0, 0.05], [0.02, 0.3, 0.5, 0.18, 0, 0, 0],
                      [0.02, 0.12, 0.7, 0.1, 0.06, 0, 0], [0.03, 0.07, 0.2, 0, 0.45, 0.25, 0]])  # fmt: skip
    kind = (random.random((len(year), 1)) > types.cumsum(1)[eras]).sum(1)
    low, high = np.array([[2, 9], [4, 10], [9, 23], [7, 38]])[eras].T
    return kind, np.where(kind == 6, 2, random.integers(low, high))


def ceilings(random: np.random.Generator, year: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Metres from floor to ceiling, as their time built them. (n,) → (n,)"""
    typical = np.select([year < 1956, year < 1970, kind == 2], [3.1, 2.52, 2.64], 2.8)
    return (typical + np.abs(random.normal(0, 0.12, len(year)))).clip(2.4, 4.5)


def flats(random: np.random.Generator, flat: Columns) -> Columns:
    """Add to each row's building what is the flat's own. Areas are rounded as listings round them."""
    count = len(flat["build_year"])
    flat["rooms"] = random.choice([0, 1, 2, 3, 4, 5], count, p=[0.07, 0.29, 0.35, 0.22, 0.055, 0.015])
    typical = np.array([27, 38, 55, 76, 105, 150])[flat["rooms"]]
    roomy = 1 + 0.1 * (flat["build_year"] > 2000) + 0.14 * (flat["build_year"] < 1956)
    total = (typical * roomy * random.lognormal(0, 0.16, count)).clip(14, 400)
    flat["total_area"] = total.round(1)
    flat["kitchen_area"] = (5.5 + total * random.uniform(0.04, 0.14, count)).clip(5, 60).round(1)
    share = random.uniform(0.5, 0.66, count)
    flat["living_area"] = np.minimum(total * share, total - flat["kitchen_area"] - 3).clip(5).round(1)
    flat["floor"] = random.integers(1, flat["floors_total"] + 1)
    flat["is_apartment"] = (flat["build_year"] > 2005) & (random.random(count) < 0.16)
    return flat


def prices(random: np.random.Generator, flat: Columns) -> np.ndarray:
    """Roubles, to the nearest thousand, from the rules that the module's text tells."""
    year, far, total = flat["build_year"], flat["distance"], flat["total_area"]
    new, old_brick = year > 2005, (year < 1956) & (flat["building_type_int"] == 1)
    panel, wood = flat["building_type_int"] == 2, flat["building_type_int"] == 6
    top, ground = flat["floor"] == flat["floors_total"], flat["floor"] == 1
    effects = [
        -0.042 * far,
        -0.05 * flat["metro"],
        -0.08 * ground,
        -0.09 * (top & ~flat["has_elevator"]),
        0.006 * flat["floor"] * (new & (flat["floors_total"] > 15)),
        np.select([panel, wood], [-0.003 * (2026 - year), -0.35], 0.03),
        0.12 * new,
        (flat["ceiling_height"] - 2.7) * np.where(old_brick, 0.45, 0.15),
        np.log(total / 55) * np.where(far < 5, 0.12, -0.1),
        0.012 * (flat["kitchen_area"] - 9).clip(-4, 8) * (total < 60),
        -(0.08 + 0.006 * far) * flat["is_apartment"],
        flat["quality"],
        random.normal(0, NOISE, len(total)),
    ]
    rare = random.random(len(total)) < OUTLIERS
    factor = np.where(rare, random.choice([0.5, 0.7, 1.5, 2.0], len(total)), 1.0)
    return np.asarray((BASE * total * factor * np.exp(sum(effects))).round(-3))


def leave_out(random: np.random.Generator, flat: Columns) -> None:
    """Put NaN where a listing says nothing."""
    count = len(flat["rooms"])
    no_kitchen = (random.random(count) < 0.25) | ((flat["rooms"] == 0) & (random.random(count) < 0.8))
    flat["kitchen_area"] = np.where(no_kitchen, np.nan, flat["kitchen_area"])
    flat["living_area"] = np.where(random.random(count) < 1 / 3, np.nan, flat["living_area"])
