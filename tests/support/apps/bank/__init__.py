# SPDX-License-Identifier: Apache-2.0
"""An orchestrator that calls everything by other names; ``mapping.toml`` beside it says which."""
