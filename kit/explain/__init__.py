"""Why a device's results differ: what it computes with, which module and operator; what to expect."""
