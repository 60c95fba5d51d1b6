"""What messages say."""

from dataclasses import asdict
from datetime import datetime

from fastapi import APIRouter, Response
from pydantic import BaseModel

from services.notifications.api.shapes import OfficerWork, OpenReads
from services.notifications.defaults import TEMPLATES_TO_ADOPT
from services.notifications.rules.queries import hold_templates, rules_using
from services.notifications.templates import decisions, queries
from services.notifications.templates.state import TEMPLATES, Template, TemplateVersion

router = APIRouter(tags=["templates"])


class TemplateView(BaseModel):
    """What is in force, with the versions before."""

    template_id: str
    version: int
    template_version: int
    subject_id: str
    subject_en: str
    text_id: str
    text_en: str
    adopted_at: datetime
    earlier: tuple[TemplateVersion, ...]


def _view(template: Template) -> TemplateView:
    *earlier, in_force = template.versions
    return TemplateView(
        template_id=template.template_id, version=template.version, earlier=tuple(earlier), **asdict(in_force)
    )


@router.post("/templates", status_code=201, response_model=TemplateView)
async def adopt_template(command: decisions.AdoptTemplate, work: OfficerWork) -> Response:
    """Says how a message reads from now on, in both languages; nothing changes if it says just this already."""
    async with work as tx:
        tx.authorise("")
        await hold_templates(tx.connection)
        template = await tx.row(TEMPLATES, command.template_id)
        tx.expect_version(template)
        rules = await rules_using(tx.connection, command.template_id)
        await tx.decide(decisions.adopt(template, rules, command))
        template = await tx.row(TEMPLATES, command.template_id)
        assert template is not None
        stream = f"{TEMPLATES.topic}/{template.template_id}"
        return tx.answer(_view(template), status=201, version=template.version, stream=stream)


@router.get("/templates")
async def list_templates(reads: OpenReads) -> list[TemplateView]:
    """The templates in force, with the versions before."""
    async with reads as db:
        return [_view(template) for template in await queries.every_template(db.connection)]


@router.get("/templates/default")
async def show_default_templates(reads: OpenReads) -> tuple[decisions.AdoptTemplate, ...]:
    """What a fresh system may adopt: the bodies of POST /templates."""
    return TEMPLATES_TO_ADOPT
