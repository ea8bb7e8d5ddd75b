"""The training pod: prepare the rows, fit, judge, publish. Rules are pure; `steps` does the reading and writing."""
