"""A small corpus of real media to try the system on, made from a seed.

It is a stand-in for licensed data: drawn faces and synthetic voices. Results on it say nothing about real
people.
"""

from __future__ import annotations

from pipeline.sample_corpus.corpus import GENERATOR_VERSION, write_sample_corpus
from pipeline.sample_corpus.plan import plan_corpus

__all__ = ["GENERATOR_VERSION", "plan_corpus", "write_sample_corpus"]
