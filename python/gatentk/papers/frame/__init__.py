"""What every experiment stands on: cells and findings, the journal, the files and the page, trainings, discovery."""
