"""HTTP in: who may ask what of notifications, and how it answers. One module for each concept."""

from fastapi import APIRouter

from services.notifications.api import contacts, notifications, receipts, rules, templates

router = APIRouter()
for part in (rules, templates, contacts, notifications, receipts):
    router.include_router(part.router)

__all__ = ["router"]
