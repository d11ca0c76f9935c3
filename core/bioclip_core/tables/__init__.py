"""Tables that other programs wrote: their options, and their rows one by one."""
