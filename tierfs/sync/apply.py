"""What the bucket says, written into the index: the one place where remote changes become inodes.

Every function is synchronous and idempotent: the same object applied twice changes nothing. None of them
raises an intent, since nothing here has to go back to the bucket. What is dirty here is never touched: the
exporter meets the bucket's version at its next write and decides (policy/merge.py).
"""

import enum
import stat

from attrs import evolve, frozen

from tierfs.clock import Clock
from tierfs.content.handles import Files
from tierfs.faultpoints import Point, reach
from tierfs.index import dirents, foreign, inodes, intents, links, orphans, xattrs
from tierfs.index import locations as rows
from tierfs.index.env import Index, Reader, Txn
from tierfs.model import ROOT_INO, Base, Inode, InodeFlag, revise
from tierfs.namespace.keys import name_to_part
from tierfs.namespace.locations import Locations
from tierfs.namespace.notify import Notify
from tierfs.objectstore import dialects
from tierfs.objectstore.base import ObjectInfo
from tierfs.policy.merge import Decision, Local, decide
from tierfs.policy.prefixes import Mode, Rule, Rules
from tierfs.sync import attributes, hardlinks
from tierfs.sync.activity import Activity
from tierfs.sync.attributes import Defaults
from tierfs.sync.guard import Guard
from tierfs.sync.news import News, What
from tierfs.sync.pathrules import PathRules
from tierfs.sync.paths import Place
from tierfs.sync.plan import BESIDE_SUFFIX
from tierfs.sync.spoken_for import is_spoken_for

_UNKNOWN_FMT = 0
_DIRTY = InodeFlag.DATA_DIRTY | InodeFlag.META_DIRTY
_ASSUMED_OBJECT = InodeFlag.ATTRS_KNOWN | InodeFlag.FOREIGN
_ASSUMED_PREFIX = InodeFlag.ATTRS_KNOWN | InodeFlag.IMPLICIT


class Met(enum.Enum):
    """What a listed object turned out to be."""

    KNOWN = enum.auto()  # as the index has it, or another matter of the exporter's
    ADDED = enum.auto()
    CHANGED = enum.auto()  # another version than the base of a clean file: `replace` decides


@frozen(slots=False)  # for the sake of speed, as the model's values are
class Seen:
    """One entry of a listing: an object, or (info None) a prefix; `key` as in the bucket, with its slash."""

    name: bytes
    key: str
    info: ObjectInfo | None

    @property
    def is_dir(self) -> bool:
        return self.key.endswith("/")


