"""The models of this checkout, one folder each."""

# The model that both scripts take when none is named, where its folder is here; in an exported
# repository the only folder is the default.
DEFAULT = "flan_t5_small"
