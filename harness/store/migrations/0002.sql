-- Version 2: what a verdict tells beyond yes or no.

-- Confidence of low and high: less than 0.05 is left over for a candidate that is not the first to see its holdout.
ALTER TABLE comparisons ADD COLUMN level DOUBLE;
UPDATE comparisons SET level = 0.95;

-- kind: data, protocol, readiness.
ALTER TABLE checks ADD COLUMN kind VARCHAR;
UPDATE checks SET kind = 'protocol';

-- Each time that a system was shown a holdout. Older looks: one candidate for each experiment, under a rule whose key
-- was made otherwise and is not known any more.
ALTER TABLE looks RENAME TO older_looks;
CREATE TABLE looks (
    holdout_key VARCHAR NOT NULL,       -- the holdout, by the content of its samples
    experiment VARCHAR NOT NULL,        -- who looked; experiments.name
    system VARCHAR NOT NULL,            -- systems.system
    stage_key VARCHAR NOT NULL,         -- the stage that answered the holdout
    criteria_key VARCHAR NOT NULL,      -- the rule in force when the holdout was opened
    looked_at TIMESTAMP NOT NULL,       -- when it was first opened for that stage
    candidate VARCHAR NOT NULL,         -- the pair of systems that was shown the holdout, by content
    PRIMARY KEY (holdout_key, experiment, system, stage_key, candidate)
);
INSERT INTO looks SELECT holdout_key, experiment, system, stage_key, '', looked_at, experiment FROM older_looks;
DROP TABLE older_looks;

-- Which samples a holdout holds, by content: holdouts that share samples share their looks.
CREATE TABLE holdouts (
    holdout_key VARCHAR NOT NULL,       -- the holdout, by the content of its samples
    sample_key VARCHAR NOT NULL,        -- a sample, by its input and reference
    PRIMARY KEY (holdout_key, sample_key)
);

-- One metric on a part of the holdout; explored, never decided by.
CREATE TABLE slices (
    experiment VARCHAR NOT NULL,        -- experiments.name
    metric VARCHAR NOT NULL,            -- its name
    dimension VARCHAR NOT NULL,         -- tag:NAME, length, label, language, leakage
    value VARCHAR NOT NULL,             -- the trait, in words
    position INTEGER NOT NULL,          -- place among the slices, from 0
    samples INTEGER NOT NULL,           -- how many are in it
    baseline_mean DOUBLE,               -- in score units
    tuned_mean DOUBLE,                  -- in score units
    difference DOUBLE,                  -- tuned minus baseline, in score units
    low DOUBLE,                         -- interval of the difference; NULL if too few to test
    high DOUBLE,                        -- its upper end
    p_value DOUBLE,                     -- of no difference; NULL if too few to test
    q_value DOUBLE                      -- Benjamini-Hochberg over a metric's slices
);

-- What else the evidence says, one row for each kind: curve, break_even, four_way, noise, ladder, ledger, safety, evidence,
-- sequential, retention, preference, trainings.
CREATE TABLE insights (
    experiment VARCHAR NOT NULL,        -- experiments.name
    kind VARCHAR NOT NULL,              -- which analysis, as above
    content JSON NOT NULL               -- the fields of the class in harness.analysis
);
