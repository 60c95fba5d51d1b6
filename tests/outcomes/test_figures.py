"""Figures over facts: exact for those who may see them, protected for everybody."""

from tests.outcomes.conftest import Outcomes
from tests.outcomes.facts import held, known

async def test_smoke(outcomes: Outcomes):
    await outcomes.told(*[e for n in range(8) for e in known(f"p{n}")])
    await outcomes.told(*held(*[f"p{n}" for n in range(8)]))
    officer = outcomes.officer()
    for f in await officer.shown("/figures"):
        for by in [None, *f["by"]]:
            x = await officer.shown(f"/figures/{f['id']}", **({"by": by} if by else {}))
            print(f["id"], by, x["total"], x["parts"][:3])
    p = await outcomes.client.get("/public/figures")
    print(p.json())
    for f in p.json()["figures"]:
        for by in [None, *f["by"]]:
            x = await outcomes.client.get(f"/public/figures/{f['id']}", params={"by": by} if by else {})
            assert x.status_code == 200, x.text
            print(f["id"], by, x.json()["total"], [(q["key"], q["value"], q["hidden"]) for q in x.json()["parts"] if q["value"] != 0][:5])
    print(x.json())
