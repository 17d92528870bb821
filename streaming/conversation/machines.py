"""What answering machines and call screeners say, by language: patterns over ``normalise``d words. Pure.

Machines speak the language of the phone they stand for, or English; so English is always looked for too.
"""

import re
from functools import lru_cache

import msgspec

from streaming.conversation.languages import normalise


class Told(msgspec.Struct, frozen=True):
    """What words tell of whoever says them.

    Attributes:
        machine: they ask for a message: no person does.
        hint: a person might say so, a machine would.
        screening: they ask who is calling, and why.
        hold: they ask to wait, or thank for the answer.
    """

    machine: bool = False
    hint: bool = False
    screening: bool = False
    hold: bool = False


class _Patterns(msgspec.Struct, frozen=True, kw_only=True):
    machine: tuple[str, ...]
    hint: tuple[str, ...] = ()
    screening: tuple[str, ...] = ()
    hold: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()  # right before what a machine would say: a person offers it


_PATTERNS = {
    "en": _Patterns(
        machine=(
            r"leave (me |us )?(a |your )?(short |brief |detailed )?(voice )?message",
            r"leave (me |us )?your (name|number|details)",
            r"(after|at|following) the (tone|beep|signal)",
            r"(reached|to|leave a) (an? |the )?(automat(ed|ic) )?voice ?(mail|messag)",
            r"\S+'s voice ?mail",
            r"(voice ?mail|mail ?box) (of|for|box|service|system|is full)",
            r"record (your|a) message",
            r"(can't|cannot|can not|unable to) (come to the phone|answer (the|your) (phone|call)|take your call)",
            r"(not available|unavailable) to (take|answer) your call",
            r"(person|number|customer|subscriber|party) you ('re |are |have )?(call|dial|reach|try)(l?ed|ing)",
        ),
        hint=(
            r"you('ve| have) reached",
            r"not available",
            r"unavailable",
            r"away from (my|the) (phone|desk)",
            r"missed your call",
            r"office (is|hours)",
            r"(get|call) (back to you|you back) as soon as",
            r"answering machine",
            r"press (one|two|1|2|pound|star)",
        ),
        screening=(
            r"(state|say|record|tell me|give) your name",
            r"(reason|purpose) (for|of) (your call|calling|the call)",
            r"why you('re| are) calling",
            r"call (screening|assist|assistant)",
            r"using a (screening|call)",
        ),
        hold=(
            r"(stay|hold|remain) on",
            r"please (hold|wait)",
            r"hold on",
            r"(one|a) moment",
            r"thank(s| you)",
            r"connect(ing)? (you|your call)",
            r"see if (this|the) person",
        ),
        offers=(
            r"(would|do|if) you('d| would)?",
            r"(want|like) to",
            r"(can|may|could|shall|should) i",
            r"i('ll| will)",
            r"you (can|could|may)",
        ),
    ),
    "de": _Patterns(
        machine=(
            r"(hinterlassen|sprechen) sie .{0,40}(nachricht|mitteilung)",
            r"nach dem (signalton|piepton|piep|ton|signal)",
            r"(mail|sprach)box (von|des|der)",
            r"anrufbeantworter von",
            r"(gesprächspartner|teilnehmer|rufnummer|nummer) .{0,30}(nicht|vergeben)",
        ),
        hint=(
            r"sind verbunden mit",
            r"anrufbeantworter",
            r"(zurzeit|derzeit|momentan|vorübergehend) nicht (erreichbar|zu erreichen)",
            r"(bin|sind) (gerade|zurzeit|im moment|leider|momentan) nicht",
            r"rufe .{0,20}zurück",
        ),
        screening=(r"nennen sie .{0,10}ihren namen", r"(grund|anlass) (ihres|für ihren) anruf"),
        hold=(r"bleiben sie", r"einen moment", r"danke", r"bitte warten"),
        offers=(r"(möchten|wollen|soll|kann|darf) (sie|ich)",),
    ),
    "es": _Patterns(
        machine=(
            r"deje (su|un|tu|el) (mensaje|nombre|recado)",
            r"después (del tono|de la señal|de oír)",
            r"buzón",
            r"contestador",
            r"(teléfono|número|abonado|cliente|usuario) .{0,40}no (está|se encuentra) disponible",
            r"grabe su mensaje",
        ),
        hint=(r"(ha|has) llamado a", r"no (está|se encuentra) disponible", r"no (puedo|podemos) (atender|contestar)"),
        screening=(r"(diga|indique|grabe) su nombre", r"motivo de (su|la) llamada"),
        hold=(r"(no cuelgue|espere)", r"un momento", r"gracias"),
        offers=(r"(quiere|desea|puedo|quieres)( que)?",),
    ),
    "fr": _Patterns(
        machine=(
            r"laissez (moi |nous )?(un|votre|vos) (message|nom|coordonnées)",
            r"après le (bip|signal|top)",
            r"messagerie",
            r"répondeur",
            r"votre correspondant .{0,30}(pas|injoignable)",
        ),
        hint=(r"bien (sur|chez|joint)", r"(ne suis|n'est|ne sommes) pas (disponible|là)", r"rappeler(ai|ons)"),
        screening=(r"(dites|donnez|indiquez) (moi )?votre nom", r"(motif|raison|objet) de votre appel"),
        hold=(r"(restez|patientez)", r"un (instant|moment)", r"merci", r"ne quittez pas"),
        offers=(r"(voulez|souhaitez|désirez|pouvez) vous", r"(je peux|puis je)"),
    ),
    "hi": _Patterns(
        machine=(
            r"(बीप|टोन) के बाद",
            r"(संदेश|मैसेज) (छोड़|रिकॉर्ड)",
            r"(वॉइस|वॉयस) ?मेल",
            r"(नंबर|ग्राहक|सब्सक्राइबर) .{0,60}(व्यस्त|बंद|पहुंच से बाहर) है",
        ),
        hint=(r"उपलब्ध नहीं", r"(व्यस्त|बंद|पहुंच से बाहर) है"),
        screening=(r"(अपना|आपका) नाम (बताएं|बताइए|कहें)", r"कॉल करने का कारण"),
        hold=(r"(रुकिए|प्रतीक्षा)", r"धन्यवाद"),
    ),
}


