"""The datasets known by name: where each lives, which rows count, and what its labels mean.

The first six are the paper's (arXiv 2510.21631), with its length rules and label readings. Two of
them differ from the authors' code on purpose: Yelp's hub labels 0 to 4 are one to five stars, and
CoLA's task is acceptability, not sentiment. The last two have more than two labels.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from codlocal.core.errors import DataError

SENTIMENT = ("negative", "positive")
ACCEPTABILITY = ("unacceptable", "acceptable")
TOPICS = ("world", "sports", "business", "science and technology")
_INTENTS = """
    activate_my_card age_limit apple_pay_or_google_pay atm_support automatic_top_up
    balance_not_updated_after_bank_transfer balance_not_updated_after_cheque_or_cash_deposit
    beneficiary_not_allowed cancel_transfer card_about_to_expire card_acceptance card_arrival
    card_delivery_estimate card_linking card_not_working card_payment_fee_charged
    card_payment_not_recognised card_payment_wrong_exchange_rate card_swallowed
    cash_withdrawal_charge cash_withdrawal_not_recognised change_pin compromised_card
    contactless_not_working country_support declined_card_payment declined_cash_withdrawal
    declined_transfer direct_debit_payment_not_recognised disposable_card_limits
    edit_personal_details exchange_charge exchange_rate exchange_via_app
    extra_charge_on_statement failed_transfer fiat_currency_support get_disposable_virtual_card
    get_physical_card getting_spare_card getting_virtual_card lost_or_stolen_card
    lost_or_stolen_phone order_physical_card passcode_forgotten pending_card_payment
    pending_cash_withdrawal pending_top_up pending_transfer pin_blocked receiving_money
    refund_not_showing_up request_refund reverted_card_payment supported_cards_and_currencies
    terminate_account top_up_by_bank_transfer_charge top_up_by_card_charge
    top_up_by_cash_or_cheque top_up_failed top_up_limits top_up_reverted topping_up_by_card
    transaction_charged_twice transfer_fee_charged transfer_into_account
    transfer_not_received_by_recipient transfer_timing unable_to_verify_identity
    verify_my_identity verify_source_of_funds verify_top_up virtual_card_not_working
    visa_or_mastercard why_verify_identity wrong_amount_of_cash_received
    wrong_exchange_rate_for_cash_withdrawal
"""
INTENTS = tuple(name.replace("_", " ") for name in _INTENTS.split())
"""Banking77's, in the order of the hub's numbers, which is alphabetical whatever their case."""


def _as_they_are(count: int) -> Mapping[int, int]:
    return MappingProxyType({label: label for label in range(count)})


@dataclass(frozen=True)
class DatasetEntry:
    """One dataset that is known by name.

    Attributes:
        name: the name in `dataset.name`.
        hub_ids: the repository, and the older names under which a cache may still hold it.
        hub_config: the configuration within the repository, or None for its only one.
        revision: the branch to read, or None for the main one.
        text_column: the column of the text; any other text column is left out.
        label_column: the column of the hub's integer label.
        label_names: what the class indices mean.
        label_map: hub label to class index; rows with any other label are left out.
        max_characters: texts longer than this are left out; None for no limit.
        test_split: the hub's split with public labels that nothing is trained or chosen on.
        bundled: the folder in `bundled/` with a small free stand-in, or None.
        task: the prompt family.
        attribution: whom to cite when the hub or the cache serves the data.

    """

    name: str
    hub_ids: tuple[str, ...]
    label_names: tuple[str, ...]
    attribution: str
    hub_config: str | None = None
    revision: str | None = None
    text_column: str = "text"
    label_column: str = "label"
    label_map: Mapping[int, int] = field(default_factory=lambda: _as_they_are(2))
    max_characters: int | None = None
    test_split: Literal["test", "validation"] = "test"
    bundled: str | None = None
    task: str = "sentiment"


_ENTRIES = (
    DatasetEntry(
        name="sst2",
        hub_ids=("nyu-mll/glue", "glue"),
        hub_config="sst2",
        text_column="sentence",
        label_names=SENTIMENT,
        # GLUE keeps its test labels to itself, so its validation split is the test set.
        test_split="validation",
        attribution="SST-2 (Socher et al. 2013), as in GLUE (Wang et al. 2019)",
    ),
    DatasetEntry(
        name="sentiment140",
        hub_ids=("stanfordnlp/sentiment140", "sentiment140"),
        # The main branch holds a loading script, which is never run; this one holds its output.
        revision="refs/convert/parquet",
        label_column="sentiment",
        label_names=SENTIMENT,
        label_map=MappingProxyType({0: 0, 4: 1}),
        attribution="Sentiment140 (Go et al. 2009)",
    ),
    DatasetEntry(
        name="imdb",
        hub_ids=("stanfordnlp/imdb", "imdb"),
        label_names=SENTIMENT,
        max_characters=300,
        bundled="imdb",
        attribution="Large Movie Review Dataset (Maas et al. 2011)",
    ),
    DatasetEntry(
        name="cola",
        hub_ids=("nyu-mll/glue", "glue"),
        hub_config="cola",
        text_column="sentence",
        label_names=ACCEPTABILITY,
        test_split="validation",
        task="acceptability",
        attribution="CoLA (Warstadt et al. 2019), as in GLUE (Wang et al. 2019)",
    ),
    DatasetEntry(
        name="amazon",
        hub_ids=("fancyzhx/amazon_polarity", "amazon_polarity"),
        text_column="content",
        label_names=SENTIMENT,
        max_characters=60,
        bundled="amazon",
        attribution="Amazon Review Polarity (McAuley and Leskovec 2013; Zhang et al. 2015)",
    ),
    DatasetEntry(
        name="yelp",
        hub_ids=("Yelp/yelp_review_full", "yelp_review_full"),
        label_names=SENTIMENT,
        label_map=MappingProxyType({0: 0, 1: 0, 3: 1, 4: 1}),
        max_characters=250,
        bundled="yelp",
        attribution="Yelp Review Full (Yelp Dataset Challenge; Zhang et al. 2015)",
    ),
    DatasetEntry(
        name="ag_news",
        hub_ids=("fancyzhx/ag_news", "ag_news"),
        label_names=TOPICS,
        label_map=_as_they_are(len(TOPICS)),
        task="topic",
        attribution="AG News (A. Gulli; Zhang et al. 2015), for non-commercial use",
    ),
    DatasetEntry(
        name="banking77",
        hub_ids=("PolyAI/banking77", "banking77"),
        revision="refs/convert/parquet",  # the main branch holds a loading script
        label_names=INTENTS,
        label_map=_as_they_are(len(INTENTS)),
        task="intent",
        attribution="Banking77 (Casanueva et al. 2020), CC BY 4.0",
    ),
)

REGISTRY: Mapping[str, DatasetEntry] = MappingProxyType({entry.name: entry for entry in _ENTRIES})


def find(name: str) -> DatasetEntry:
    """The entry of a dataset.

    Raises:
        DataError: there is no dataset of that name.

    """
    entry = REGISTRY.get(name.lower())
    if entry is None:
        near = difflib.get_close_matches(name.lower(), REGISTRY, n=2)
        guess = f"Did you mean {' or '.join(near)}? " if near else ""
        raise DataError(
            f"There is no dataset {name!r}.",
            f"{guess}Datasets: {', '.join(REGISTRY)}. For a file of your own use --data FILE.",
        )
    return entry
