"""What outcomes answers over HTTP."""

from fastapi import APIRouter

from services.outcomes.api import (
    business_units,
    cases,
    cooperatives,
    figures,
    follow_ups,
    interventions,
    pages,
    public,
    rejections,
    rules,
)

router = APIRouter()
for part in (rules, cases, follow_ups, business_units, interventions, cooperatives, rejections, figures, public, pages):
    router.include_router(part.router)