class _Compiled(msgspec.Struct, frozen=True):
    machine: re.Pattern[str]
    hint: re.Pattern[str]
    screening: re.Pattern[str]
    hold: re.Pattern[str]
    offers: re.Pattern[str]

    def asks_for_a_message(self, words: str) -> bool:
        """Whether they ask for one, and do not only offer to take one."""
        return any(not self.offers.search(words[: found.start()]) for found in self.machine.finditer(words))


def told(text: str, tag: str) -> Told:
    """What the words of whoever has answered tell of them.

    Args:
        text: all that they have said so far, or of late.
        tag: BCP 47, of the agent.
    """
    words = normalise(text)
    rules = _compiled(tag.split("-", maxsplit=1)[0].casefold())
    return Told(
        machine=any(rule.asks_for_a_message(words) for rule in rules),
        hint=any(rule.hint.search(words) for rule in rules),
        screening=any(rule.screening.search(words) for rule in rules),
        hold=any(rule.hold.search(words) for rule in rules),
    )


@lru_cache(maxsize=32)
def _compiled(language: str) -> tuple[_Compiled, ...]:
    chosen = [_PATTERNS[name] for name in dict.fromkeys([language, "en"]) if name in _PATTERNS]
    return tuple(
        _Compiled(
            machine=_any(each.machine),
            hint=_any(each.hint),
            screening=_any(each.screening),
            hold=_any(each.hold),
            offers=_any(each.offers, behind=r"(?: \S+){0,2} $"),
        )
        for each in chosen
    )


def _any(patterns: tuple[str, ...], *, behind: str = "") -> re.Pattern[str]:
    """One pattern for all, which begin with a word; for none one that nothing matches."""
    return re.compile("|".join(rf"(?<!\w)(?:{pattern}){behind}" for pattern in patterns) or r"(?!)")
