"""What several test modules share."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def settings_restored() -> Iterator[None]:
    """Threads, random state and determinism of torch are global: put back what a stage set."""
    threads, random_state = torch.get_num_threads(), torch.get_rng_state()
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(random_state)
    torch.use_deterministic_algorithms(deterministic)
