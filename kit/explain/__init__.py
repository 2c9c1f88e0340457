"""Why a device's results differ: what it computes with, which module, which operator; and what to expect."""
