"""Checking a store from its bytes alone, without zarr and without the readers."""

from cache.verify.report import Problem, StoreReport
from cache.verify.store_check import verify_store

__all__ = ["Problem", "StoreReport", "verify_store"]
