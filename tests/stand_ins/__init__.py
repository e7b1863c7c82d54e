"""Models that only the tests know; importing this makes them known to the registry by name."""

from rrsis_jax.models import registry

registry.add("tiny", "tests.stand_ins.tiny")
