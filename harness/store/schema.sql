-- The tables of reports/results.duckdb, version 1. Later versions: migrations/NNNN.sql, applied in order.

-- Up to which of these files the database was brought.
CREATE TABLE schema_version (
    version INTEGER NOT NULL            -- the number of the last one
);

-- One row for each experiment, replaced when its declaration changes.
CREATE TABLE experiments (
    name VARCHAR PRIMARY KEY,           -- as on its page and in the commands
    question VARCHAR NOT NULL,          -- what the verdict answers, in one sentence
    declaration JSON NOT NULL,          -- the whole declaration, and the source text of the file
    criteria_key VARCHAR NOT NULL,      -- the rule that it is judged by, by content
    created_at TIMESTAMP NOT NULL       -- UTC, like every time in this file
);

-- One row for each finished stage. Written last, in the transaction of its last answers: its presence is what makes a stage finished.
CREATE TABLE stages (
    key VARCHAR PRIMARY KEY,            -- all that its result depends on, by content
    experiment VARCHAR NOT NULL,        -- the experiment that ran it; others may share it by key
    kind VARCHAR NOT NULL,              -- audit, answer, likelihood, tune, judge, measure, noise, parity, rendering, timing
    system VARCHAR NOT NULL,            -- systems.system; who asked first
    split VARCHAR,                      -- dev, holdout; NULL if it is of no split
    seed INTEGER NOT NULL,              -- of the training run; 0 for a baseline
    started_at TIMESTAMP NOT NULL,      -- when its last process began
    seconds DOUBLE NOT NULL,            -- wall time, that of interrupted processes included
    tokens_in BIGINT NOT NULL,          -- tokens of prompts; tokens trained on in a tune stage
    tokens_out BIGINT NOT NULL,         -- tokens of answers
    environment JSON NOT NULL,          -- device, dtype, versions
    artifact VARCHAR                    -- folder of a tune stage, relative to the store's folder
);

-- Which stages an experiment's current declaration stands on, and in which part.
CREATE TABLE experiment_stages (
    experiment VARCHAR NOT NULL,        -- experiments.name
    stage_key VARCHAR NOT NULL,         -- stages.key
    system VARCHAR NOT NULL,            -- systems.system
    kind VARCHAR NOT NULL,              -- as in stages
    split VARCHAR,                      -- as in stages
    seed INTEGER NOT NULL,              -- as in stages
    PRIMARY KEY (experiment, stage_key, system)
);

-- One row for each system of an experiment.
CREATE TABLE systems (
    experiment VARCHAR NOT NULL,        -- experiments.name
    system VARCHAR NOT NULL,            -- as tables and pages call it
    role VARCHAR NOT NULL,              -- baseline, tuned, step (what a step of a recipe left)
    model VARCHAR NOT NULL,             -- name of what answers
    description VARCHAR NOT NULL,       -- the strategy or recipe as it was declared
    chosen BOOLEAN NOT NULL,            -- selected on DEV for the verdict
    price_in DOUBLE,                    -- money for one million tokens of prompts, if known
    price_out DOUBLE,                   -- money for one million tokens of answers, if known
    PRIMARY KEY (experiment, system)
);

-- The samples that an experiment's current evidence stands on.
CREATE TABLE samples (
    experiment VARCHAR NOT NULL,        -- experiments.name
    split VARCHAR NOT NULL,             -- train, dev, holdout
    sample_id VARCHAR NOT NULL,         -- Sample.id
    position INTEGER NOT NULL,          -- place in its split, from 0
    input VARCHAR NOT NULL,             -- Sample.input
    reference VARCHAR NOT NULL,         -- the right answer, as text
    expected JSON,                      -- what the task reads from the reference
    cluster VARCHAR,                    -- what it is one piece of evidence with; NULL if it stands alone
    tags JSON NOT NULL,                 -- name -> value
    PRIMARY KEY (experiment, split, sample_id)
);

-- What was answered in each stage.
CREATE TABLE answers (
    stage_key VARCHAR NOT NULL,         -- stages.key
    sample_id VARCHAR NOT NULL,         -- samples.sample_id
    repeat INTEGER NOT NULL,            -- 0; each answer of several has a stage of its own
    prompt VARCHAR NOT NULL,            -- as rendered for the model
    text VARCHAR NOT NULL,              -- what was answered, without what was thought aloud
    value JSON,                         -- what the task read from it; NULL if it could not
    tokens_in INTEGER NOT NULL,         -- tokens of the prompt
    tokens_out INTEGER NOT NULL,        -- tokens of the answer
    seconds DOUBLE NOT NULL,            -- what it took, looking something up for its prompt included
    cut BOOLEAN NOT NULL,               -- ended at the token limit
    PRIMARY KEY (stage_key, sample_id, repeat)
);

-- Log-likelihood of the reference, or of a choice, given the prompt.
CREATE TABLE likelihoods (
    stage_key VARCHAR NOT NULL,         -- stages.key
    sample_id VARCHAR NOT NULL,         -- samples.sample_id
    choice VARCHAR NOT NULL,            -- '' for the reference, else the choice scored
    logprob DOUBLE NOT NULL,            -- nats, summed over tokens
    tokens INTEGER NOT NULL,            -- how many were scored
    bytes INTEGER NOT NULL,             -- UTF-8 bytes of the text
    greedy BOOLEAN NOT NULL,            -- every token was the model's first choice
    PRIMARY KEY (stage_key, sample_id, choice)
);

