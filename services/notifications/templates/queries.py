"""What is asked of templates."""

from services.kit.rows import Connection, statements
from services.notifications.templates.state import TEMPLATES, Template

_ALL = f"SELECT {', '.join(TEMPLATES.columns)} FROM template ORDER BY template_id"


async def every_template(connection: Connection) -> list[Template]:
    return statements(TEMPLATES).rows(await connection.fetch(_ALL))
