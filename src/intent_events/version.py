# SPDX-License-Identifier: Apache-2.0
"""The version of both distributions."""

from typing import Final

__version__: Final = "0.1.0"
