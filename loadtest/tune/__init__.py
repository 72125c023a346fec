"""The tuner: settings in rounds, the highest rate of each that meets an objective, and what may be claimed of it."""
