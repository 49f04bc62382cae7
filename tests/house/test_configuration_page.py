"""docs/configuration.md has every setting, as the classes that read them have it."""

from __future__ import annotations

from contracts import configuration


def test_the_page_is_what_the_settings_classes_say():
    text = configuration.PAGE.read_text(encoding="utf-8")
    assert configuration.BEGIN + configuration.table() + configuration.END in text, "run `make proto`"


def test_every_setting_says_what_it_means():
    assert configuration.undocumented() == []


def test_a_required_setting_is_called_so_and_a_choice_names_its_options():
    assert "| `OO_KAFKA_BOOTSTRAP` | `oo`, workers, edge | required |" in configuration.table()
    assert "One of `memory`, `rocksdb`." in configuration.table()
