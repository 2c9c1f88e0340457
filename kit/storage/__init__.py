"""Bytes and tensors: hashes and fingerprints."""
