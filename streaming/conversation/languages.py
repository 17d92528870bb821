"""What the conversation core knows of the languages people speak to it in.

Word lists for endpointing and interruption, and the two short phrases that the core says of its own accord. A language
that is not listed gets empty lists: every rule then falls back on durations and punctuation. Pure data and lookup.
"""

import re
import unicodedata
from collections.abc import Iterable

import msgspec

# Marks that end a sentence, in the scripts of the languages that voices speak: . ! ? and their full-width forms, danda.
WIDE_ENDS = "\u3002\uff01\uff1f"
SENTENCE_ENDS = f".!?{WIDE_ENDS}\u0964"
CLAUSE_ENDS = ",;:\u2013\u2014"


class Language(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one language; every word and phrase is in ``normalise``d form.

    Attributes:
        backchannels: said to show that one listens; they never interrupt.
        stops: they always interrupt.
        greetings: said over the opening, they ask for nothing.
        farewells: said over the goodbye, they ask for nothing.
        answers: a short answer that is complete without punctuation.
        fillers: they count as no word at all.
        tails: a sentence that ends with one of these goes on.
        digits: spoken digits and the words around them ("double", "oh").
        negations: in a whole sentence, they refuse what was asked for ("I don't have one").
        asks: patterns, by what the agent asks for, that call for patience.
        no_calls: pattern of what people say who want no more calls; "not now" is not among it.
        say_again: said when the model had nothing to say, or broke off.
        lost: said when a lost stream was resumed.
        filler: said while a tool or an answer takes long.
        connecting: said before a caller is put through to somebody.
        opted_out, not_opted_out: said to who pressed the key for it: that it is so, or could not be noted.
    """

    backchannels: frozenset[str] = frozenset()
    stops: frozenset[str] = frozenset()
    greetings: frozenset[str] = frozenset()
    farewells: frozenset[str] = frozenset()
    answers: frozenset[str] = frozenset()
    fillers: frozenset[str] = frozenset()
    tails: frozenset[str] = frozenset()
    digits: frozenset[str] = frozenset()
    negations: frozenset[str] = frozenset()
    asks: tuple[tuple[str, str], ...] = ()
    no_calls: str = ""
    say_again: str = ""
    lost: str = ""
    filler: str = ""
    connecting: str = ""
    opted_out: str = ""
    not_opted_out: str = ""


def normalise(text: str) -> str:
    """Lower case, letters, marks and digits only, single spaces: what makes two transcripts "the same words"."""
    folded = unicodedata.normalize("NFC", text.casefold()).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    kept = [
        char if char.isalnum() or char == "'" or unicodedata.category(char)[0] == "M" else " "
        for char in folded
    ]  # fmt: skip
    return " ".join("".join(kept).split())


def _phrases(text: str) -> frozenset[str]:
    return frozenset(normalise(phrase) for phrase in re.split(r"[,\n]", text) if phrase.strip())


_ENGLISH = Language(
    backchannels=_phrases(
        """uh huh, uhhuh, mm hmm, mmhmm, mhm, mmm, mm, hm, hmm, mhmm, yeah, yes, yep, yup, ya, ok, okay, right,
        all right, alright, sure, i see, got it, gotcha, aha, ah, oh, oh ok, oh okay, good, great, cool, nice, perfect,
        fine, exactly, true, of course, absolutely, indeed, no problem, no worries, makes sense, sounds good, wow,
        really, interesting, thanks, thank you, understood"""
    ),
    stops=_phrases(
        """stop, wait, wait a minute, hold on, hang on, no, nope, excuse me, sorry, pardon, one moment, one second,
        just a second, just a minute, listen, shut up, be quiet, never mind, cancel, not that, hello hello,
        operator, let me speak"""
    ),
    greetings=_phrases(
        """hello, hi, hey, hiya, hello there, hi there, good morning, good afternoon, good evening, who is this,
        who's this, yes hello, speaking, anyone there, is anyone there"""
    ),
    farewells=_phrases(
        """bye, bye bye, goodbye, good bye, see you, see ya, take care, have a good day, have a nice day, you too,
        thanks, thank you, thank you so much, thank you very much, thanks a lot, cheers, good night, have a good one,
        talk soon, later"""
    ),
    answers=_phrases(
        """yes, yeah, yep, yup, no, nope, ok, okay, sure, please, thanks, thank you, correct, right, exactly, hello,
        hi, none, both, neither, today, tomorrow, never, always, maybe, absolutely, of course, bye, goodbye"""
    ),
    fillers=_phrases("um, uh, er, erm, umm, uhh, eh, well, like, so"),
    tails=_phrases(
        """and, or, but, because, so, if, when, that, which, who, where, while, the, a, an, to, of, in, on, at, for,
        from, with, by, about, my, your, his, her, our, their, its, is, are, was, were, am, i'm, it's, that's, i, we,
        you, he, she, they, not, then, than, as, like, um, uh, er, erm, well, maybe, would, could, can, will, should,
        have, has, had, want, need, let, name's, number's, plus, also"""
    ),
    digits=_phrases(
        """zero, oh, o, one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, fourteen,
        fifteen, sixteen, seventeen, eighteen, nineteen, twenty, thirty, forty, fifty, sixty, seventy, eighty, ninety,
        hundred, thousand, double, triple"""
    ),
    negations=_phrases("no, not, don't, dont, can't, cannot, haven't, won't, never, none"),
    asks=(
        ("email", r"\be-?\s?mail\b"),
        ("spelling", r"\bspell"),
        ("address", r"\baddress\b|\bpost\s?code\b|\bzip\b|\bstreet\b"),
        ("number", r"\b(?:number|digits?|date of birth|birth\s?day|code|pin|reference|expiry|account)\b"),
    ),
    no_calls=(
        r"(?:take|get|remove|delete) (?:me|us|my (?:phone )?number|this number)\b"
        r".*\b(?:lists?|database|records|system)\b"
        r"|(?:take|get) me off (?:your|this|that|it|of)\b|(?:delete|remove) (?:my|this) (?:phone )?number"
        r"|(?:stop|quit) (?:calling|ringing|phoning|bothering)"
        r"|(?:don't|dont|do not|never|not to) (?:ever )?(?:call|ring|phone|contact)(?: (?:me|us|here|this number))?"
        r"(?: again| any ?more| ever| please| thanks| thank you| bye| goodbye)*$"
        r"|(?:don't|dont|do not|never|not to) (?:ever )?(?:call|ring|phone|contact)\b.*\b(?:again|any ?more|ever)\b"
        r"|(?:don't|dont|do not) want (?:any )?(?:more |these |your )?calls"
        r"|(?:don't|dont|do not) want (?:you to call|to be called)"
        r"|no more calls|do not call list|unsubscribe|lose (?:my|this) number|opt (?:me )?out"
    ),
    say_again="Sorry, could you say that again?",
    lost="Sorry, I lost you for a moment. Please go on.",
    filler="One moment, please.",
    connecting="I am putting you through. One moment, please.",
    opted_out="You will not be called again. Goodbye.",
    not_opted_out="I am sorry, that could not be noted just now. Please tell me that you want no more calls.",
)

