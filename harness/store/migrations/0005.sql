-- Version 5: which file an experiment comes from, so that two files of one name are never one experiment.

-- Which file each experiment comes from.
CREATE TABLE experiment_files (
    experiment VARCHAR PRIMARY KEY,     -- experiments.name
    file VARCHAR NOT NULL               -- relative to the folder of this database, with "/"; empty if it was run from Python
);
