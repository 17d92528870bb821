"""The form of an agent: JSON columns as lines, the numbers of turn-taking by name, notices beside the models.

Used by ``agents.admin.agents``. A draft may be unfinished; it may not contradict itself.
"""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import conditional_escape
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from agents import accounts, drafts, turn_presets
from agents.admin.fields import ExtractionField, LinesField, OptionsField, PairsField, TransfersField
from agents.models import Agent, ProviderAccount
from agents.prompts import BUILT_IN
from agents.providers.notices import notice

NUMBER_PREFIX = "turn_number_"
_OPTIONS = "One per line as name = value, in the provider's own names; usually none."
_BUILT_IN_LIST = ", ".join(f"{{{{{name}}}}} ({meaning})" for name, meaning in BUILT_IN.items())


def number_fields() -> list[str]:
    """Names of the form's fields for the advanced numbers."""
    return [NUMBER_PREFIX + name for name in turn_presets.NUMBERS]


EDITED = [field.name for field in Agent._meta.concrete_fields if field.editable and field.name != "turn_overrides"]


class AgentForm(forms.ModelForm):
    """Everything about a draft, and a note for the version that publishing makes."""

    variables = PairsField(
        rows=5,
        placeholder="business = Rowan Dental",
        help_text=f"Your own, one per line as name = value. Always there: {_BUILT_IN_LIST}.",
    )
    reprompts = LinesField(
        label="Said when the caller stays silent",
        placeholder="Are you still there?",
        help_text="One per line, said one after the other; after the last, the agent says goodbye and hangs up. "
        "Empty: it says goodbye after half a minute of silence.",
    )
    transfers = TransfersField(
        label="May put callers through to",
        placeholder="billing | +15551234567 | questions about an invoice",
        help_text="One per line as name | number | when. The agent chooses among the names, never a number of its own.",
    )
    backchannels = LinesField(
        label="Words that only show listening",
        placeholder="gotcha",
        help_text="They never stop the agent. One word or phrase per line, beside the usual ones of its language.",
    )
    stop_words = LinesField(
        label="Words that stop the agent at once",
        placeholder="hang on a second",
        help_text="One word or phrase per line, beside the usual ones of its language.",
    )
    extraction = ExtractionField(
        label="Fields to fill from the transcript",
        rows=5,
        placeholder="reason | text | why they called\nresult | choice: booked, declined | what was agreed",
        help_text="One per line as name | type | description. Types: text, number, boolean, date, or choice: a, b, c.",
    )
    stt_options = OptionsField(label="Speech-to-text options", rows=2, help_text=_OPTIONS)
    llm_options = OptionsField(
        label="Language model options", rows=2, placeholder="reasoning_effort = none", help_text=_OPTIONS
    )
    tts_options = OptionsField(label="Text-to-speech options", rows=2, help_text=_OPTIONS)
    publish_note = forms.CharField(
        label="Note for colleagues",
        required=False,
        max_length=200,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "What changed, for colleagues (optional)"}),
    )

    class Meta:
        model = Agent
        fields = EDITED
        widgets = {
            "system_prompt": UnfoldAdminTextareaWidget(attrs={"rows": 18}),
            "greeting": UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        }
        help_texts = {
            "turn_preset": "How soon a pause ends the caller's turn. The numbers behind it are under “Advanced”.",
            "interruptible": "The agent stops when the caller speaks over it.",
            "reprompt_after_s": "Seconds without a word from either side.",
            "max_call_s": "Seconds, after which the agent says the sentence for it under “What it says” and hangs up.",
            "wrap_up": "Said when the call has lasted as long as it may (under “Silence and ending”).",
            "can_end_call": "The agent hangs up by itself once the conversation is over.",
            "goodbye": "Said before the agent hangs up on a caller who stays silent.",
            "record": "Caller on the left, agent on the right; played and downloaded on the call's page.",
            "codec": "How sound travels between Plivo and Parley.",
            "stt_model": "Turns what the caller says into text.",
            "llm_model": "Decides what the agent says.",
            "tts_model": "Turns the agent's words into sound.",
            "voice": "One of the text-to-speech account; “Fetch voices” on that account's page brings in more.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for stage in drafts.STAGES:
            self._narrow_accounts(stage)
            self._show_notice(stage)
        overrides = self.instance.turn_overrides if isinstance(self.instance.turn_overrides, dict) else {}
        preset = turn_presets.PRESETS.get(self.instance.turn_preset, turn_presets.PRESETS["balanced"])
        for name in turn_presets.NUMBERS:
            if (field := self.fields.get(NUMBER_PREFIX + name)) is not None:
                field.initial = overrides.get(name)
                field.widget.attrs["placeholder"] = f"{getattr(preset, name):g}"

    def clean(self) -> dict[str, Any]:
        """Gathers the numbers, which the model keeps as differences from the preset."""
        data = super().clean() or self.cleaned_data
        numbers = {name: data.get(NUMBER_PREFIX + name) for name in turn_presets.NUMBERS}
        self.instance.turn_overrides = {
            name: int(value) if turn_presets.NUMBERS[name].whole and value == int(value) else value
            for name, value in numbers.items()
            if value is not None
        }
        return data

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's documented order of cleaning; the stubs leave it out
        if self.errors:
            return
        try:
            drafts.build_spec(self.instance)
        except ValidationError as error:
            for name, found in error.error_dict.items():
                for problem in found:
                    if problem.code == drafts.WRONG:
                        field = "turn_preset" if name == "turn_overrides" else name
                        self.add_error(field if field in self.fields else None, problem)

    def _narrow_accounts(self, stage: str) -> None:
        field = self.fields.get(f"{stage}_account")
        if isinstance(field, forms.ModelChoiceField):
            able = [kind for kind in ProviderAccount.Provider.values if accounts.offers(kind, stage)]
            field.queryset = ProviderAccount.objects.filter(provider__in=able)

    def _show_notice(self, stage: Any) -> None:
        field = self.fields.get(f"{stage}_model")
        account_id = getattr(self.instance, f"{stage}_account_id")
        if field is None or not account_id:
            return
        account = getattr(self.instance, f"{stage}_account")
        if text := notice(account.provider, stage, getattr(self.instance, f"{stage}_model")):
            # The theme prints help texts unescaped, and this one may hold a model name that somebody typed.
            field.help_text = conditional_escape(f"⚠ {text}")


def _add_number_fields() -> None:
    for name, number in turn_presets.NUMBERS.items():
        field = forms.FloatField(
            label=number.label,
            required=False,
            min_value=number.least,
            max_value=number.most,
            widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "1" if number.whole else "0.05"}),
            help_text=f"{number.help} {number.least:g} to {number.most:g} {number.unit}; empty: as the preset has it.",
        )
        AgentForm.base_fields[NUMBER_PREFIX + name] = field
        AgentForm.declared_fields[NUMBER_PREFIX + name] = field


_add_number_fields()