_GERMAN = Language(
    backchannels=_phrases(
        """mhm, mm, mmh, hm, aha, ah, ach, ach so, achso, ja, jo, jaja, ja ja, genau, okay, ok, gut, alles klar, klar,
        verstehe, ich verstehe, richtig, stimmt, schön, super, prima, in ordnung, sicher, natürlich, kein problem,
        danke, ja genau, ja gut, interessant, wirklich"""
    ),
    stops=_phrases(
        """stopp, stop, halt, warte, warten sie, moment, einen moment, moment mal, nein, nee, entschuldigung,
        entschuldigen sie, augenblick, hören sie, ruhe, vergessen sie es, abbrechen, sekunde"""
    ),
    greetings=_phrases(
        """hallo, hi, hey, guten tag, guten morgen, guten abend, grüß gott, moin, servus, wer ist da, ja hallo,
        ja bitte, grüezi"""
    ),
    farewells=_phrases(
        """tschüss, tschüs, auf wiederhören, auf wiedersehen, wiederhören, ciao, bis bald, bis dann, danke,
        vielen dank, danke schön, danke sehr, schönen tag, schönen tag noch, ihnen auch, ebenso, gleichfalls"""
    ),
    answers=_phrases(
        """ja, nein, nee, doch, okay, ok, gut, gerne, bitte, danke, genau, richtig, hallo, stimmt, heute, morgen,
        natürlich, klar, nie, immer, vielleicht, beide, keine, tschüss"""
    ),
    fillers=_phrases("äh, ähm, hm, öh, em, also, naja, na ja"),
    tails=_phrases(
        """und, oder, aber, weil, dass, wenn, ob, der, die, das, dem, den, des, ein, eine, einen, einem, einer, zu, zum,
        zur, von, vom, mit, für, auf, in, im, an, am, bei, nach, aus, um, mein, meine, meinen, ist, sind, war, bin, ich,
        wir, sie, er, es, nicht, dann, als, wie, äh, ähm, also, noch, möchte, würde, kann, will, hätte, habe, lautet,
        plus, auch"""
    ),
    digits=_phrases(
        """null, eins, ein, zwei, zwo, drei, vier, fünf, sechs, sieben, acht, neun, zehn, elf, zwölf, dreizehn,
        vierzehn, fünfzehn, sechzehn, siebzehn, achtzehn, neunzehn, zwanzig, dreißig, vierzig, fünfzig, sechzig,
        siebzig, achtzig, neunzig, hundert, tausend, doppel"""
    ),
    negations=_phrases("kein, keine, keinen, keins, nicht, nein, nie, ungern"),
    asks=(
        ("email", r"\be-?\s?mail"),
        ("spelling", r"buchstabier"),
        ("address", r"\badresse\b|anschrift|postleitzahl|straße"),
        ("number", r"nummer\b|\bziffern?\b|geburtsdatum|\bcode\b|\bpin\b|aktenzeichen|kennzeichen"),
    ),
    no_calls=(
        r"ruf(?:en|t)? (?:sie |ihr )?(?:mich |uns |hier |bitte |diese nummer )*(?:nie|nicht|niemals)(?: mehr| wieder)+"
        r"|(?:nie|nicht|niemals)(?: mehr| wieder)+ (?:an(?:rufen|zurufen|gerufen)|anrufe)"
        r"|keine(?: weiteren)? anrufe mehr|keine weiteren anrufe"
        r"|(?:hör(?:en|t)?|auf) (?:sie |ihr )?(?:bitte )?(?:auf )?(?:mich |uns |hier )?anzurufen"
        r"|(?:streich|lösch|nehm|nimm|entfern)\w* (?:sie |ihr )?(?:bitte )?(?:mich|uns)\b"
        r".*\b(?:liste|datei|verteiler|kartei)\b"
        r"|(?:streich|lösch|entfern)\w* (?:sie |ihr )?(?:bitte )?(?:meine|diese) nummer"
    ),
    say_again="Entschuldigung, können Sie das bitte wiederholen?",
    lost="Entschuldigung, die Verbindung war kurz weg. Bitte sprechen Sie weiter.",
    filler="Einen Moment, bitte.",
    connecting="Ich verbinde Sie. Einen Moment, bitte.",
    opted_out="Sie werden nicht wieder angerufen. Auf Wiederhören.",
    not_opted_out="Das konnte gerade nicht vermerkt werden. Bitte sagen Sie mir, dass Sie keine Anrufe möchten.",
)

