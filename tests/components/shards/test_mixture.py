from __future__ import annotations

from collections import Counter

from components.shards.mixture import place

MIXTURE = {"general": 0.6, "stem": 0.3, "code": 0.1}


def test_places_are_pure_and_count_up_within_a_domain():
    places = [place(position, MIXTURE) for position in range(1000)]
    assert places == [place(position, MIXTURE) for position in range(1000)]
    for domain in MIXTURE:
        assert [n for name, n in places if name == domain] == list(
            range(sum(name == domain for name, _ in places))
        )


def test_every_domain_has_its_share():
    counts = Counter(place(position, MIXTURE)[0] for position in range(10_000))
    for domain, share in MIXTURE.items():
        assert abs(counts[domain] - share * 10_000) <= 20, counts
