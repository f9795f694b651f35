-- Version 3: recipes of several steps, and what each step did to each task.

-- part: which step of its system's recipe a tune stage trains; empty where the recipe is one step.
ALTER TABLE experiment_stages ADD COLUMN part VARCHAR;
UPDATE experiment_stages SET part = '';

-- The matrix of a recipe that learns tasks in a row, scored on DEV.
CREATE TABLE continual (
    experiment VARCHAR NOT NULL,        -- experiments.name
    system VARCHAR NOT NULL,            -- systems.system
    seed INTEGER NOT NULL,              -- of the training run
    step INTEGER NOT NULL,              -- steps trained so far; 0 is the model before any training
    step_name VARCHAR NOT NULL,         -- of the step that was trained last
    task VARCHAR NOT NULL,              -- what is asked
    metric VARCHAR NOT NULL,            -- its name
    score DOUBLE NOT NULL,              -- mean on DEV, in score units
    low DOUBLE,                         -- 95 % interval of the score; NULL if it has no end
    high DOUBLE,                        -- its upper end
    samples INTEGER NOT NULL,           -- how many it is the mean of
    PRIMARY KEY (experiment, system, seed, step, task)
);