_SPANISH = Language(
    backchannels=_phrases(
        """ajá, aja, mhm, mm, hm, sí, si, ya, ya veo, claro, vale, ok, okay, bien, bueno, muy bien, perfecto, entiendo,
        de acuerdo, exacto, correcto, por supuesto, genial, sí sí, ah, gracias, no hay problema, anda, de verdad"""
    ),
    stops=_phrases(
        """para, pare, espera, espere, un momento, un segundo, alto, no, perdón, perdona, perdone, disculpe, disculpa,
        oiga, escuche, cállate, cancela, cancelar"""
    ),
    greetings=_phrases(
        """hola, buenas, buenos días, buenas tardes, buenas noches, diga, dígame, aló, bueno, quién es, quién habla,
        sí dígame"""
    ),
    farewells=_phrases(
        """adiós, chao, chau, hasta luego, hasta pronto, nos vemos, gracias, muchas gracias, igualmente,
        que tenga buen día, buen día, buenas noches"""
    ),
    answers=_phrases(
        """sí, si, no, vale, ok, claro, bueno, gracias, por favor, correcto, exacto, hola, hoy, mañana, nunca, siempre,
        ninguno, ambos, adiós, quizás"""
    ),
    fillers=_phrases("eh, em, este, pues, mmm, o sea"),
    tails=_phrases(
        """y, e, o, u, pero, porque, que, si, cuando, donde, el, la, los, las, un, una, unos, unas, de, del, a, al, en,
        con, por, para, sin, sobre, mi, mis, tu, su, sus, es, son, era, soy, yo, no, muy, más, como, eh, este, pues,
        quiero, quisiera, puedo, necesito, tengo, también"""
    ),
    digits=_phrases(
        """cero, uno, dos, tres, cuatro, cinco, seis, siete, ocho, nueve, diez, once, doce, trece, catorce, quince,
        veinte, treinta, cuarenta, cincuenta, sesenta, setenta, ochenta, noventa, cien, ciento, mil, doble"""
    ),
    negations=_phrases("no, ningún, ninguno, ninguna, nunca, tampoco"),
    asks=(
        ("email", r"\bcorreo\b|\be-?mail\b"),
        ("spelling", r"deletre"),
        ("address", r"\bdirección\b|\bdomicilio\b|código postal|\bcalle\b"),
        ("number", r"\bnúmero\b|\bdígitos?\b|fecha de nacimiento|\bcódigo\b|\bpin\b|\bteléfono\b|referencia"),
    ),
    no_calls=(
        r"no (?:me |nos )?(?:llame|llamen|llames|vuelva|vuelvan|vuelvas)(?: a llamar(?:me|nos)?)?"
        r"(?: más| nunca| aquí| por favor| gracias| adiós)*$"
        r"|no (?:me |nos )?(?:llame|llamen|llames)\b.*\b(?:más|nunca)\b(?! tarde)|no (?:me |nos )?vuelva[ns]? a llamar"
        r"|deje[ns]? de llamar|no quiero (?:que me llamen|más llamadas|recibir más llamadas)"
        r"|(?:quít|bórr|elimín|sáqu)\w+ .*\blista\b"
    ),
    say_again="Perdone, ¿puede repetirlo?",
    lost="Perdone, se ha cortado un momento. Continúe, por favor.",
    filler="Un momento, por favor.",
    connecting="Le paso. Un momento, por favor.",
    opted_out="No le volveremos a llamar. Adiós.",
    not_opted_out="Lo siento, no se ha podido anotar ahora. Dígame, por favor, que no quiere que le llamemos.",
)

