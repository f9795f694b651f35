-- Version 7: what an answer's seconds are made of.

-- timed_in_batch: the batch whose time was dealt out evenly, NULL where the answer was timed by itself. Of older answers
-- of local engines nothing is known, so that those of one stage count as one batch.
ALTER TABLE answers ADD COLUMN timed_in_batch INTEGER;
UPDATE answers SET timed_in_batch = 0 WHERE stage_key IN (
    SELECT key FROM stages WHERE json_extract_string(environment, '$.engine') IN ('transformers', 'vllm')
);
-- lookup_seconds: the part of seconds that making the prompt took. retrieved: texts that were looked up for it, NULL
-- where nothing is looked up.
ALTER TABLE answers ADD COLUMN lookup_seconds DOUBLE;
UPDATE answers SET lookup_seconds = 0;
ALTER TABLE answers ADD COLUMN retrieved INTEGER;

-- This text's share of its batch's time; NULL in older rows.
ALTER TABLE likelihoods ADD COLUMN seconds DOUBLE;

-- Answers chosen by likelihood were stored without their time: an even share of what their stage took stands for it.
UPDATE answers SET timed_in_batch = 0, seconds = stages.seconds / chosen.answers
FROM stages, (
    SELECT stage_key, count(*) AS answers FROM answers WHERE stage_key IN (
        SELECT stage_key FROM likelihoods WHERE choice <> ''
    ) GROUP BY stage_key HAVING max(seconds) = 0
) AS chosen
WHERE stages.key = answers.stage_key AND chosen.stage_key = answers.stage_key;
