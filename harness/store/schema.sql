-- The tables of reports/results.duckdb, version 1. Later versions: migrations/NNNN.sql, applied in order.

CREATE TABLE schema_version (version INTEGER NOT NULL);

-- One row an experiment, replaced when its declaration changes.
CREATE TABLE experiments (
    name VARCHAR PRIMARY KEY,
    question VARCHAR NOT NULL,
    declaration JSON NOT NULL,          -- the whole declaration, and the source text of the file
    criteria_key VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL       -- UTC, like every time in this file
);

-- One row a finished stage. Written last, in the transaction of its last answers: its presence is what makes a stage finished.
CREATE TABLE stages (
    key VARCHAR PRIMARY KEY,
    experiment VARCHAR NOT NULL,        -- the experiment that ran it; others may share it by key
    kind VARCHAR NOT NULL,              -- audit, answer, likelihood, tune, judge, measure
    system VARCHAR NOT NULL,
    split VARCHAR,
    seed INTEGER NOT NULL,
    started_at TIMESTAMP NOT NULL,
    seconds DOUBLE NOT NULL,
    tokens_in BIGINT NOT NULL,
    tokens_out BIGINT NOT NULL,
    environment JSON NOT NULL,          -- device, dtype, versions
    artifact VARCHAR                    -- folder of a tune stage, relative to the store's folder
);

-- Which stages an experiment's current declaration stands on, and in which part.
CREATE TABLE experiment_stages (
    experiment VARCHAR NOT NULL,
    stage_key VARCHAR NOT NULL,
    system VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    split VARCHAR,
    seed INTEGER NOT NULL,
    PRIMARY KEY (experiment, stage_key, system)
);

-- role: baseline, tuned; chosen: selected on DEV for the verdict.
CREATE TABLE systems (
    experiment VARCHAR NOT NULL,
    system VARCHAR NOT NULL,
    role VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    description VARCHAR NOT NULL,
    chosen BOOLEAN NOT NULL,
    price_in DOUBLE,                    -- money for one million tokens, where known
    price_out DOUBLE,
    PRIMARY KEY (experiment, system)
);

CREATE TABLE samples (
    experiment VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    sample_id VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    input VARCHAR NOT NULL,
    reference VARCHAR NOT NULL,
    expected JSON,
    cluster VARCHAR,                    -- Sample.group
    tags JSON NOT NULL,
    PRIMARY KEY (experiment, split, sample_id)
);

CREATE TABLE answers (
    stage_key VARCHAR NOT NULL,
    sample_id VARCHAR NOT NULL,
    repeat INTEGER NOT NULL,
    prompt VARCHAR NOT NULL,
    text VARCHAR NOT NULL,
    value JSON,
    tokens_in INTEGER NOT NULL,
    tokens_out INTEGER NOT NULL,
    seconds DOUBLE NOT NULL,
    cut BOOLEAN NOT NULL,               -- ended at the token limit
    PRIMARY KEY (stage_key, sample_id, repeat)
);

-- Log-likelihood of the reference given the prompt; `choice` is '' for the reference, else the choice scored.
CREATE TABLE likelihoods (
    stage_key VARCHAR NOT NULL,
    sample_id VARCHAR NOT NULL,
    choice VARCHAR NOT NULL,
    logprob DOUBLE NOT NULL,            -- nats, summed over tokens
    tokens INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    greedy BOOLEAN NOT NULL,
    PRIMARY KEY (stage_key, sample_id, choice)
);

-- Scores by a metric that runs a model of its own: a stage, unlike the pure metrics.
CREATE TABLE measures (
    stage_key VARCHAR NOT NULL,
    sample_id VARCHAR NOT NULL,
    repeat INTEGER NOT NULL,
    score DOUBLE NOT NULL,
    detail JSON,
    PRIMARY KEY (stage_key, sample_id, repeat)
);

-- Scoring is pure; rows are replaced each time an experiment is judged.
CREATE TABLE scores (
    stage_key VARCHAR NOT NULL,
    sample_id VARCHAR NOT NULL,
    repeat INTEGER NOT NULL,
    metric VARCHAR NOT NULL,
    score DOUBLE,
    error VARCHAR,                      -- why there is no score
    detail JSON,                        -- evidence: rules hit, labels compared
    experiment VARCHAR NOT NULL,
    system VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    seed INTEGER NOT NULL
);

CREATE TABLE training_log (
    stage_key VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    epoch DOUBLE NOT NULL,
    name VARCHAR NOT NULL,              -- loss, dev_loss, learning_rate, grad_norm, tokens
    value DOUBLE NOT NULL
);

-- One row a metric, split and pair of systems; the verdict stands on those of HOLDOUT with the chosen pair.
CREATE TABLE comparisons (
    experiment VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    baseline VARCHAR NOT NULL,
    tuned VARCHAR NOT NULL,
    better VARCHAR NOT NULL,            -- higher, lower
    baseline_mean DOUBLE,
    tuned_mean DOUBLE,
    tuned_low DOUBLE,
    tuned_high DOUBLE,
    difference DOUBLE,
    low DOUBLE,
    high DOUBLE,
    p_value DOUBLE,
    samples INTEGER NOT NULL,
    seeds INTEGER NOT NULL,
    method VARCHAR NOT NULL             -- which interval and test, in words
);

-- Every system's mean with its own interval; the view `scoreboard` reads it.
CREATE TABLE system_means (
    experiment VARCHAR NOT NULL,
    system VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    better VARCHAR NOT NULL,
    mean DOUBLE,
    low DOUBLE,
    high DOUBLE,
    samples INTEGER NOT NULL
);

CREATE VIEW scoreboard AS
    SELECT experiment, system, split, metric, mean, low, high, samples FROM system_means;

-- Data and protocol checks of an experiment's current evidence. status: ok, warning, invalid.
CREATE TABLE checks (
    experiment VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    detail VARCHAR NOT NULL,
    items JSON NOT NULL
);

CREATE TABLE decisions (
    experiment VARCHAR NOT NULL,
    decided_at TIMESTAMP NOT NULL,
    verdict VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    findings JSON NOT NULL,
    criteria_key VARCHAR NOT NULL,
    post_hoc BOOLEAN NOT NULL,          -- the rule changed after the holdout was opened
    known_negative BOOLEAN NOT NULL     -- the file is marked xfail(raises=NoGo)
);

CREATE TABLE looks (
    holdout_key VARCHAR NOT NULL,
    experiment VARCHAR NOT NULL,
    system VARCHAR NOT NULL,
    stage_key VARCHAR NOT NULL,
    criteria_key VARCHAR NOT NULL,      -- the rule in force when the holdout was opened
    looked_at TIMESTAMP NOT NULL,
    PRIMARY KEY (holdout_key, experiment, system, stage_key)
);
