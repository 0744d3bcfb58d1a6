"""What cards say of a method, against the survey's own table (number of the entry, semantics, code quality, others)."""

import pytest

from texthash.methods.registry import methods

# "A Survey on Deep Text Hashing", table of methods: tags in its order.
SURVEY = {
    1: ("dhsh", "Rec Prior(B) SFC SFR CB Quan(Sgn)"),
    2: ("hierhash", "Rec Prior(G) MMI Pse"),
    3: ("simex", "MMI Pse Pse CB Quan(STanh)"),
    4: ("dshc", "SFR"),
    5: ("smash", "Rec CB FE Quan(Tanh) Robustness"),
    6: ("sapvae", "Rec Prior(B) Pse CB Quan(Sgn)"),
    7: ("ihdh", "Rec SFR Quan(Loss) Quan(STanh)"),
    8: ("coshc", "SFR Quan(STanh)"),
    9: ("lash", "Rec SFR Quan(STanh)"),
    10: ("bpr", "SFR Quan(STanh)"),
    11: ("dhim", "MMI CB Quan(Sgn)"),
    12: ("snuh", "Rec Prior(GA) Quan(Sigmoid)"),
    13: ("mish", "Rec Prior(B) Pse CB Quan(Sgn) Index"),
    14: ("ssbvae", "Rec Prior(B) SFC SFR CB Quan(Sgn)"),
    15: ("cth", "Rec Prior(G) SFR"),
    16: ("dwae", "Rec CB"),
    17: ("psh", "Rec Prior(B) SFR CB Quan(Sgn) Gradient"),
    18: ("daba", "Rec CB Quan(Sigmoid) Robustness"),
    19: ("corrsh", "Rec Prior(BM) Quan(Sgn)"),
    20: ("wish", "Rec Prior(B) CB FE Quan(Sgn)"),
    21: ("ammi", "MMI"),
    22: ("node2hash", "Rec Prior(G) Pse Drop"),
    23: ("pairrec", "Rec Prior(B) Pse CB Quan(Sgn) Robustness"),
    24: ("has", "SFR Quan Quan(STanh)"),
    25: ("bmsh", "Rec Prior(M) CB Quan(Sgn)"),
    26: ("doc2hash", "Rec Prior(C) Gradient"),
    27: ("bvae", "Rec Prior(B) CB Quan(Sgn) Gradient"),
    28: ("rbsh", "Rec Prior(B) Pse CB Quan(Sgn) Robustness"),
    29: ("dse", "Rec SFC Quan(Sigmoid) Robustness"),
    30: ("vdsh_pw", "Rec Prior(G) SFR"),
    31: ("nash", "Rec Prior(B) CB Quan(Sgn) Robustness"),
    32: ("nbrreg", "Rec Prior(G) Pse"),
    33: ("vdsh", "Rec Prior(G)"),
    34: ("dgm_sph", "Rec CB"),
    35: ("sse", "Rec SFC Robustness"),
    36: ("thc", "SFC"),
}
# Parts of an entry that lack some of its tags.
LESS = {"gmsh": "Rec Prior(M)", "mash": "Rec CB FE Quan(Tanh)"}
OF_SURVEY = {name: cls.card for name, cls in methods().items() if cls.card.survey_entry}


@pytest.mark.parametrize("entry", SURVEY)
def test_entry_and_tags_are_those_of_the_survey(entry):
    name, tags = SURVEY[entry]
    card = OF_SURVEY[name]
    assert (card.survey_entry, card.tags) == (entry, tuple(tags.split()))


@pytest.mark.parametrize("name", OF_SURVEY)
def test_a_variant_has_the_tags_of_its_entry_and_says_what_it_adds(name):
    card = OF_SURVEY[name]
    main, tags = SURVEY[card.survey_entry]
    variant_of_unsupervised = card.supervision == "labels" and OF_SURVEY[main].supervision == "none"
    own = LESS.get(name, tags).split()
    if variant_of_unsupervised and "SFC" not in own:
        own.append("SFC")
    assert card.tags == tuple(own)
    assert card.venue == OF_SURVEY[main].venue
    assert ("labels" in card.inputs_needed) == (card.supervision == "labels")


@pytest.mark.parametrize("name", OF_SURVEY)
def test_what_is_not_the_paper_itself_says_in_what_it_differs(name):
    assert OF_SURVEY[name].fidelity == "paper" or OF_SURVEY[name].deviations


def test_no_entry_is_missed():
    assert {card.survey_entry for card in OF_SURVEY.values()} == set(SURVEY)
