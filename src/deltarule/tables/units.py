"""Units and signs that stand at numbers in text: those of one family differ by a factor."""

from __future__ import annotations

_CURRENCIES = (
    "$ € £ ¥ ₹ ₽ ₩ ₺ ₫ ฿ us$ usd eur gbp jpy cny rmb inr rs rs. chf sek nok dkk kr kr. aud a$ cad "
    "c$ nzd nz$ sgd s$ hkd hk$ brl r$ zar rub pln zł czk kč huf ft krw try mxn mx$"
)
CURRENCIES = frozenset(_CURRENCIES.split(" "))
_COMPARISONS = "= < > <= >= ≤ ≥ ~ ≈ ca. ca approx. about up to over under"
COMPARISONS = frozenset(_COMPARISONS.split(" "))

_FAMILIES: tuple[dict[str, float], ...] = (
    {"k": 1e3, "thousand": 1e3, "m": 1e6, "mn": 1e6, "mio": 1e6, "mio.": 1e6, "million": 1e6}
    | {"b": 1e9, "bn": 1e9, "billion": 1e9, "mrd": 1e9, "mrd.": 1e9, "t": 1e12, "trillion": 1e12},
    {"b": 1, "byte": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "pb": 1e15}
    | {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40},
    {"µg": 1e-6, "ug": 1e-6, "mg": 1e-3, "g": 1, "gram": 1, "kg": 1e3, "kilo": 1e3}
    | {"t": 1e6, "tonne": 1e6, "lb": 453.59237, "pound": 453.59237, "oz": 28.349523125},
    {"nm": 1e-9, "µm": 1e-6, "um": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1, "metre": 1, "meter": 1}
    | {"km": 1e3, '"': 0.0254, "''": 0.0254, "”": 0.0254, "in": 0.0254, "inch": 0.0254}
    | {"inches": 0.0254, "'": 0.3048, "ft": 0.3048, "foot": 0.3048, "feet": 0.3048}
    | {"yd": 0.9144, "yard": 0.9144, "mi": 1609.344, "mile": 1609.344},
    {"ms": 1e-3, "s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "m": 60, "h": 3600}
    | {"hr": 3600, "hour": 3600, "d": 86400, "day": 86400, "week": 604800, "wk": 604800}
    | {"month": 2629746, "mo": 2629746, "year": 31556952, "yr": 31556952, "y": 31556952},
    {"hz": 1, "khz": 1e3, "mhz": 1e6, "ghz": 1e9},
    {"mw": 1e-3, "w": 1, "watt": 1, "kw": 1e3, "ps": 735.49875, "hp": 745.69987, "bhp": 745.69987},
    {"ml": 1e-3, "cl": 1e-2, "dl": 1e-1, "l": 1, "liter": 1, "litre": 1, "cc": 1e-3},
    {"v": 1, "mv": 1e-3, "kv": 1e3},
    {"m²": 1, "m2": 1, "sqm": 1, "qm": 1, "sqft": 0.09290304, "ft²": 0.09290304, "ha": 1e4}
    | {"acre": 4046.8564224, "km²": 1e6, "km2": 1e6},
    {"%": 1, "percent": 1, "pct": 1},
    {"st": 1, "nd": 1, "rd": 1, "th": 1, ".": 1},  # 1st, 2nd, 3rd, 4th
)


def plain_unit(unit: str) -> str:
    """Return a unit without case, inner spaces, dots at its end and the s of a plural."""
    found = unit.strip().casefold().lstrip("+").strip()
    if len(found) > 2:
        found = found.removesuffix(".").replace(" ", "")
    return found[:-1] if len(found) > 2 and found.endswith("s") else found


def factors_of(counts: dict[str, int]) -> dict[str, float] | None:
    """Return the factor of each unit that may occur beside those found; None if they do not fit.

    ``counts`` says how often each plain unit occurs ("" for none). Units of one family get their
    factor relative to the most frequent one; any other unit must stand alone.
    """
    named = {unit: count for unit, count in counts.items() if unit}
    if not named:
        return {"": 1.0}
    total = sum(counts.values())
    main = max(named, key=lambda unit: (named[unit], unit))
    families = [family for family in _FAMILIES if main in family]
    if families:
        best = max(families, key=lambda family: sum(named.get(unit, 0) for unit in family))
        covered = sum(named.get(unit, 0) for unit in best) + counts.get("", 0)
        if covered >= 0.9 * total:
            magnitude = best is _FAMILIES[0]
            base = 1.0 if magnitude else best[main]
            return {"": 1.0} | {unit: factor / base for unit, factor in best.items()}
    if named[main] + counts.get("", 0) >= 0.9 * total and len(main) <= 15:
        return {"": 1.0, main: 1.0}
    return None


def is_unit(unit: str) -> bool:
    """Whether a plain unit is known."""
    return any(unit in family for family in _FAMILIES)


def family_of(unit: str) -> dict[str, float]:
    """Return the units that measure the same, with their factors; only itself if it is unknown."""
    return next((family for family in _FAMILIES if unit in family), {unit: 1.0})
