# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, sorted by what the reader of the message can do about it."""


class IntentEventsError(Exception):
    """Root of every error that this project raises; its text names the thing and the remedy."""


class SettingsError(IntentEventsError):
    """A setting, mapping or vocabulary file cannot be used; the text names the variable or file."""


class TargetError(IntentEventsError):
    """A target does not name something callable that can be wrapped."""


class StoreError(IntentEventsError):
    """Postgres did not do what was asked."""


class RetryableError(StoreError):
    """The same call may succeed later: the server is away, a table is not migrated yet, a permission is missing."""


class PermanentError(StoreError):
    """The same call can never succeed: the data itself is refused."""


class UnavailableError(StoreError):
    """A question could not be asked: no connection or no table. Never to be read as "none"."""
