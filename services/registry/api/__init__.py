"""HTTP in: the registry's routes, by concept."""

from fastapi import APIRouter

from services.registry.api import households, keys, participants, people, rejections, rules, snapshots

router = APIRouter()
for concept in (snapshots, households, participants, people, rules, rejections, keys):
    router.include_router(concept.router)
