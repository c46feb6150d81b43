"""What holds for all tests: nobody's own configuration reaches them, and no test races a stopwatch."""

from __future__ import annotations

import os

import hypothesis

# Credentials, profiles, endpoints and settings of whoever runs the tests would change what they see.
for _name in [name for name in os.environ if name.startswith(("AWS_", "LAMBENT_"))]:
    del os.environ[_name]
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
# Hundreds of processes are started, which would compile everything anew where this is set.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# How long one example takes says something about the machine, not about the code.
hypothesis.settings.register_profile("lambent", deadline=None)
hypothesis.settings.load_profile("lambent")
