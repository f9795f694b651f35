-- Version 3: recipes of several steps, and what each step did to each task.

-- part: which step of its system's recipe a tune stage trains; empty where the recipe is one step.
ALTER TABLE experiment_stages ADD COLUMN part VARCHAR;
UPDATE experiment_stages SET part = '';

-- The matrix of a recipe that learns tasks in a row, scored on DEV. step 0: the model before any training.
CREATE TABLE continual (
    experiment VARCHAR NOT NULL,
    system VARCHAR NOT NULL,
    seed INTEGER NOT NULL,
    step INTEGER NOT NULL,
    step_name VARCHAR NOT NULL,
    task VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    score DOUBLE NOT NULL,
    low DOUBLE,                         -- 95 % interval of the score
    high DOUBLE,
    samples INTEGER NOT NULL,
    PRIMARY KEY (experiment, system, seed, step, task)
);
