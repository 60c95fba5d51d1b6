"""What messages say: every version of each template, since a message says what its own version says."""

from dataclasses import dataclass
from datetime import datetime

from contracts.envelope import Envelope, Event, Open, Value
from contracts.notifications import TemplateAdopted
from services.kit.table import Table, replace


class TemplateVersion(Value):
    template_version: Open[int]
    subject_id: Open[str]  # the subject line in Bahasa Indonesia
    subject_en: Open[str]
    text_id: Open[str]
    text_en: Open[str]
    adopted_at: Open[datetime]


@dataclass(frozen=True, slots=True)
class Template:
    template_id: str
    version: int
    area_code: str  # "": it is said everywhere
    versions: tuple[TemplateVersion, ...]  # oldest first

    @property
    def in_force(self) -> TemplateVersion:
        return self.versions[-1]

    def at(self, instant: datetime) -> TemplateVersion:
        """The version that was in force then. A rule is adopted after its template, so there was one."""
        then = (version for version in reversed(self.versions) if version.adopted_at <= instant)
        return next(then, self.versions[0])

    def numbered(self, template_version: int) -> TemplateVersion:
        """That version."""
        return next(version for version in self.versions if version.template_version == template_version)


def evolve_template(template: Template | None, event: Event, envelope: Envelope) -> Template | None:
    match event:
        case TemplateAdopted():
            adopted = TemplateVersion(
                template_version=event.template_version,
                subject_id=event.subject_id,
                subject_en=event.subject_en,
                text_id=event.text_id,
                text_en=event.text_en,
                adopted_at=envelope.time,
            )
            if template is None:
                return Template(event.template_id, envelope.version, "", (adopted,))
            return replace(template, versions=(*template.versions, adopted))
        case _:
            return template


TEMPLATES = Table(
    "template",
    Template,
    topic="notifications.templates",
    key=("template_id",),
    evolve=evolve_template,
    head=True,
)