_FRENCH = Language(
    backchannels=_phrases(
        """mhm, mm, hm, hum, oui, ouais, ok, okay, d'accord, bien, très bien, je vois, je comprends, ah, ah bon, ah oui,
        bien sûr, exactement, tout à fait, parfait, voilà, super, c'est ça, oui oui, merci, pas de problème, entendu,
        vraiment"""
    ),
    stops=_phrases(
        """stop, arrêtez, arrête, attendez, attends, un instant, un moment, une seconde, une minute, non, pardon,
        excusez moi, écoutez, taisez vous, annulez, laissez moi parler"""
    ),
    greetings=_phrases("allô, allo, bonjour, bonsoir, salut, coucou, oui allô, oui bonjour, qui est ce, c'est qui"),
    farewells=_phrases(
        """au revoir, salut, à bientôt, à plus tard, bonne journée, bonne soirée, merci, merci beaucoup, merci bien,
        vous aussi, de même, ciao, adieu"""
    ),
    answers=_phrases(
        """oui, ouais, non, si, d'accord, ok, merci, s'il vous plaît, exact, exactement, bonjour, allô, aujourd'hui,
        demain, jamais, toujours, aucun, aucune, peut être, au revoir"""
    ),
    fillers=_phrases("euh, heu, hum, ben, bah, alors, donc"),
    tails=_phrases(
        """et, ou, mais, parce, que, qui, si, quand, où, le, la, les, un, une, des, de, du, à, au, aux, en, dans, avec,
        pour, sur, par, sans, mon, ma, mes, votre, son, sa, ses, est, sont, suis, c'est, je, j'ai, il, elle, on, nous,
        ne, pas, comme, euh, alors, donc, voudrais, peux, veux, aimerais, aussi"""
    ),
    digits=_phrases(
        """zéro, un, deux, trois, quatre, cinq, six, sept, huit, neuf, dix, onze, douze, treize, quatorze, quinze,
        seize, vingt, trente, quarante, cinquante, soixante, cent, mille, double"""
    ),
    negations=_phrases("pas, non, aucun, aucune, jamais"),
    asks=(
        ("email", r"\be-?mail\b|\bcourriel\b|adresse électronique|\bmail\b"),
        ("spelling", r"épel"),
        ("address", r"\badresse\b|code postal|\brue\b"),
        ("number", r"\bnuméro\b|\bchiffres?\b|date de naissance|\bcode\b|\bpin\b|référence"),
    ),
    no_calls=(
        r"(?:m'|me |nous )?r?appel(?:ez|le|er) plus\b(?! tard)|plus (?:m'|me |nous )(?:r?appeler|être appelée?s?)"
        r"|ne (?:m'|me |nous )?r?appel(?:ez|le) jamais|plus jamais (?:m'|me |nous )?r?appeler"
        r"|arrêt(?:ez|e|er) de (?:m'|me |nous )?appeler|plus d'appels|plus être appelée?"
        r"|(?:retir|enlev|supprim|ray)\w*(?: moi| nous| mon numéro| ce numéro)\b.*\b(?:liste|fichier|base)\b"
    ),
    say_again="Pardon, pouvez-vous répéter ?",
    lost="Pardon, la ligne a été coupée un instant. Je vous écoute.",
    filler="Un instant, s'il vous plaît.",
    connecting="Je vous mets en relation. Un instant, s'il vous plaît.",
    opted_out="Nous ne vous appellerons plus. Au revoir.",
    not_opted_out="Désolé, cela n'a pas pu être noté. Dites-moi, s'il vous plaît, que vous ne voulez plus être appelé.",
)

