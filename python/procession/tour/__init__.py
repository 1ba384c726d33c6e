"""The tour: near-duplicate files, found by processes that share nothing but queues.

`python -m procession tour [DIRECTORY]` does the same work three times, first in one process, then
in several, then by a pool, and says what each noun is for as it comes to it.

    files       which files are looked at
    similarity  how alike two texts are: functions without any notion of processes
    work        the tasks that this is cut into, and the job that needs them done
    parallel    the processes that do the tasks
    pooled      the pool that does them
    progress    what is shown meanwhile
    report      the file that the workers share
    guide       leads through it all, and compares
    cli         the command line
"""
