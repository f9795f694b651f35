-- Version 6: by which statistics a verdict was computed, and how many pieces of evidence the samples are.

-- statistics: harness.stats.wording; 1 is what was computed before it was recorded.
ALTER TABLE decisions ADD COLUMN statistics INTEGER;
UPDATE decisions SET statistics = 1;

-- groups: clusters of samples that count as one each, by declared groups and equal inputs; NULL where all stand alone.
ALTER TABLE comparisons ADD COLUMN "groups" INTEGER;
