"""Systems composed of the parts: one file each, one dictionary of all."""

from openfsar.methods.base import FewShotMethod, MethodSpec
from openfsar.methods.zoo import METHODS, build, create

__all__ = ["METHODS", "FewShotMethod", "MethodSpec", "build", "create"]
