"""Every setting of every process: read once, from the environment, then the config file, then the defaults."""

from atf.settings.model import Settings, default_home
from atf.settings.review import (
    ExplainedSetting,
    SettingsExplanation,
    SettingsReview,
    Source,
    explain_settings,
    load_settings,
    review_settings,
    unknown_sentence,
)

__all__ = [
    "ExplainedSetting",
    "Settings",
    "SettingsExplanation",
    "SettingsReview",
    "Source",
    "default_home",
    "explain_settings",
    "load_settings",
    "review_settings",
    "unknown_sentence",
]
