"""What becomes of each nominal time of a schedule, and why: pure functions over frozen data.

tick       what a row of the ledger is: a nominal time, its state and reason
nominal    which nominal times a schedule has, by the version that was valid then
calendar   which days are none of work
holiday    where the times of such a day move
reconcile  which times run now, wait, or are missed or skipped
ends       what a run's end does to its tick, and to those that wait for it
backfill   which times a backfill runs, and in which order
preview    what is coming
"""
