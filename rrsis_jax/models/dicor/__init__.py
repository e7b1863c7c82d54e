"""DiCoR: a coarse network, a guide to the phrase's place, and a refiner (2026)."""
