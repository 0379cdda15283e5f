"""Errors a user can cause. Each message is one sentence: what happened, to which input, and what to do."""


class FacetError(Exception):
    """Base of every error that the app and the command line show as a sentence instead of a traceback."""


class BadImage(FacetError):
    """A file is not a picture that can be used."""


class NoFace(FacetError):
    """No face was found in a photo."""


class BadRequest(FacetError):
    """A request names an unknown control, or a value outside its range."""


class BadCheckpoint(FacetError):
    """A weights file is refused; the message says why."""


class MissingWeights(FacetError):
    """A weights file that is needed is not there; the message says where to put it."""


class WrongSpace(FacetError):
    """A latent code belongs to another generator."""


class Cancelled(FacetError):
    """The user cancelled a running step."""


class CannotWrite(FacetError):
    """An output could not be written (full disk, missing permission)."""


class CannotFetch(FacetError):
    """A download did not succeed; the message names the address and the place to put the file by hand."""