class Applier:
    """Remote changes to index rows. Shared by importer and exporter."""

    def __init__(
        self,
        *,
        index: Index,
        locations: Locations,
        files: Files,
        clock: Clock,
        notify: Notify,
        defaults: Defaults,
        guard: Guard,
        news: News | None = None,
        rules: PathRules | None = None,
    ) -> None:
        self.guard = guard  # to be asked before `remove_name`
        self.rules = rules or PathRules(index, Rules(Rule((), Mode.WRITE_BACK, 0.0)))  # what is not taken in
        self.news = news or News(index, clock)
        self._index = index
        self._locations = locations
        self._files = files
        self._clock = clock
        self._notify = notify
        self._defaults = defaults

    # ---- entries of a listing ----

    def meet(self, txn: Txn, directory: Inode, seen: Seen, *, assume: bool) -> Met:
        """One listed entry: adds what is new, recognises what is known, says what changed.

        `assume`: no object of the directory has POSIX attributes, so the defaults are the truth.
        Adding a subdirectory leaves the parent's nlink to `add_subdirectories`.
        """
        entry = dirents.get(txn, directory.ino, seen.name)
        if entry is None:
            if is_spoken_for(txn, self._locations, seen.key):
                self._move_back(txn, directory.ino, seen.name, seen.key)
                return Met.KNOWN
            self.add(txn, directory, seen, assume=assume)
            return Met.ADDED
        if seen.info is None:
            return Met.KNOWN
        inode = inodes.get(txn, entry.ino)
        if inode is None:
            return Met.KNOWN
        base = self._base_at(txn, inode, Place(directory.ino, seen.name), seen.key)
        if base is None:
            return Met.KNOWN
        if base.etag != seen.info.etag:
            return Met.KNOWN if inode.is_dirty else Met.CHANGED
        if base.last_modified_ns != seen.info.last_modified_ns or base.storage_class != seen.info.storage_class:
            self._note_same_version(txn, inode, base, seen, Place(directory.ino, seen.name))
        return Met.KNOWN

    def _base_at(self, txn: Reader, inode: Inode, place: Place, key: str) -> Base | None:
        """The base of the link at `place`, if that is what lies at `key`."""
        if (inode.parent, inode.name) != (place.parent, place.name):
            link = links.get(txn, inode.ino, place.parent, place.name)
            return link.base if link is not None else None
        if inode.base is None or self._locations.actual_key(txn, inode) != key:
            return None
        return inode.base

    def _note_same_version(self, txn: Txn, inode: Inode, base: Base, seen: Seen, place: Place) -> None:
        """Same bytes, another LastModified: our own PUT, whose answer had none, or somebody changed metadata."""
        assert seen.info is not None
        fresh = revise(base, last_modified_ns=seen.info.last_modified_ns, storage_class=seen.info.storage_class)
        if (inode.parent, inode.name) != (place.parent, place.name):
            links.put(txn, inode.ino, place.parent, place.name, fresh)
            return
        flags = inode.flags
        is_moved = base.last_modified_ns != seen.info.last_modified_ns
        if is_moved and base.last_modified_ns and InodeFlag.META_DIRTY not in flags:
            flags &= ~InodeFlag.ATTRS_KNOWN
            self._notify.inode_changed(inode.ino, content=False)
            self.news.imported(What.CHANGED, place.parent, place.name)
        inodes.put(txn, revise(inode, base=fresh, flags=flags))

    def add(self, txn: Txn, directory: Inode, seen: Seen, *, assume: bool) -> Inode:
        """A new inode and name for what the bucket has."""
        info, is_dir, defaults = seen.info, seen.is_dir, self._defaults
        mode = stat.S_IFDIR | defaults.dir_mode if is_dir else stat.S_IFREG | defaults.file_mode
        if info is None:
            time_ns, size_bytes, base = self._clock.now_ns(), 0, None
        else:
            time_ns, size_bytes, base = info.last_modified_ns, info.size_bytes, attributes.base_of(info)
        flags = InodeFlag.NONE
        if assume:
            flags = _ASSUMED_PREFIX if info is None else _ASSUMED_OBJECT
        inode = Inode(
            self._index.next_ino(), mode, defaults.uid, defaults.gid, size_bytes, 2 if is_dir else 1,
            time_ns, time_ns, time_ns, time_ns, directory.ino, seen.name, flags=flags, base=base,
        )  # fmt: skip
        inodes.put(txn, inode)
        fmt = stat.S_IFDIR if is_dir else stat.S_IFREG if assume else _UNKNOWN_FMT
        dirents.put(txn, directory.ino, seen.name, inode.ino, fmt)
        if info is not None:
            if self._locations.derived_key(txn, inode) != seen.key:
                self._locations.settle(txn, inode, seen.key)
            if info.meta is not None:
                inode = self._take_attributes(txn, inode, info)
        return inode

    def add_subdirectories(self, txn: Txn, ino: int, count: int) -> None:
        """The parent's nlink: 2 and one for each subdirectory."""
        directory = inodes.get(txn, ino)
        if count and directory is not None:
            inodes.put(txn, revise(directory, nlink=max(2, directory.nlink + count)))

    def add_directory(self, parent: int, name: bytes) -> int | None:
        """A directory that shows in keys only; its number, None when the parent is gone."""
        with self._index.transaction() as txn:
            directory = inodes.get(txn, parent)
            if directory is None:
                return None
            key = self._locations.actual_prefix(txn, parent) + name.decode(errors="replace") + "/"
            inode = self.add(txn, directory, Seen(name, key, None), assume=False)
            self.add_subdirectories(txn, parent, 1)
        self._notify.entry_changed(parent, name)
        self.news.imported(What.ADDED, parent, name)
        return inode.ino

    def add_object(self, parent: int, seen: Seen) -> Inode | None:
        """An object outside of a listing; None when the parent is gone or the name is taken."""
        with self._index.transaction() as txn:
            directory = inodes.get(txn, parent)
            if directory is None or dirents.get(txn, parent, seen.name) is not None:
                return None
            inode = self.add(txn, directory, seen, assume=False)
        self._notify.entry_changed(parent, seen.name)
        self.news.imported(What.ADDED, parent, seen.name)
        return inode

    # ---- a changed object ----

    def replace(self, directory_ino: int, seen: Seen, *, assume: bool) -> None:
        """The object of a clean file is another version now.

        A closed file takes it over. Of an open one the name gets a new inode and the old one lives on
        without it, as after rename(2): an open file keeps the version that it opened.
        """
        info, place = seen.info, Place(directory_ino, seen.name)
        entry = dirents.get(self._index, directory_ino, seen.name)
        inode = inodes.get(self._index, entry.ino) if entry is not None else None
        if info is None or inode is None or inode.is_dirty:
            return
        base = self._base_at(self._index, inode, place, seen.key)
        if base is None:
            return
        decision = decide(attributes.version_of(base), Local.CLEAN, attributes.seen_version(info))
        if decision is Decision.ADOPT:
            self._set_base(inode, place, attributes.base_of(info))
        elif decision is Decision.IMPORT and inode.is_dir:
            self._set_base(inode, place, attributes.base_of(info))
            self.unlearn(inode.ino)
        elif decision is Decision.IMPORT and (inode.nlink > 1 or self._files.is_open(inode.ino)):
            self._replace_name(place, seen, assume=assume)
        elif decision is Decision.IMPORT:
            self._replace_content(inode, info, assume=assume)
        if decision is Decision.IMPORT:
            self.news.imported(What.CHANGED, directory_ino, seen.name)
        entry = dirents.get(self._index, directory_ino, seen.name)
        if info.meta is not None and entry is not None:
            self.absorb(entry.ino, info)

    def _set_base(self, inode: Inode, place: Place, base: Base) -> None:
        with self._index.transaction() as txn:
            if (inode.parent, inode.name) == (place.parent, place.name):
                inodes.put(txn, revise(inode, base=base))
            else:
                links.put(txn, inode.ino, place.parent, place.name, base)

    def unlearn(self, ino: int) -> None:
        """The attributes have to be read again; what they were stays until then."""
        with self._index.transaction() as txn:
            inode = inodes.get(txn, ino)
            if inode is not None:
                inodes.put(txn, revise(inode, flags=inode.flags & ~InodeFlag.ATTRS_KNOWN))

    def _replace_content(self, inode: Inode, info: ObjectInfo, *, assume: bool) -> None:
        # first the old bytes, then the row that speaks of new ones: a crash in between costs a fetch
        self._files.replaced(inode.ino)
        reach(Point.CONTENT_DROPPED)
        keep = InodeFlag.ATTRS_KNOWN | InodeFlag.FOREIGN if assume else InodeFlag.NONE
        with self._index.transaction() as txn:
            now = self._clock.now_ns()
            flags = (inode.flags & ~(InodeFlag.ATTRS_KNOWN | InodeFlag.FOREIGN)) | keep
            inodes.put(
                txn,
                revise(
                    inode, base=attributes.base_of(info), size_bytes=info.size_bytes, mtime_ns=info.last_modified_ns,
                    ctime_ns=now, flags=flags,
                ),
            )  # fmt: skip
        self._notify.inode_changed(inode.ino, content=True)

    def _replace_name(self, place: Place, seen: Seen, *, assume: bool) -> Inode | None:
        """Another inode gets the name; the old one goes on without it."""
        self._take_name(place)
        with self._index.transaction() as txn:
            directory = inodes.get(txn, place.parent)
            return self.add(txn, directory, seen, assume=assume) if directory is not None else None

    def take_content(self, inode: Inode, info: ObjectInfo) -> None:
        """Bytes of the bucket under the attributes of this side, which stay dirty.

        Further links get them, too, where the bytes of before are nowhere any more.
        """
        if (
            not self._files.is_open(inode.ino)
            and hardlinks.heir(self._index, inode, links.all(self._index, inode.ino)) is None
        ):
            self._files.replaced(inode.ino)
            with self._index.transaction() as txn:
                flags = attributes.with_foreign(inode.flags & ~InodeFlag.DATA_DIRTY, info) | InodeFlag.META_DIRTY
                inodes.put(
                    txn,
                    revise(
                        inode, base=attributes.base_of(info), size_bytes=info.size_bytes,
                        mtime_ns=info.last_modified_ns, flags=flags,
                    ),
                )  # fmt: skip
            self._notify.inode_changed(inode.ino, content=True)
            return
        fresh = self._replace_name(Place(inode.parent, inode.name), Seen(inode.name, info.key, info), assume=False)
        if fresh is None:
            return
        with self._index.transaction() as txn:
            for name, value in xattrs.all(txn, inode.ino).items():
                xattrs.put(txn, fresh.ino, name, value)
            merged = revise(fresh, mode=inode.mode, uid=inode.uid, gid=inode.gid)
            now = self._clock.now_ns()
            intents.mark_dirty(txn, merged, InodeFlag.META_DIRTY, now_ns=now, quiet_s=0)

    def give_up(self, inode: Inode, info: ObjectInfo) -> None:
        """The bucket's version in place of what this side has under the name, changes and all."""
        self._replace_name(Place(inode.parent, inode.name), Seen(inode.name, info.key, info), assume=False)

    # ---- the listed directory itself, and names that two things claim ----

    def take_marker(self, ino: int, info: ObjectInfo) -> None:
        """The directory has a marker object."""
        with self._index.transaction() as txn:
            inode = inodes.get(txn, ino)
            if inode is None or inode.parent == 0 or inode.is_dirty or intents.tombstone(txn, info.key) is not None:
                return  # (a tombstone: what the directory had there before it was renamed, about to be deleted)
            base = attributes.base_of(info)
            if inode.base is not None and inode.base.etag == base.etag:
                if inode.base.last_modified_ns == base.last_modified_ns:
                    return
                if inode.base.last_modified_ns == 0:  # our own write, whose answer had no time
                    inodes.put(txn, revise(inode, base=revise(inode.base, last_modified_ns=base.last_modified_ns)))
                    return
            flags = inode.flags & ~(InodeFlag.IMPLICIT | InodeFlag.ATTRS_KNOWN)
            fresh = revise(inode, base=base, flags=flags)
            inodes.put(txn, fresh)
            if self._locations.actual_key(txn, fresh) != info.key:
                self._locations.settle(txn, fresh, info.key)

    def lose_marker(self, ino: int, key: str, activity: Activity, mark: int) -> None:
        """A complete listing of the directory did not have its marker."""
        with self._index.transaction() as txn:
            inode = inodes.get(txn, ino)
            if inode is None or inode.parent == 0 or inode.base is None or inode.is_dirty:
                return
            if self._locations.actual_key(txn, inode) != key or activity.touched_since(mark, key):
                return
            inodes.put(txn, revise(inode, base=None, flags=inode.flags | InodeFlag.IMPLICIT))

    def move_beside(self, place: Place, inode: Inode) -> None:
        """A directory `a/` appeared where the object `a` is: that is `a.tierfs-object` from now on."""
        name = place.name + BESIDE_SUFFIX
        if (inode.parent, inode.name) != (place.parent, place.name):
            return  # a further link keeps its name; the directory shows when that is gone
        with self._index.transaction() as txn:
            if dirents.get(txn, place.parent, name) is not None:
                return
            key = self._locations.actual_key(txn, inode) if inode.base is not None else ""
            dirents.delete(txn, place.parent, place.name)
            dirents.put(txn, place.parent, name, inode.ino, stat.S_IFMT(inode.mode))
            moved = revise(inode, name=name)
            inodes.put(txn, moved)
            if key:
                self._locations.settle(txn, moved, key)
        self._notify.entry_changed(place.parent, place.name)
        self._notify.entry_changed(place.parent, name)

    def _move_back(self, txn: Txn, parent: int, name: bytes, key: str) -> None:
        """The directory whose name the object at `key` had is gone: the object has its own name again."""
        beside = dirents.get(txn, parent, name + BESIDE_SUFFIX)
        if beside is None or rows.located_at(txn, key) != beside.ino:
            return
        inode = inodes.get(txn, beside.ino)
        if inode is None or (inode.parent, inode.name) != (parent, beside.name):
            return
        dirents.delete(txn, parent, beside.name)
        dirents.put(txn, parent, name, inode.ino, beside.fmt)
        moved = revise(inode, name=name)
        inodes.put(txn, moved)
        self._locations.settle(txn, moved, key)
        self._notify.entry_changed(parent, beside.name)
        self._notify.entry_changed(parent, name)

    # ---- a vanished object ----

    def remove_name(self, place: Place) -> bool:
        """The bucket has nothing under this name any more; True when the name is gone from the index too.

        The guard has been asked. What is open lives on without the name. A directory goes only when it is empty.
        """
        was_there = dirents.get(self._index, place.parent, place.name) is not None
        is_gone = self._take_name(place)
        if was_there and is_gone:
            self.news.imported(What.DELETED, place.parent, place.name)
        return is_gone

    def _take_name(self, place: Place) -> bool:
        with self._index.transaction() as txn:
            entry = dirents.get(txn, place.parent, place.name)
            inode = inodes.get(txn, entry.ino) if entry is not None else None
            if entry is None or inode is None:
                return entry is None
            if inode.is_dir and not dirents.is_empty(txn, inode.ino):
                return False
            dirents.delete(txn, place.parent, place.name)
            if inode.is_dir:
                self.add_subdirectories(txn, place.parent, -1)
                self._locations.forget_prefixes()
            is_last = hardlinks.detach(txn, inode, place, self._clock.now_ns(), self._notify)
            if inode.is_dir:
                key = self._locations.actual_prefix(txn, place.parent) + name_to_part(place.name)
                self._move_back(txn, place.parent, place.name, key)
        if is_last and not self._files.is_open(inode.ino):
            self._purge(inode.ino)
        self._notify.entry_changed(place.parent, place.name)
        return True

    def _purge(self, ino: int) -> None:
        """Nobody uses it: inode numbers never come back, so a kernel that still asks gets ENOENT."""
        self._files.forget(ino)
        with self._index.transaction() as txn:
            inodes.delete(txn, ino)
            xattrs.delete_all(txn, ino)
            foreign.delete(txn, ino)
            orphans.remove(txn, ino)

    # ---- attributes ----

    def absorb(self, ino: int, info: ObjectInfo, details: attributes.Details | None = None) -> int:
        """Metadata of an inode's object (HEAD, or a GET): takes over what is not dirty here.

        Without `details`, attributes that the metadata only refer to stay unknown.
        Returns the inode number that the name has now: a second name of a hard link joins the first one's.
        Ignored when `info` is another version than the base, or has no metadata.
        """
        inode = inodes.get(self._index, ino)
        if inode is None or inode.parent == 0 or info.meta is None:
            return ino
        if inode.base is None:
            if not inode.is_dir or InodeFlag.META_DIRTY in inode.flags:
                return ino
        elif inode.base.etag != info.etag:
            return ino
        if self._is_other_type(inode, info, details):
            # the kernel does not take another type under a number that it knows
            place = Place(inode.parent, inode.name)
            replaced = self._replace_name(place, Seen(inode.name, info.key, info), assume=False)
            if replaced is None:
                return ino
            ino, inode = replaced.ino, replaced
        with self._index.transaction() as txn:
            fresh = self._take_attributes(txn, inode, info, details)
        if fresh != inode and InodeFlag.ATTRS_KNOWN in inode.flags:
            self._notify.inode_changed(ino, content=False)
        return hardlinks.join(self._index, self._files, self._notify, fresh, attributes.link_id_of(info))

    def _is_other_type(self, inode: Inode, info: ObjectInfo, details: attributes.Details | None) -> bool:
        """The name was shown as one type, and its object is of another now."""
        if inode.is_dir or inode.is_dirty or (details is None and attributes.is_incomplete(info)):
            return False
        entry = dirents.get(self._index, inode.parent, inode.name)
        fmt = (details.view if details is not None else dialects.read(info)).fmt or stat.S_IFREG
        return entry is not None and entry.ino == inode.ino and entry.fmt not in (_UNKNOWN_FMT, fmt)

    def join_links(self, place: Place, info: ObjectInfo) -> None:
        """The name, if it is a further link of a known inode, joins that."""
        link_id = attributes.link_id_of(info)
        entry = dirents.get(self._index, place.parent, place.name) if link_id else None
        inode = inodes.get(self._index, entry.ino) if entry is not None else None
        if inode is not None:
            hardlinks.join(self._index, self._files, self._notify, inode, link_id)

    def without_marker(self, ino: int) -> None:
        """The bucket has no marker for this directory: the defaults are its attributes."""
        with self._index.transaction() as txn:
            inode = inodes.get(txn, ino)
            if inode is not None and inode.base is None:
                flags = inode.flags | InodeFlag.ATTRS_KNOWN | InodeFlag.IMPLICIT
                inodes.put(txn, revise(inode, flags=flags))

    def _take_attributes(
        self, txn: Txn, inode: Inode, info: ObjectInfo, details: attributes.Details | None = None
    ) -> Inode:
        if details is None:
            if attributes.is_incomplete(info):
                return inode
            details = attributes.Details(dialects.read(info))
            details = evolve(details, target=details.view.target)
        fresh = attributes.absorb(txn, inode, info, details)
        inodes.put(txn, fresh)
        is_news = stat.S_IFMT(fresh.mode) != stat.S_IFMT(inode.mode) or InodeFlag.ATTRS_KNOWN not in inode.flags
        if is_news and inode.ino != ROOT_INO:
            dirents.put(txn, inode.parent, inode.name, inode.ino, stat.S_IFMT(fresh.mode))
        return fresh
