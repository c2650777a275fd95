"""The orchestrator's decisions: pure functions over frozen data.

model           what definitions, runs and steps are
registration    is this registration sound, and what does it define?
run             a run and what happened to it -> the run as it is now, and what to send
progress        going forward: the graph of steps
undo            going back, and the plan of it
answers         which answers count
timers          timeouts, pauses between attempts, the next timer
words           why is it waiting?
"""
