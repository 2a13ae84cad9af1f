"""The choices of pretraining: what is refused, and how."""

import jaxtyping
import pytest

from genemamba_sc.nn import ObjectiveConfig


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"mgm_weight": -1.0}, ValueError, r"mgm_weight must not be negative\. Got -1\.0\. Use 0"),
        ({"decode_weight": float("nan")}, TypeError, r"decode_weight must be a number\. Got nan"),
        ({"contrast_weight": "1"}, TypeError, r"contrast_weight must be a number\. Got '1'"),
        ({"pathway_temperature": 0.0}, ValueError, r"pathway_temperature must be positive\. Got 0\.0"),
        ({"mask_rate": 1.0}, ValueError, r"mask_rate must lie in \[0, 1\)\. Got 1\.0"),
        ({"mask_rate": 0.0}, ValueError, r"mask_rate must be above 0 for mgm_weight\. Got 0"),
        (
            {"mask_rate": 0.0, "mgm_weight": 0.0, "pathway_tokens": "hidden"},
            ValueError,
            r"mask_rate must be above 0 for pathway_tokens='hidden'",
        ),
        ({"keep_rate": 0.5, "swap_rate": 0.5}, ValueError, r"sum to less than 1\. Got 0\.5 and 0\.5"),
        ({"keep_rate": -0.1}, ValueError, r"must not be negative, and sum to less than 1\. Got -0\.1"),
        ({"mask_span": 0}, ValueError, r"mask_span must be at least 1\. Got 0"),
        ({"max_masked": 1.5}, TypeError, r"max_masked must be a whole number\. Got 1\.5"),
        ({"max_anchors": 0}, ValueError, r"max_anchors must be at least 1"),
        ({"hide_values": 1}, TypeError, r"hide_values must be True or False\. Got 1"),
        ({"pathway_tokens": "all"}, ValueError, r"pathway_tokens must be 'visible' or 'hidden'\. Got 'all'"),
        ({"mgm_weight": 0, "pathway_weight": 0}, ValueError, r"All weights are 0: nothing would be learned"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(fields, error, message, monkeypatch):
    # Under pytest the types are checked first; users have the messages alone.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)

    with pytest.raises(error, match=message):
        ObjectiveConfig(**fields)


def test_parts_that_hide_nothing_need_no_hidden_genes():
    config = ObjectiveConfig(mgm_weight=0.0, contrast_weight=1.0, mask_rate=0.0)

    assert (config.mask_rate, config.contrast_weight, config.pathway_weight) == (0.0, 1.0, 0.1)
