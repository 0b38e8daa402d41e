"""What there is to choose from: it comes over whole, bit for bit, or is refused with one line."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.networks import random_network
from dask_mlsched.core.message_frame import Frame, FrameError, encode, read
from dask_mlsched.core.model_choice import (
    BASELINE,
    CATALOGUE,
    Belief,
    Catalogue,
    Choice,
    Considered,
    KnownFamily,
    Origin,
)

MODELS = ("generalist/v0001", "blocks/v0002", "stencil 3/v0001")


def beliefs() -> st.SearchStrategy[tuple[Belief, ...]]:
    worth = st.floats(-99, 99)
    belief = st.builds(
        Belief, st.sampled_from((BASELINE, *MODELS)), worth, worth.map(abs), st.integers(0, 10**6)
    )
    return st.lists(belief, max_size=4).map(tuple)


def origins() -> st.SearchStrategy[Origin]:
    text = st.text(max_size=5)
    return st.builds(Origin, text, st.lists(text, max_size=2).map(tuple), text, text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    families = st.builds(
        KnownFamily,
        st.text(max_size=5),
        st.dictionaries(st.text(max_size=4), JSON, max_size=3),
        beliefs(),
        st.none() | st.text(max_size=5),
    )
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    shapes = st.sampled_from([(0, 0), (2, 3)])
    return Catalogue(
        draw(st.integers(0, 2**53)),
        draw(st.sampled_from((BASELINE, *MODELS))),
        draw(beliefs()),
        tuple(draw(st.lists(families, max_size=3))),
        {model: random_network(rng, 3, draw(shapes)) for model in MODELS},
        lineage=draw(st.dictionaries(st.sampled_from(MODELS), origins(), max_size=3)),
    )


def sent(catalogue: Catalogue) -> Catalogue:
    frame = read(io.BytesIO(encode(catalogue.frame())).read)
    assert frame is not None
    assert frame.kind == CATALOGUE
    return Catalogue.from_frame(frame)


@given(catalogues())
def test_a_catalogue_comes_over_bit_for_bit(catalogue: Catalogue) -> None:
    got = sent(catalogue)
    for name in {each.name for each in fields(Catalogue)} - {"networks"}:
        assert getattr(got, name) == getattr(catalogue, name)
    assert list(got.networks) == list(catalogue.networks)
    for model, network in catalogue.networks.items():
        for before, after in zip(network, got.networks[model], strict=True):
            assert before.dtype == after.dtype
            assert before.tobytes() == after.tobytes()


ARM = Belief(MODELS[0], 0.1, 0.2, 3)
FAMILY = KnownFamily("blocks", {"version": 1}, (Belief(BASELINE, 0.0, 0.0), ARM), "slower")
WHOLE = Catalogue(
    3,
    MODELS[0],
    (ARM,),
    (FAMILY,),
    {model: random_network(np.random.default_rng(1), 3, (2, 2)) for model in MODELS[:2]},
)


def test_a_model_has_its_network_and_dask_alone_has_none() -> None:
    assert WHOLE.network(BASELINE) is None
    assert WHOLE.network(MODELS[1]) is WHOLE.networks[MODELS[1]]
    with pytest.raises(KeyError):
        WHOLE.network("nobody/v0001")
    assert WHOLE.choices == [WHOLE.unknown, FAMILY.arms]


def test_without_any_model_there_is_dask_alone() -> None:
    got = sent(Catalogue(0, BASELINE, (Belief(BASELINE, 0.0, 0.0),)))
    assert (got.families, dict(got.networks)) == ((), {})


@pytest.mark.parametrize(
    "changed",
    [
        {"champion": "nobody/v0001"},
        {"unknown": (replace(ARM, model="nobody/v0001"),)},
        {"families": (replace(FAMILY, arms=(replace(ARM, model="nobody/v0001"),)),)},
    ],
)
def test_a_model_without_a_network_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(FrameError, match=f"'nobody/v0001' has no network; .* of {MODELS[0]}, "):
        sent(replace(WHOLE, **changed))


@pytest.mark.parametrize(
    "belief",
    [
        replace(ARM, mean=float("nan")),
        replace(ARM, mean=float("-inf")),
        replace(ARM, mean=100.0),
        replace(ARM, deviation=float("nan")),
        replace(ARM, deviation=-0.1),
        replace(ARM, deviation=float("inf")),
        replace(ARM, runs=-1),
    ],
)
@pytest.mark.parametrize("where", ["unknown", "families"])
def test_what_nobody_can_believe_is_refused(belief: Belief, where: str) -> None:
    value: Any = (belief,) if where == "unknown" else (replace(FAMILY, arms=(belief,)),)
    with pytest.raises(FrameError, match=r"no catalogue of models \(ValueError: "):
        sent(replace(WHOLE, **{where: value}))


@pytest.mark.parametrize("name", ["number", "champion", "unknown", "families", "networks"])
def test_whatever_is_missing_is_refused(name: str) -> None:
    frame = WHOLE.frame()
    rest = {key: value for key, value in frame.fields.items() if key != name}
    with pytest.raises(FrameError):
        Catalogue.from_frame(Frame(CATALOGUE, rest, frame.arrays))


FIELDS = json.dumps(WHOLE.frame().fields)


@pytest.mark.parametrize(
    "changed",
    [
        {"number": "3"},
        {"number": float("nan")},
        {"champion": 3},
        {"unknown": 3},
        {"unknown": [3]},
        {"unknown": [{"model": "baseline"}]},
        {"unknown": [{"model": "baseline", "mean": "x", "deviation": 0, "runs": 0}]},
        {"unknown": [{"model": "baseline", "mean": None, "deviation": 0, "runs": 0}]},
        {"families": {"a": 1}},
        {"families": [{"name": "blocks", "fingerprint": [], "arms": [], "sent_back": None}]},
        {"families": [{"name": "blocks", "fingerprint": {}, "arms": [], "sent_back": 3}]},
        {"families": [{"name": "blocks", "fingerprint": {}, "sent_back": None}]},
        {"networks": None},
        {"networks": [MODELS[0]]},
        {"networks": [*MODELS[:2], "one too many"]},
    ],
)
def test_whatever_is_of_another_type_is_refused(changed: dict[str, Any]) -> None:
    others = {**json.loads(FIELDS), **changed}
    with pytest.raises(FrameError):
        Catalogue.from_frame(Frame(CATALOGUE, others, WHOLE.frame().arrays))


@given(st.dictionaries(st.sampled_from(sorted(json.loads(FIELDS))), JSON, max_size=5))
def test_foreign_fields_are_refused_or_read_but_nothing_else(changed: dict[str, Any]) -> None:
    frame = Frame(CATALOGUE, {**json.loads(FIELDS), **changed}, WHOLE.frame().arrays)
    with contextlib.suppress(FrameError):
        assert isinstance(Catalogue.from_frame(frame).number, int)


@pytest.mark.parametrize("name", ["2 w1", "x w1", "-1 w1", "w1", ""])
def test_an_array_of_no_model_is_refused(name: str) -> None:
    frame = WHOLE.frame()
    arrays = {**frame.arrays, name: np.zeros(1, np.float32)}
    with pytest.raises(FrameError, match="is of no model; expected one of 2"):
        Catalogue.from_frame(Frame(CATALOGUE, frame.fields, arrays))


@pytest.mark.parametrize("value", [np.float32("nan"), np.float32("inf")])
def test_a_network_with_a_weight_that_is_no_number_is_refused(value: np.float32) -> None:
    skip = WHOLE.networks[MODELS[1]].skip.copy()
    skip[0] = value
    frame = WHOLE.frame()
    with pytest.raises(FrameError):
        Catalogue.from_frame(Frame(CATALOGUE, frame.fields, {**frame.arrays, "1 skip": skip}))


def test_a_choice_says_what_was_considered() -> None:
    considered = (Considered(ARM, 0.25),)
    choice = Choice(MODELS[0], None, None, 0.123456, "blocks", "a new family", considered)
    assert json.loads(json.dumps(choice.as_dict())) == {
        "model": MODELS[0],
        "family": None,
        "nearest": "blocks",
        "similarity": 0.1235,
        "why": "a new family",
        "considered": [
            {"model": MODELS[0], "mean": 0.1, "deviation": 0.2, "runs": 3, "drawn": 0.25}
        ],
    }
