# SPDX-License-Identifier: Apache-2.0
"""A small but real orchestrator of a fund administrator's client onboarding, its verbs and its traffic."""
