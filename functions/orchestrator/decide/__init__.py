"""The orchestrator's decisions: pure functions over frozen data.

model           what definitions, runs and steps are
registration    is a registration valid, and what does it define?
run             a run and an input -> the new run, and the commands to send
progress        going forward: the graph of steps
undo            compensation, and its plan
answers         which answers count
timers          timeouts, pauses between attempts, the next timer
waiting_reason  why does a run wait?
"""
