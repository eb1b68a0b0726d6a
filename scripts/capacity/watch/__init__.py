"""What is seen while a run is under way: jobs, positions of trainings, and when all will be done."""
