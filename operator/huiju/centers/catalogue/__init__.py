"""What is known of accelerators: a table of data, and how a node's words resolve to a row of it."""

from huiju.centers.catalogue.data import Catalogue, ModelRow, ResourceRow, catalogue
from huiju.centers.catalogue.resolve import Resolver
from huiju.centers.catalogue.slicing import Resolved

__all__ = ["Catalogue", "ModelRow", "Resolved", "Resolver", "ResourceRow", "catalogue"]
