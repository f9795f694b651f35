-- Version 5: which file an experiment comes from, so that two files of one name are never one experiment.

-- file: relative to the folder of this database, with "/"; empty for an experiment that was run from Python.
CREATE TABLE experiment_files (
    experiment VARCHAR PRIMARY KEY,
    file VARCHAR NOT NULL
);
