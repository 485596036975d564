"""What is measured at one step, one file each; registered in `analysis.evidence.probe`."""
