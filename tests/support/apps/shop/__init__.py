# SPDX-License-Identifier: Apache-2.0
"""An orchestrator that has never heard of intent-events; it only happens to use the usual names."""
