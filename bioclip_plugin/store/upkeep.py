"""Upkeep of a store: runs deleted and pruned, space freed, sizes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from bioclip_plugin.store import compacting, deleting, runs, sizes
from bioclip_plugin.store.compacting import Stage
from bioclip_plugin.store.database.connection import Database
from bioclip_plugin.store.deleting import Progress, no_progress
from bioclip_plugin.store.records import Compaction, Keep, Removal, Run, StoreInfo
from bioclip_plugin.store.taxa import TaxonCache


def no_stage(_name: str) -> Progress:
    """Report stages to nobody."""
    return no_progress


class Upkeep:
    """The methods of a store that keep it small. None of them changes or removes a review."""

    _database: Database
    _taxa: TaxonCache

    def delete_run(self, run: Run | int, *, progress: Progress = no_progress) -> Removal:
        """Delete one run; see :meth:`delete_runs`."""
        return self.delete_runs([run], progress=progress)

    def delete_runs(
        self, given: Iterable[Run | int], *, dry_run: bool = False, progress: Progress = no_progress
    ) -> Removal:
        """Delete runs with every answer, decision, feature, image and listing that no other run and no review needs.

        Other runs give the same results as before, and other programs may classify into the store meanwhile. The deletion
        is a sequence of short transactions: from the first one on nobody sees the runs any more, and after a kill the same
        call (or :meth:`compact`) removes the rest.

        Args:
            given: runs or their numbers.
            dry_run: True counts what would go, and deletes nothing.
            progress: called with the number of images done and of all.

        Raises:
            StoreError: for an unknown run and one that a program works on; then nothing is deleted.
        """
        numbers = [run if isinstance(run, int) else run.id for run in given]
        work = deleting.count_runs if dry_run else deleting.delete_runs
        return work(self._database, numbers, progress)

    def prunable(self, keep: Keep) -> tuple[list[Run], list[Run]]:
        """Return the runs that ``keep`` does not keep, oldest first, and further ones that a program works on now."""
        return self._database.read(deleting.prunable, self._database, keep, datetime.now(UTC))

    def prune(self, keep: Keep, *, dry_run: bool = False, progress: Progress = no_progress) -> Removal:
        """Delete the runs that ``keep`` does not keep, except those that a program works on; see :meth:`delete_runs`.

        Runs that are half deleted go, too.
        """
        going, _ = self.prunable(keep)
        return self.delete_runs([*self.half_deleted(), *going], dry_run=dry_run, progress=progress)

    def compact(self, *, full: bool = False, dry_run: bool = False, stage: Stage = no_stage) -> Compaction:
        """Finish half deleted runs, remove rows that no run and no review needs, and give their space back.

        Short transactions remove the rows, beside other programs. Then an SQLite file is rewritten (VACUUM), for which
        nobody may write and the disk needs room for it twice; if a run is being worked on or the room is missing, the result
        says so and the file keeps its size. On PostgreSQL, a plain VACUUM makes the space free for later rows.

        Args:
            full: on PostgreSQL, rewrite the tables (VACUUM FULL), each of which nobody can read meanwhile.
            dry_run: True counts what would go, and changes nothing.
            stage: called with the name of each stage; returns the function that its progress is reported to.
        """
        if dry_run:
            return compacting.count(self._database, stage("Counting"))
        try:
            return compacting.compact(self._database, stage, full=full)
        finally:
            self._taxa.forget()

    def info(self) -> StoreInfo:
        """Return kind, version and sizes of the store; every table is read, so that it takes a while for a large one."""
        return sizes.info(self._database)

    def half_deleted(self) -> list[int]:
        """Return the numbers of runs whose deletion was begun and not finished."""
        return self._database.read(runs.half_deleted)
