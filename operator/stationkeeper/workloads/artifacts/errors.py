# ruff: noqa: N818 - the names say what is so, as in `except NotFound`
"""What can go wrong with the store and with what is kept in it.

    StoreError
    ├── StoreUnavailable    the server did not answer, or could not now: worth another try
    ├── StoreDenied         credentials, bucket or permissions are wrong: the same again would fail again
    │   └── BucketMissing
    └── NotFound            no object has this key
    ArtifactError
    ├── DigestMismatch      the bytes are not those that the digest names
    ├── MalformedArtifact   the bytes are not what their name says, or could run code when loaded
    └── OwnerConflict       the prefix belongs to another Model

botocore's errors are converted where they arise, in `store`; no other module sees them.
"""


class StoreError(Exception):
    """The store did not do what was asked. The message names endpoint, bucket and key and says what to do."""


class StoreUnavailable(StoreError):
    """The store did not answer, or not now. Retriable."""


class StoreDenied(StoreError):
    """The store refused: credentials, bucket or permissions. Terminal until a person changes something."""


class BucketMissing(StoreDenied):
    """The bucket does not exist."""


class NotFound(StoreError):
    """No object has this key."""


class ArtifactError(Exception):
    """An object of the store is not what it must be. Terminal."""


class DigestMismatch(ArtifactError):
    """The bytes do not hash to the digest that names them."""


class MalformedArtifact(ArtifactError):
    """The bytes cannot be read as what they claim to be, or hold types that are not on the trusted list."""


class OwnerConflict(ArtifactError):
    """The storage prefix belongs to another Model."""
