"""Texts in both languages: Bahasa Indonesia first, English second."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Language = Literal["id", "en"]


class Text(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str
    en: str

    def in_(self, language: Language) -> str:
        return self.id if language == "id" else self.en


def both(indonesian: str, english: str) -> Text:
    return Text(id=indonesian, en=english)
