-- Version 8: facts that were read out of sentences and names until now; older rows are filled by those very rules.

-- guard: of a second task. always_valid: the intervals hold at every look.
ALTER TABLE comparisons ADD COLUMN guard BOOLEAN;
ALTER TABLE comparisons ADD COLUMN always_valid BOOLEAN;
UPDATE comparisons SET guard = contains(metric, ': '), always_valid = starts_with(method, 'always-valid');

-- excused: the verdict leaves the holdout samples out that the check names.
ALTER TABLE checks ADD COLUMN excused BOOLEAN;
UPDATE checks SET excused = contains(detail, 'left out of the verdict');

-- retrieves: passages or shots are looked up for each prompt.
ALTER TABLE systems ADD COLUMN retrieves BOOLEAN;
UPDATE systems SET retrieves = regexp_matches(lower(system || ' ' || description), '(^|[^a-z])rag([^a-z]|$)')
    OR contains(lower(system || ' ' || description), 'select=''nearest''');

-- about: of each finding, what its value is: the difference, the tuned mean, or requests until payback.
ALTER TABLE decisions ADD COLUMN about JSON;
UPDATE decisions SET about = to_json(list_transform(from_json(findings, '["JSON"]'), lambda finding:
    CASE
        WHEN starts_with(finding ->> 'criterion', (finding ->> 'metric') || ': at ') THEN 'mean'
        WHEN (finding ->> 'metric') = 'break_even' THEN 'requests'
        ELSE 'difference'
    END));