_HINDI = Language(
    backchannels=_phrases(
        """हाँ, हां, हा, जी, जी हाँ, जी हां, हम्म, हूँ, अच्छा, ठीक, ठीक है, सही, सही है, ओके, बिल्कुल, समझ गया, समझ गई,
        धन्यवाद, haan, han, ji, ji haan, hmm, hm, mhm, achha, accha, acha, theek hai, thik hai, sahi, sahi hai, ok, okay,
        bilkul, samajh gaya, samajh gayi, yes, yeah, right"""
    ),
    stops=_phrases(
        """रुको, रुकिए, रुकिये, एक मिनट, एक सेकंड, सुनिए, सुनो, नहीं, बस, माफ़ कीजिए, ruko, rukiye, ek minute,
        ek second, suniye, suno, nahi, nahin, bas, maaf kijiye, stop, wait, excuse me"""
    ),
    greetings=_phrases("नमस्ते, नमस्कार, हेलो, हैलो, कौन, namaste, namaskar, hello, hi, kaun, haan hello, haan ji"),
    farewells=_phrases(
        """अलविदा, बाय, फिर मिलेंगे, धन्यवाद, शुक्रिया, नमस्ते, alvida, bye, phir milenge, dhanyavaad, dhanyavad,
        shukriya, thank you, thanks, namaste"""
    ),
    answers=_phrases(
        """हाँ, हां, जी, नहीं, ठीक है, अच्छा, धन्यवाद, नमस्ते, आज, कल, haan, ji, nahi, nahin, theek hai, achha, aaj, kal,
        hello, yes, no, ok, okay"""
    ),
    fillers=_phrases("उम, अ, आ, मतलब, um, uh, matlab"),
    tails=_phrases(
        """और, या, लेकिन, क्योंकि, कि, अगर, जब, तो, का, की, के, को, से, में, पर, मेरा, मेरी, मेरे, मैं, हम, वो, यह, एक,
        aur, ya, lekin, kyunki, ki, agar, jab, toh, to, ka, ke, ko, se, mein, par, mera, meri, mere, main, hum, woh,
        yeh, ek, matlab, and, but, the"""
    ),
    digits=_phrases(
        """शून्य, एक, दो, तीन, चार, पाँच, पांच, छह, छः, सात, आठ, नौ, दस, shunya, zero, ek, do, teen, char, chaar, paanch,
        panch, chhah, cheh, saat, aath, nau, das, one, two, three, four, five, six, seven, eight, nine, double,
        triple"""
    ),
    negations=_phrases("नहीं, ना, मत, nahi, nahin, na, mat, no, not"),
    asks=(
        ("email", r"ईमेल|e-?mail"),
        ("spelling", r"स्पेलिंग|spelling|spell"),
        ("address", r"पता|pata\b|address|pin\s?code|पिन"),
        ("number", r"नंबर|नम्बर|\bnumber\b|\bnambar\b|जन्म|कोड|\bcode\b|\bcod\b|अंक"),
    ),
    no_calls=(
        r"(?:कॉल|काल|फ़ोन|फोन) (?:मत|ना|नहीं) (?:करो|करना|कीजिए|कीजिएगा|करें|करिए)"
        r"|(?:मत|ना) (?:कॉल|काल|फ़ोन|फोन) (?:करो|करना|कीजिए|कीजिएगा|करें|करिए)"
        r"|(?:call|phone) (?:mat|na|nahi|nahin) (?:karo|karna|kijiye|kariye|karen)"
    ),
    say_again="माफ़ कीजिए, क्या आप दोबारा कह सकते हैं?",
    lost="माफ़ कीजिए, एक पल के लिए आवाज़ नहीं आई। कृपया बोलिए।",
    filler="एक मिनट रुकिए।",
    connecting="मैं आपकी बात करवाती हूँ। एक मिनट रुकिए।",
    opted_out="आपको फिर कॉल नहीं किया जाएगा। नमस्ते।",
    not_opted_out="माफ़ कीजिए, यह अभी दर्ज नहीं हो सका। कृपया कहिए कि आपको कॉल नहीं चाहिए।",
)

