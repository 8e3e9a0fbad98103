# SPDX-License-Identifier: Apache-2.0
"""For the tests of an orchestrator: the pytest fixture ``intent_events_proof`` shows that it leaks nothing.

Needs ``intent-events[testing]``. Nothing here is imported before a test asks for the fixture.
"""
