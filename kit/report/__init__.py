"""The report, the plots and the page, made from the evidence in logs/ and from nothing else."""
