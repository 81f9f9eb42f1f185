"""Whose an object is that a listing shows: news, or of something that the index has. Sync code only.

While objects are on their way, keys do not follow from paths: an object may be about to be deleted, or to be moved
to where its inode is, or it lies under the old prefix of a renamed directory and is of what has its old name now.
"""

from tierfs.index import intents, links
from tierfs.index import locations as rows
from tierfs.index.env import Reader
from tierfs.index.schema import Table
from tierfs.namespace.locations import Locations
from tierfs.sync.paths import find_owner, find_place


def is_any_spoken_for(reader: Reader) -> bool:
    """Whether `is_spoken_for` can be true of any key: some delete or move is still to be done."""
    return any(reader.count(table) for table in (Table.TOMBSTONES, Table.LOCATED, Table.OVERRIDES))


def is_spoken_for(reader: Reader, locations: Locations, key: str) -> bool:
    """The object at `key` is not news, see the module."""
    if not is_any_spoken_for(reader):
        return False
    if reader.count(Table.TOMBSTONES) and intents.tombstone(reader, key) is not None:
        return True
    if not (reader.count(Table.LOCATED) or reader.count(Table.OVERRIDES)):
        return False
    if locations.occupant(reader, key) is not None or locations.link_occupant(reader, key) is not None:
        return True
    return is_at_home(reader, locations, key)


def prefixes_being_left(reader: Reader) -> tuple[str, ...]:
    """What lies below these follows renamed directories, seen before or not: it makes no directories there."""
    return tuple(old for _, old in rows.overrides(reader))


def is_at_home(reader: Reader, locations: Locations, key: str) -> bool:
    """The inode whose path gives `key` put the object there, or is doing so: its base may not be known yet."""
    owner = find_owner(reader, key)
    if owner is None:
        return False
    place = find_place(reader, key) if owner.nlink > 1 and not owner.is_dir else None
    if place is not None and (owner.parent, owner.name) != (place.parent, place.name):
        link = links.get(reader, owner.ino, place.parent, place.name)
        has_object = link is not None and link.base is not None
        actual_key = locations.actual_link_key(reader, place.parent, place.name)
    else:
        has_object, actual_key = owner.base is not None, locations.actual_key(reader, owner)
    if has_object and actual_key == key:
        return True
    intent = intents.of_inode(reader, owner.ino)
    return intent is not None and intent.key == key
