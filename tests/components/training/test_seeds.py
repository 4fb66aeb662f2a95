from components.training.seeds import derived_seed


def test_each_use_has_a_seed_of_its_own() -> None:
    seeds = {derived_seed(seed, *use) for seed in (0, 1) for use in (("a",), ("b",), ("a", 1))}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_seed_never_changes() -> None:
    assert derived_seed(0, "data", 0) == 6467779548835163099
