-- Version 4: how each answer ended, and what its model thought aloud.

-- ended: stop, length (the token limit), filter, refusal, tool, empty. It takes the place of `cut`.
ALTER TABLE answers ADD COLUMN ended VARCHAR;
UPDATE answers SET ended = CASE WHEN cut THEN 'length' WHEN trim(text) = '' THEN 'empty' ELSE 'stop' END;
ALTER TABLE answers DROP COLUMN cut;

-- reasoning: apart from the answer's text, which is what is read and scored.
ALTER TABLE answers ADD COLUMN reasoning VARCHAR;
UPDATE answers SET reasoning = '';
