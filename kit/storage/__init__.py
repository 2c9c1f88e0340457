"""Bytes and tensors: hashes and fingerprints, and files that are there whole or not at all."""
