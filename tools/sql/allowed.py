"""What a query may be made of: kinds of nodes of the parser, and functions. Everything that is not named here is refused.

The names are those of sqlglot's classes, which stand for a function in every spelling. Left out on purpose: whatever reads files or settings, waits,
reaches other servers, runs SQL out of a text, or makes long texts out of short ones.
"""

from collections.abc import Mapping
from typing import Final, Literal

Dialect = Literal["postgres", "sqlite"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NODES: Final = _words("""
    Select Union Intersect Except Subquery With CTE RecursiveWithSearch Values Table TableAlias From Join Lateral Where Group Rollup Cube GroupingSets
    Having Order Ordered Limit Offset Fetch LimitOptions Distinct Window WindowSpec WindowOrderClause Qualify
    Column Identifier Star Alias Literal Boolean Null Paren Tuple Var
    Not And Or Neg EQ NEQ GT GTE LT LTE Is Like ILike LikeAny SimilarTo RegexpLike RegexpILike Glob Escape NullSafeEQ NullSafeNEQ Between In Exists
    Any All Add Sub Mul Div IntDiv Mod DPipe BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitwiseLeftShift BitwiseRightShift Collate Case If Cast
    TryCast DataType DataTypeParam Interval IntervalSpan Filter WithinGroup IgnoreNulls RespectNulls AtTimeZone Array Bracket Slice ArrayContainsAll
    ArrayContainedBy ArrayOverlaps JSONExtract JSONExtractScalar JSONBExtract JSONBExtractScalar JSONBContains JSONPath JSONPathKey JSONPathRoot
    JSONPathSubscript JSONKeyValue Predicate
""")

FUNCTIONS: Final = _words("""
    Count CountIf Sum Avg Min Max Stddev StddevPop StddevSamp Variance VariancePop Corr CovarPop CovarSamp RegrSlope RegrIntercept RegrR2 LogicalAnd
    LogicalOr GroupConcat ArrayAgg JSONArrayAgg JSONObjectAgg PercentileCont PercentileDisc Mode Median Grouping
    Abs Ceil Floor Round Trunc Sign Sqrt Cbrt Pow Exp Ln Log Greatest Least Pi Sin Cos Tan Asin Acos Atan Atan2 Degrees Radians WidthBucket
    Lower Upper Length Trim Substring Replace StrPosition Left Right Concat ConcatWs SplitPart Initcap Reverse StartsWith RegexpReplace Ascii Chr
    Unicode Translate MD5 Hex Coalesce Nullif Typeof
    Year Month Day
    CurrentTimestamp CurrentDate CurrentTime Date Time Datetime TimestampTrunc DateTrunc Extract TimeToStr StrToDate StrToTime UnixToTime
    TsOrDsToTimestamp TsOrDsToDate JustifyDays JustifyHours JustifyInterval
    RowNumber Rank DenseRank PercentRank CumeDist Ntile Lag Lead FirstValue LastValue NthValue
    JSONType ArraySize Unnest Explode GenerateSeries ExplodingGenerateSeries
""")

UNNAMED: Final[Mapping[Dialect, frozenset[str]]] = {
    "postgres": _words("""
        regexp_matches regexp_match regexp_split_to_table string_to_array array_to_string cardinality bit_length octet_length btrim to_number age
        make_date make_time make_timestamp isfinite num_nonnulls num_nulls
        json_array_length jsonb_array_length json_array_elements jsonb_array_elements json_array_elements_text jsonb_array_elements_text json_each
        jsonb_each json_each_text jsonb_each_text json_object_keys jsonb_object_keys json_typeof jsonb_typeof jsonb_agg jsonb_object_agg
        bit_and bit_or every regr_count regr_avgx regr_avgy gcd lcm div
    """),
    "sqlite": _words("""
        total date time datetime julianday unixepoch json_array_length json_each json_type json_valid quote likely unlikely soundex log2 printf format
        percentile stddev
    """),
}
"""Functions that the parser has no class for, in lower case."""

TYPES: Final = _words("""
    TEXT VARCHAR CHAR NCHAR NVARCHAR BPCHAR NAME BOOLEAN TINYINT SMALLINT INT BIGINT DECIMAL BIGDECIMAL FLOAT DOUBLE REAL DATE TIME TIMETZ TIMESTAMP
    TIMESTAMPTZ DATETIME INTERVAL JSON JSONB UUID ARRAY INET
""")
"""What a value may be cast to; the ``reg*`` types, which look into catalogs, are not among them."""

SQLITE_FUNCTIONS: Final = _words("""
    -> ->> abs acos asin atan atan2 avg ceil ceiling char coalesce corr cos count cume_dist current_date current_time current_timestamp
    date datetime degrees dense_rank exp first_value floor format glob group_concat hex ifnull iif instr json_array_length json_each
    json_extract json_type json_valid julianday lag last_value lead length like likely ln log log10 log2 lower ltrim max min mod nth_value
    ntile nullif percent_rank percentile_cont pi pow power printf quote radians rank replace round row_number rtrim sign sin sqrt stddev
    stddev_pop stddev_samp strftime substr substring sum tan time total trim trunc typeof unicode unixepoch unlikely upper variance
    variance_pop
""")
"""What SQLite itself lets a query call: the second wall, behind the parser."""
