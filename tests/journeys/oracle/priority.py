"""Who goes first: the points of a rule, read from its definition and given for what is known of a person."""

from typing import Any

Row = dict[str, Any]


def priority_under(rule: Row, participant: Row, household: Row, head: Row | None) -> Row:
    """What was seen at the door goes before what the list says. What nobody knows holds for no part."""
    seen, listed = participant["conditions"] or {}, household["conditions"]
    known = {
        "welfare_decile": household["welfare_decile"],
        "welfare_percentile": household["welfare_percentile"],
        "people": household["people"],
        "head_age_band": head and head["age_band"],
        "head_sex": head and head["sex"],
        "age_band": participant["age_band"],
        "sex": participant["sex"],
        "latrine": seen.get("latrine") or listed["latrine"],
        "drinking_water": seen.get("drinking_water") or listed["drinking_water"],
        "stunting_risk": listed["stunting_risk"] if seen.get("stunting_risk") is None else seen["stunting_risk"],
        "receives_assistance": bool(seen.get("social_assistance") or listed["social_assistance"]),
        "can_leave_home": participant["can_leave_home"],
        "situation_changed": participant["situation_changed"],
    }
    parts = [
        {
            "name": part["name"],
            "points": part["points"],
            "because": ", ".join(f"{name} is {_in_words(known[name])}" for name in known if name in part["when"]),
        }
        for part in rule["definition"]["parts"]
        if all(_holds(wanted, known[name]) for name, wanted in part["when"].items())
    ]
    return {
        "score": sum(part["points"] for part in parts),
        "parts": parts,
        "rule_id": "priority",
        "rule_version": rule["rule_version"],
    }


def _holds(wanted: Any, found: Any) -> bool:
    if found is None:
        return False
    if isinstance(wanted, dict):
        return bool(wanted.get("at_least", found) <= found <= wanted.get("at_most", found))
    return found in wanted if isinstance(wanted, list) else found is wanted


def _in_words(found: Any) -> str:
    return {True: "yes", False: "no"}[found] if isinstance(found, bool) else str(found)
