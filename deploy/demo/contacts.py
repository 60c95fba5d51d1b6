"""How people want to be told: facilitators say where they can be reached, and a few participants what they prefer."""

from deploy.demo.clients import Json, together
from deploy.demo.play import OFFICER, Play

_NAMES = (
    "Baiq Rahmawati",
    "Lalu Hamdani",
    "Siti Aminah",
    "Muhammad Rizal",
    "Nurhayati",
    "Arif Budiman",
    "Ni Luh Sari",
    "Zainuddin",
    "Sri Wahyuni",
    "Fathurrahman",
    "Dewi Kartika",
)

PREFERENCES: tuple[Json, ...] = (
    {"opted_out": True},
    {"channels": ["sms"]},
    {"language": "en"},
    {"opted_out": True},
)
"""Of the first who are verified, in the order of the list."""


async def give_contacts(play: Play) -> None:
    """Made-up names, and numbers and addresses that nobody has; every third facilitator reads mail before WhatsApp."""
    facilitators = {
        client: str(areas[0])
        for client, known in sorted(play.stack.clients.items())
        if "facilitator" in _words(known["roles"]) and (areas := _words(known["areas"]))
    }
    bodies = {client: contact_of(number, area) for number, (client, area) in enumerate(sorted(facilitators.items()))}
    await together(
        play.house.notifications.put(f"/contacts/staff:{client}", body, who=OFFICER, step=f"contact {client}")
        for client, body in bodies.items()
    )
    play.telling.say(f"{len(bodies)} facilitators have said where they can be reached")


def contact_of(number: int, area: str) -> Json:
    contact: Json = {
        "name": _NAMES[number % len(_NAMES)],
        "phone": f"0844-999-{number:04}",
        "email": f"pendamping{number}@demo.invalid",
        "area_code": area,
    }
    return contact | ({"channels": ["email", "whatsapp"]} if number % 3 == 2 else {})


async def say_what_is_preferred(play: Play) -> None:
    """Some do not want to be written to; one reads SMS only, one English."""
    known = play.tally.participants
    verified = sorted(
        (person for person in play.visited if known[person.person_id].status == "verified"), key=lambda p: p.row
    )
    for person, preference in zip(verified, PREFERENCES * (1 if play.size.name == "small" else 5), strict=False):
        path = f"/contacts/{person.person_id}"
        await play.house.notifications.put(path, preference, who=OFFICER, step=f"contact {person.person_id}")
    play.telling.say("participants have said what they prefer: some want no messages, one SMS only, one English")


def _words(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else []
