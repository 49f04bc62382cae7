"""How models are made: training sets from what was decided, reward models, their export and their judgement. Run by `oo train`, in a process of its own."""
