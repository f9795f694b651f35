"""Which rules of computing made a number: a page of other rules is named as such, not called wrong.

Whatever changes a number, or the sentence in which a criterion tells it, raises the version.
"""

# 1: before equal inputs were clusters. 2: clusters of equal inputs, also in the intervals of rare failures; needed
# samples by projecting the data; the interval of a preference is that of its difference.
STATISTICS = 2