_LANGUAGES = {"en": _ENGLISH, "de": _GERMAN, "es": _SPANISH, "fr": _FRENCH, "hi": _HINDI}
_UNKNOWN = Language()


def language(tag: str) -> Language:
    """The rules for a BCP 47 tag such as "en-US"; empty rules for a language that is not listed."""
    return _LANGUAGES.get(tag.replace("_", "-").split("-")[0].lower(), _UNKNOWN)


def with_own(rules: Language, *, backchannels: Iterable[str], stops: Iterable[str]) -> Language:
    """The rules with an agent's own phrases. One that stood in the other list moves; a stop beats a backchannel."""
    own_stops = frozenset(filter(None, map(normalise, stops)))
    own_backchannels = frozenset(filter(None, map(normalise, backchannels))) - own_stops
    return msgspec.structs.replace(
        rules,
        backchannels=(rules.backchannels | own_backchannels) - own_stops,
        stops=(rules.stops | own_stops) - own_backchannels,
    )


def made_of(words: list[str], phrases: frozenset[str], *, unfinished: bool = False) -> bool:
    """Whether the words are nothing but phrases of the list, one after the other ("yeah", "oh okay I see").

    Args:
        unfinished: the last phrase may still lack words ("right, I").
    """
    longest = max((phrase.count(" ") + 1 for phrase in phrases), default=0)
    at = 0
    while at < len(words):
        for size in range(min(longest, len(words) - at), 0, -1):
            if " ".join(words[at : at + size]) in phrases:
                at += size
                break
        else:
            rest = " ".join(words[at:]) + " "
            return unfinished and any(phrase.startswith(rest) for phrase in phrases)
    return bool(words)


def contains(words: list[str], phrases: frozenset[str]) -> bool:
    """Whether a phrase of the list stands anywhere among the words."""
    text = f" {' '.join(words)} "
    return any(f" {phrase} " in text for phrase in phrases)


_NO_CALLS = re.compile(rf"\b(?:{'|'.join(rules.no_calls for rules in _LANGUAGES.values())})")


def wants_no_calls(text: str) -> bool:
    """Whether somebody says, in so many words, that they want no more calls, in whichever of the languages."""
    return _NO_CALLS.search(normalise(text)) is not None
