# SPDX-License-Identifier: Apache-2.0
"""What the recorded utterances say: functions over the store, without HTML or argument parsing."""
