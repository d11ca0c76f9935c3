"""The process that we work in, often a guest's: silence, threads that may never end, forks, and the memory and load of the machine."""
