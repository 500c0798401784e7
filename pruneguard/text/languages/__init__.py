"""What the rules know in each language. A new language is one file with a `Language`, and one line here."""

from pruneguard.text.languages.chinese import CHINESE
from pruneguard.text.languages.english import ENGLISH
from pruneguard.text.languages.french import FRENCH
from pruneguard.text.languages.german import GERMAN
from pruneguard.text.languages.italian import ITALIAN
from pruneguard.text.languages.japanese import JAPANESE
from pruneguard.text.languages.portuguese import PORTUGUESE
from pruneguard.text.languages.russian import RUSSIAN
from pruneguard.text.languages.spanish import SPANISH

LANGUAGES = (ENGLISH, GERMAN, FRENCH, SPANISH, ITALIAN, PORTUGUESE, JAPANESE, CHINESE, RUSSIAN)
