"""What an OpenAI (or compatible) account may use: its models, with the dates on which they end.

``registry.models`` hands the list to the admin; the adapters' ``check`` puts it into one sentence.
"""

import contextlib

from agents.providers.base import CatalogueModel, Clocks, ProviderConfig
from agents.providers.classify import make_error
from agents.providers.clocks import Watch
from agents.providers.errors import ErrorKind, ProviderError, Stage
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
    """Says how long the configured model, which was tried out, will be there; without one it counts them.

    Raises ProviderError when they cannot be counted; many a compatible server, or a key with few rights, gives no list.
    """
    if not config.model:
        found = await openai_models(config, pools=pools, clocks=clocks, stage=stage)
        return f"Connected; {len(found)} model{'' if len(found) == 1 else 's'}."
    ends = ""
    with contextlib.suppress(ProviderError):  # it works: that is what was asked
        found = await openai_models(config, pools=pools, clocks=clocks, stage=stage)
        ends = next((model.shutdown_date for model in found if model.model_id == config.model), "")
    until = f" until {ends}" if ends else ""
    warning = notice(config.provider, stage, config.model)
    return f"Connected; model {config.model} is available{until}." + (f" {warning}" if warning else "")
