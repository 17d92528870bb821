"""What a voice is given for what is written, and how its timings come back to the written words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from num2words import CONVERTER_CLASSES

from agents.providers.base import WordTiming
from streaming.spoken.form import spoken_form
from streaming.spoken.lexicon import tongue
from streaming.spoken.rules import RULES

ENGLISH = {
    "That is $1,234.50.": "That is one thousand two hundred and thirty-four dollars and fifty cents.",
    "It was -$5, or $0.99, or $20!": "It was minus five dollars, or ninety-nine cents, or twenty dollars!",
    "£20, 50 € and CHF 20.": "twenty pounds, fifty euro and twenty Swiss francs.",
    "About $1.5 million.": "About one point five million dollars.",
    "Just $29/month.": "Just twenty-nine dollars per month.",
    "Due 2026-11-26.": "Due November twenty-sixth, twenty twenty-six.",
    "Due 11/26/2026.": "Due November twenty-sixth, twenty twenty-six.",
    "On Nov. 3rd at 7.": "On November third at seven.",
    "On the 3rd of May, 2027, or 4 May.": "On the third of May, twenty twenty-seven, or the fourth of May.",
    "It is 2026-02-30.": "It is two zero two six, zero two, three zero.",
    "At 14:30, 9:05 or 12:00.": "At fourteen thirty, nine oh five or twelve o'clock.",
    "From 9am-5pm.": "From nine AM to five PM.",
    "Come at 5 p.m.": "Come at five PM.",
    "Come at 5 p.m. or 6:15 PM today": "Come at five PM or six fifteen PM today",
    "Call (415) 555-0100.": "Call four one five, five five five, zero one zero zero.",
    "Call 4155550100.": "Call four one five, five five five, zero one zero zero.",
    "+1 415-555-2671 ext. 12": "plus one, four one five, five five five, two six seven one, extension one two",
    "In an emergency dial 911.": "In an emergency dial nine one one.",
    "Write to jane.doe42@gmail.com.": "Write to jane dot doe four two at gmail dot com.",
    "See https://www.example.com/help?x=1.": "See example dot com slash help.",
    "Visit parley.io, please.": "Visit parley dot io, please.",
    "Up 15%, down 2.5 %.": "Up fifteen percent, down two point five percent.",
    "It is -3°C or 72 °F, turn 90°.": (
        "It is minus three degrees Celsius or seventy-two degrees Fahrenheit, turn ninety degrees."
    ),
    "Your order number is 4821.": "Your order number is four eight two one.",
    "Your PIN was 482. It took 482 days.": "Your PIN was four eight two. It took four hundred and eighty-two days.",
    "Account 12345678": "Account one two three, four five six seven eight",
    "ZIP 02139": "ZIP zero two one three nine",
    "SSN 123-45-6789": "SSN one two three, four five, six seven eight nine",
    "Flight AB1234": "Flight A B, one two three four",
    "Since 1994, 10,000 and 10000 more.": "Since nineteen ninety-four, ten thousand and ten thousand more.",
    "The 21st, 2-3 days, 3.14.": "The twenty-first, two to three days, three point one four.",
    "2019-2024": "twenty nineteen to twenty twenty-four",
    "We are open 24/7.": "We are open twenty-four seven.",
    "#5 of Smith & Sons": "number five of Smith and Sons",
    "An MP3 in 4K, version v1.2.3, 5km.": "An MP3 in 4K, version v1.2.3, 5km.",
    "No sign of change": "No sign of change",
}
OTHERS = {
    ("de-DE", "Das macht 1.234,50 €."): "Das macht eintausendzweihundertvierunddreißig Euro und fünfzig Cent.",
    ("de-DE", "Am 26.11.2026 um 14:30 Uhr."): (
        "Am sechsundzwanzigsten November zweitausendsechsundzwanzig um vierzehn Uhr dreißig."
    ),
    ("de-DE", "Am 3. Mai um 9.15 Uhr"): "Am dritten Mai um neun Uhr fünfzehn",
    ("de-DE", "Der 3. Mai"): "Der dritte Mai",
    ("de-DE", "1 Minute, 2 % mehr"): "1 Minute, zwei Prozent mehr",
    ("de-DE", "info@beispiel.de"): "info ät beispiel Punkt de",
    ("es-ES", "Cuesta 1.234,50 €."): "Cuesta mil doscientos treinta y cuatro euros con cincuenta céntimos.",
    ("es-ES", "el 26/11/2026 a las 13:30"): "el veintiséis de noviembre de dos mil veintiséis a las trece y treinta",
    ("es-ES", "$3 millones"): "tres millones de dólares",
    ("fr-FR", "Cela coûte 1\u202f234,50 €."): "Cela coûte mille deux cent trente-quatre euros et cinquante centimes.",
    ("fr-FR", "le 1er mai à 14h30"): "le premier mai à quatorze heures trente",
    ("en-IN", "₹1,50,000 on 5/6/2026"): "one lakh fifty thousand rupees on the fifth of June, twenty twenty-six",
    ("en-GB", "on 5/6/2026"): "on the fifth of June, twenty twenty-six",
    ("hi-IN", "98765 43210, 50%"): "नौ आठ सात छह पाँच, चार तीन दो एक शून्य, 50 प्रतिशत",
    ("it-IT", "3 giorni, 12,50 €"): "tre giorni, 12,50 euro",
    ("tlh", "3 and jane@example.com"): "3 and jane@example.com",
    ("", "3"): "3",
}
TAGS = ("en-US", "en-IN", "de-DE", "es-MX", "fr-CA", "hi-IN", "it", "ja-JP", "xx", "")
PIECES = st.sampled_from(
    ["$", "€", "12", "1,234.50", "-", "/", ".", ":", "2026", "11", "26", "@", "a.b", "com", "May", "pm", "#", "%", "°C"]
) | st.sampled_from(
    ["+1", "4155550100", "x", "&", "\0", "²", "٣", "ß", "९", "Uhr", "h", "½", "million", " ", "  ", "\n"]
)


@pytest.mark.parametrize(("written", "spoken"), ENGLISH.items())
def test_english_is_said_in_words(written: str, spoken: str) -> None:
    assert spoken_form(written, "en-US").text == spoken


@pytest.mark.parametrize(("tag", "written", "spoken"), [(*key, value) for key, value in OTHERS.items()])
def test_other_languages_are_said_by_their_own_rules(tag: str, written: str, spoken: str) -> None:
    assert spoken_form(written, tag).text == spoken


@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=60), st.sampled_from(TAGS))
def test_no_text_is_too_odd_to_be_said(text: str, tag: str) -> None:
    form = spoken_form(text, tag)

    assert form.written == tuple(text.split())
    assert bool(form.text.split()) == bool(text.split())


@pytest.mark.parametrize("tag", sorted(name.replace("_", "-") for name in CONVERTER_CLASSES))
def test_every_language_of_the_library_says_numbers_of_any_size(tag: str) -> None:
    for value in (0, 1, 21, 1994, 2026, 10**6, 10**10, 10**14):
        assert spoken_form(f"x {value} y {value}% $12.50 €{value} 1st {value}.5 26.11.2026", tag).text


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize(
    "text", ["{} x", "${}", "{} €", "{}%", "-{}°C", "{}.{}", "#{}", "{}-{}", "+{}", "{}st", "USD {} million"]
)
def test_no_number_is_too_long_to_be_said(text: str, tag: str) -> None:
    assert spoken_form(text.replace("{}", "41555501001" * 4), tag).text


@given(st.lists(PIECES, max_size=12).map("".join), st.sampled_from(TAGS))
def test_every_written_word_gets_one_timing_and_they_follow_each_other(text: str, tag: str) -> None:
    form = spoken_form(text, tag)
    spoken = tuple(WordTiming(word, 100 * at, 100 * at + 90) for at, word in enumerate(form.text.split()))

    timings = form.timings()
    written = [timing for word in spoken for timing in timings.take((word,))]
    written += timings.finish()

    assert tuple(timing.text for timing in written) == form.written
    assert all(timing.start_ms <= timing.end_ms for timing in written)
    assert [timing.end_ms for timing in written] == sorted(timing.end_ms for timing in written)


def test_a_written_word_is_heard_once_its_last_spoken_word_was() -> None:
    form = spoken_form("Pay $12.50 now.", "en-US")
    spoken = form.text.split()
    assert spoken == ["Pay", "twelve", "dollars", "and", "fifty", "cents", "now."]
    timings = form.timings()
    ends = []
    for at, word in enumerate(spoken):
        ends.append([timing.text for timing in timings.take((WordTiming(word, at * 100, at * 100 + 90),))])

    assert ends == [["Pay"], [], [], [], [], ["$12.50"], ["now."]]


def test_a_voice_that_breaks_off_in_a_number_leaves_the_word_it_was_saying() -> None:
    timings = spoken_form("Pay $12.50 now.", "en-US").timings()
    timings.take((WordTiming("Pay", 0, 90), WordTiming("twelve", 100, 190)))

    assert timings.finish() == (WordTiming("$12.50", 100, 190),)


def test_words_that_the_voice_made_up_are_passed_on() -> None:
    timings = spoken_form("Hi", "en-US").timings()

    assert timings.take((WordTiming("Hi", 0, 90), WordTiming("there", 100, 190))) == (
        WordTiming("Hi", 0, 90),
        WordTiming("there", 100, 190),
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_speaks_of_places_in_its_text(rule: object) -> None:
    """Each rule finds something in one of the examples, and only inside the text."""
    texts = [(tag, text) for tag, text in OTHERS] + [("en-US", text) for text in ENGLISH]
    found = [(text, said) for tag, text in texts for said in rule(text, tongue(tag))]  # type: ignore[operator]

    assert found
    assert all(0 <= said.start < said.end <= len(text) for text, said in found)
