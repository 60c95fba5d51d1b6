"""HTTP in: who may ask what of training, and how it answers. One module for each concept."""

from fastapi import APIRouter

from services.training.api import candidates, classes, cohorts, enrolments, figures, programmes, rules

router = APIRouter()
for part in (programmes, candidates, cohorts, enrolments, classes, rules, figures):
    router.include_router(part.router)

__all__ = ["router"]
