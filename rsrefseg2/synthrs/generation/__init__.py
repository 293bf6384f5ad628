"""The scenes of SynthRS and their sentences; `solver` shares no code with them."""