-- Scores by a metric that runs a model of its own: a stage, unlike the pure metrics.
CREATE TABLE measures (
    stage_key VARCHAR NOT NULL,         -- stages.key
    sample_id VARCHAR NOT NULL,         -- samples.sample_id
    repeat INTEGER NOT NULL,            -- 0; as in answers
    score DOUBLE NOT NULL,              -- in score units
    detail JSON,                        -- evidence, as the metric gives it
    PRIMARY KEY (stage_key, sample_id, repeat)
);

-- Scoring is pure; rows are replaced each time an experiment is judged.
CREATE TABLE scores (
    stage_key VARCHAR NOT NULL,         -- stages.key of the answer
    sample_id VARCHAR NOT NULL,         -- samples.sample_id
    repeat INTEGER NOT NULL,            -- which of several drawn answers, from 0
    metric VARCHAR NOT NULL,            -- its name
    score DOUBLE,                       -- NULL if there is none
    error VARCHAR,                      -- why there is no score
    detail JSON,                        -- evidence: rules hit, labels compared
    experiment VARCHAR NOT NULL,        -- experiments.name
    system VARCHAR NOT NULL,            -- systems.system
    split VARCHAR NOT NULL,             -- dev, holdout
    seed INTEGER NOT NULL               -- of the training run; 0 for a baseline
);

-- What each training logged.
CREATE TABLE training_log (
    stage_key VARCHAR NOT NULL,         -- stages.key of a tune stage
    step INTEGER NOT NULL,              -- optimiser steps so far
    epoch DOUBLE NOT NULL,              -- passes over the training data so far
    name VARCHAR NOT NULL,              -- loss, dev_loss, learning_rate, grad_norm, tokens, and what a method adds
    value DOUBLE NOT NULL               -- at that step
);

-- One row for each metric, split and pair of systems; the verdict stands on those of HOLDOUT with the chosen pair.
CREATE TABLE comparisons (
    experiment VARCHAR NOT NULL,        -- experiments.name
    metric VARCHAR NOT NULL,            -- its name, of a guard with that of its task
    split VARCHAR NOT NULL,             -- dev, holdout
    baseline VARCHAR NOT NULL,          -- systems.system
    tuned VARCHAR NOT NULL,             -- systems.system
    better VARCHAR NOT NULL,            -- higher, lower
    baseline_mean DOUBLE,               -- in score units
    tuned_mean DOUBLE,                  -- in score units
    tuned_low DOUBLE,                   -- interval of tuned_mean; NULL if it has no end
    tuned_high DOUBLE,                  -- its upper end
    difference DOUBLE,                  -- tuned minus baseline, in score units
    low DOUBLE,                         -- interval of the difference; NULL if it has no end
    high DOUBLE,                        -- its upper end
    p_value DOUBLE,                     -- of no difference; NULL if there is none
    samples INTEGER NOT NULL,           -- how many both were measured on
    seeds INTEGER NOT NULL,             -- training runs of the tuned system
    method VARCHAR NOT NULL             -- which interval and test, in words
);

-- Every system's mean with its own interval; the view `scoreboard` reads it.
CREATE TABLE system_means (
    experiment VARCHAR NOT NULL,        -- experiments.name
    system VARCHAR NOT NULL,            -- systems.system
    split VARCHAR NOT NULL,             -- dev, holdout
    metric VARCHAR NOT NULL,            -- its name
    better VARCHAR NOT NULL,            -- higher, lower
    mean DOUBLE,                        -- in score units
    low DOUBLE,                         -- interval of the mean; NULL if it has no end
    high DOUBLE,                        -- its upper end
    samples INTEGER NOT NULL            -- how many it was measured on
);

-- What `system_means` holds, for a quick look.
CREATE VIEW scoreboard AS
    SELECT experiment, system, split, metric, mean, low, high, samples FROM system_means;

-- Data and protocol checks of an experiment's current evidence.
CREATE TABLE checks (
    experiment VARCHAR NOT NULL,        -- experiments.name
    position INTEGER NOT NULL,          -- place among the checks, from 0
    name VARCHAR NOT NULL,              -- what was looked at
    status VARCHAR NOT NULL,            -- ok, warning, invalid
    detail VARCHAR NOT NULL,            -- one sentence with names and numbers
    items JSON NOT NULL                 -- the pairs or ids it is about
);

-- Each verdict that was given; the latest counts.
CREATE TABLE decisions (
    experiment VARCHAR NOT NULL,        -- experiments.name
    decided_at TIMESTAMP NOT NULL,      -- when it was given
    verdict VARCHAR NOT NULL,           -- GO, NO_GO, INCONCLUSIVE, INVALID
    reason VARCHAR NOT NULL,            -- why, in a sentence or two
    findings JSON NOT NULL,             -- what each criterion and guard found
    criteria_key VARCHAR NOT NULL,      -- the rule it was judged by
    post_hoc BOOLEAN NOT NULL,          -- the rule changed after the holdout was opened
    known_negative BOOLEAN NOT NULL     -- the file is marked xfail(raises=NoGo)
);

CREATE TABLE looks (
    holdout_key VARCHAR NOT NULL,       -- the holdout, by the content of its samples
    experiment VARCHAR NOT NULL,        -- who looked; experiments.name
    system VARCHAR NOT NULL,            -- systems.system
    stage_key VARCHAR NOT NULL,         -- the stage that answered the holdout
    criteria_key VARCHAR NOT NULL,      -- the rule in force when the holdout was opened
    looked_at TIMESTAMP NOT NULL,       -- when it was first opened for that stage
    PRIMARY KEY (holdout_key, experiment, system, stage_key)
);
