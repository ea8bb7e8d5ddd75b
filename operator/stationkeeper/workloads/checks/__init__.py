"""One path from rows and profiles to a report, for the CronJob and for the command line."""
