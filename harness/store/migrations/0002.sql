-- Version 2: what a verdict tells beyond yes or no.

-- Confidence of low and high: less than 0.05 is left over for a candidate that is not the first to see its holdout.
ALTER TABLE comparisons ADD COLUMN level DOUBLE;
UPDATE comparisons SET level = 0.95;

-- kind: data, protocol, readiness.
ALTER TABLE checks ADD COLUMN kind VARCHAR;
UPDATE checks SET kind = 'protocol';

-- candidate: the pair of systems that was shown the holdout, by content. Older looks: one candidate an experiment,
-- under a rule whose key was made otherwise and is not known any more.
ALTER TABLE looks RENAME TO older_looks;
CREATE TABLE looks (
    holdout_key VARCHAR NOT NULL,
    experiment VARCHAR NOT NULL,
    system VARCHAR NOT NULL,
    stage_key VARCHAR NOT NULL,
    criteria_key VARCHAR NOT NULL,      -- the rule in force when the holdout was opened
    looked_at TIMESTAMP NOT NULL,
    candidate VARCHAR NOT NULL,
    PRIMARY KEY (holdout_key, experiment, system, stage_key, candidate)
);
INSERT INTO looks SELECT holdout_key, experiment, system, stage_key, '', looked_at, experiment FROM older_looks;
DROP TABLE older_looks;

-- Which samples a holdout holds, by content: holdouts that share samples share their looks.
CREATE TABLE holdouts (
    holdout_key VARCHAR NOT NULL,
    sample_key VARCHAR NOT NULL,
    PRIMARY KEY (holdout_key, sample_key)
);

-- One metric on a part of the holdout; explored, never decided by. q_value: Benjamini-Hochberg over a metric's slices.
CREATE TABLE slices (
    experiment VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    dimension VARCHAR NOT NULL,         -- tag:NAME, length, label, language, leakage
    value VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    baseline_mean DOUBLE,
    tuned_mean DOUBLE,
    difference DOUBLE,
    low DOUBLE,
    high DOUBLE,
    p_value DOUBLE,
    q_value DOUBLE
);

-- What else the evidence says, one row a kind: curve, break_even, four_way, noise, ladder, ledger, safety, evidence,
-- sequential, retention, preference, trainings. content: the fields of the class in harness.analysis.
CREATE TABLE insights (
    experiment VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    content JSON NOT NULL
);
