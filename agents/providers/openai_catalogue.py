"""What an OpenAI (or compatible) account may use: its models, with the dates on which they end.

``registry.models`` hands the list to the admin; the adapters' ``check`` puts it into one sentence.
"""

from agents.providers.base import CatalogueModel, Clocks, ProviderConfig
from agents.providers.classify import make_error
from agents.providers.clocks import Watch
from agents.providers.errors import ErrorKind, Stage
from agents.providers.notices import notice
from agents.providers.openai_client import OPENAI_ERRORS, http_timeout, openai_client, openai_error
from agents.providers.pools import Pools


async def openai_models(
    config: ProviderConfig, *, pools: Pools, clocks: Clocks, stage: Stage = "llm"
) -> list[CatalogueModel]:
    """All models of the account, by name; raises ProviderError."""
    client = openai_client(config, pools, stage).with_options(timeout=http_timeout(clocks))
    try:
        async with Watch(clocks, provider=config.provider, stage=stage).within("first"):
            page = await client.models.list()
            found = [
                CatalogueModel(model_id=model.id, name=model.id, shutdown_date=model.shutdown_date or "")
                for model in page.data
            ]
    except OPENAI_ERRORS as error:
        raise openai_error(error, config, stage) from None
    except (AttributeError, TypeError):
        # The SDK does not check what it parses: an answer that is no list of models shows only here.
        raise make_error(ErrorKind.GARBAGE, config, stage, "the list of models is not in OpenAI's form") from None
    return sorted(found, key=lambda model: model.model_id)


async def model_sentence(config: ProviderConfig, *, pools: Pools, clocks: Clocks, stage: Stage) -> str:
    """Connects, looks for the configured model and says how long it will be there.

    Without a model in ``config`` it counts them. Raises ProviderError (NOT_FOUND when the model is not among them).
    """
    found = await openai_models(config, pools=pools, clocks=clocks, stage=stage)
    if not config.model:
        return f"Connected; {len(found)} model{'' if len(found) == 1 else 's'}."
    model = next((model for model in found if model.model_id == config.model), None)
    if model is None:
        raise make_error(ErrorKind.NOT_FOUND, config, stage, f"no model {config.model} among {len(found)}")
    until = f" until {model.shutdown_date}" if model.shutdown_date else ""
    warning = notice(config.provider, stage, config.model)
    return f"Connected; model {config.model} is available{until}." + (f" {warning}" if warning else "")
