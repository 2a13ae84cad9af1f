"""The encoder's configuration: what it refuses, and that it survives a file."""

import dataclasses
import json

import jaxtyping
import pytest

from genemamba_sc.nn import EncoderConfig


def test_survives_json():
    config = EncoderConfig(vocab_size=30, d_model=32, headdim=16, combine="gate", token_dropout=0.25, context_len=128)
    assert EncoderConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError, match="d_model"):
        EncoderConfig(vocab_size=30).d_model = 5


def test_published():
    config = EncoderConfig.published()
    assert (config.vocab_size, config.d_model, config.n_layer, config.d_state) == (25_426, 512, 24, 64)
    assert (config.d_conv, config.expand, config.headdim, config.ngroups) == (4, 2, 64, 1)
    assert (config.combine, config.shared_combiner, config.pre_norm) == ("mean", True, False)
    assert (config.expression, config.norm, config.residual_init) == ("none", "token", 1.0)
    assert EncoderConfig.published(48, 768, "gate").combine == "gate"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"d_model": 0}, r"d_model must be an integer of at least 1\. Got 0\. Pass", id="zero width"),
        pytest.param({"n_layer": -1}, r"n_layer must be an integer of at least 0\. Got -1", id="negative layers"),
        pytest.param({"d_state": 16.0}, r"d_state must be an integer of at least 1\. Got 16\.0", id="float"),
        pytest.param({"n_bins": True}, r"n_bins must be an integer of at least 1\. Got True", id="bool for integer"),
        pytest.param(
            {"combine": "max"},
            r"combine must be one of \['mean', 'sum', 'gate', 'concat'\]\. Got 'max'\. Choose",
            id="unknown combination",
        ),
        pytest.param({"expression": "raw"}, r"expression must be one of .*Got 'raw'", id="unknown expression"),
        pytest.param({"norm": "layer"}, r"norm must be one of \['token', 'cell'\]\. Got 'layer'", id="unknown norm"),
        pytest.param({"pre_norm": "yes"}, r"pre_norm must be True or False\. Got 'yes'\. Pass a bool", id="no bool"),
        pytest.param(
            {"token_dropout": 1.0},
            r"token_dropout must lie in \[0, 0\.5\]. Got 1\.0\. Use 0 to keep every token",
            id="all tokens dropped",
        ),
        pytest.param({"residual_init": float("nan")}, r"residual_init must be finite\. Got nan", id="nan"),
        pytest.param(
            {"d_model": 48, "expand": 2},
            r"headdim must divide expand \* d_model = 96\. Got headdim=64\. .*for example headdim=32",
            id="heads do not divide the width",
        ),
        pytest.param(
            {"d_model": 64, "expand": 2, "headdim": 64, "ngroups": 3},
            r"ngroups must divide the number of heads, expand \* d_model / headdim = 2\. Got ngroups=3\. Use ngroups=1",
            id="groups do not divide the heads",
        ),
        pytest.param({"context_len": 0}, r"context_len must be an integer of at least 1\. Got 0", id="no context"),
    ],
)
def test_refuses(fields, message, monkeypatch):
    # What users see: without the type checks of the test run, which would catch some of these first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        EncoderConfig(vocab_size=30, **fields)


def test_bag_of_tokens_needs_no_heads():
    assert EncoderConfig(vocab_size=30, d_model=5, n_layer=0).headdim == 64


def test_refuses_fields_of_another_version():
    with pytest.raises(ValueError, match=r"Got \['n_heads'\]\. The weights may come from a newer version"):
        EncoderConfig.from_dict({"vocab_size": 30, "n_heads": 8})


def test_refuses_a_missing_vocabulary():
    with pytest.raises(ValueError, match=r"must have vocab_size\. Got the fields \['d_model'\]\. Add the number"):
        EncoderConfig.from_dict({"d_model": 8})
