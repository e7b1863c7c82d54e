"""The stages that DiCoR is trained in, one after the other."""

COARSE, REFINER, GUIDE, JOINT = STAGES = ("coarse", "refiner", "guide", "joint")
