//! Sorted sets: the rows of their commands.
//!
//! Owns: the table. Never: changes a sorted set (that is the state machine's).

use super::room;
use super::rows::rows;

mod add;
mod bounds;
mod combine;
mod pop;
mod random;
mod range;
mod read;
mod remove;
mod scan;

const VARIES: &[&str] = &["nondeterministic_output"];

rows! { pub static ROWS: SortedSet [SORTEDSET] {
    "bzmpop" -5 [WRITE BLOCKING] "7.0.0" keynum(2 0 1 1 RW ACCESS DELETE) => pop::bzmpop: "Takes members with the lowest or highest scores off the first sorted set that has any, as soon as one has.";
    "bzpopmax" -3 [WRITE BLOCKING FAST] "5.0.0" keys(1 -2 1 RW ACCESS DELETE) => pop::bzpopmax: "Takes the member with the highest score off the first sorted set that has any, as soon as one has.";
    "bzpopmin" -3 [WRITE BLOCKING FAST] "5.0.0" keys(1 -2 1 RW ACCESS DELETE) => pop::bzpopmin: "Takes the member with the lowest score off the first sorted set that has any, as soon as one has.";
    "zadd" -4 [WRITE DENYOOM FAST] "1.2.0" key(1 RW UPDATE) => add::zadd: "Gives members scores." .amplifies(room::scores);
    "zcard" 2 [READONLY FAST] "1.2.0" key(1 RO) => read::zcard: "How many members there are.";
    "zcount" 4 [READONLY FAST] "2.0.0" key(1 RO ACCESS) => read::zcount: "How many members have scores within a range.";
    "zdiff" -3 [READONLY] "6.2.0" keynum(1 0 1 1 RO ACCESS) => combine::zdiff: "The members of one sorted set that others have not.";
    "zdiffstore" -4 [WRITE DENYOOM] "6.2.0" key(1 OW UPDATE) keynum(2 0 1 1 RO ACCESS) => combine::zdiffstore: "Stores the members of one sorted set that others have not." .amplifies(room::scores);
    "zincrby" 4 [WRITE DENYOOM FAST] "1.2.0" key(1 RW ACCESS UPDATE) => add::zincrby: "Adds to the score of a member." .amplifies(room::scores);
    "zinter" -3 [READONLY] "6.2.0" keynum(1 0 1 1 RO ACCESS) => combine::zinter: "The members that several sorted sets have.";
    "zintercard" -3 [READONLY] "7.0.0" keynum(1 0 1 1 RO ACCESS) => combine::zintercard: "How many members several sorted sets have in common.";
    "zinterstore" -4 [WRITE DENYOOM] "2.0.0" key(1 OW UPDATE) keynum(2 0 1 1 RO ACCESS) => combine::zinterstore: "Stores the members that several sorted sets have." .amplifies(room::scores);
    "zlexcount" 4 [READONLY FAST] "2.8.9" key(1 RO ACCESS) => read::zlexcount: "How many members lie within a range of members.";
    "zmpop" -4 [WRITE] "7.0.0" keynum(1 0 1 1 RW ACCESS DELETE) => pop::zmpop: "Takes members with the lowest or highest scores from the first sorted set that there is.";
    "zmscore" -3 [READONLY FAST] "6.2.0" key(1 RO ACCESS) => read::zmscore: "The scores of members.";
    "zpopmax" -2 [WRITE FAST] "5.0.0" key(1 RW ACCESS DELETE) => pop::zpopmax: "Takes members with the highest scores.";
    "zpopmin" -2 [WRITE FAST] "5.0.0" key(1 RW ACCESS DELETE) => pop::zpopmin: "Takes members with the lowest scores.";
    "zrandmember" -2 [READONLY] "6.2.0" key(1 RO ACCESS) => random::zrandmember: "Members drawn at random." .tips(VARIES);
    "zrange" -4 [READONLY] "1.2.0" key(1 RO ACCESS) => range::zrange: "The members within a range.";
    "zrangebylex" -4 [READONLY] "2.8.9" key(1 RO ACCESS) => range::zrangebylex: "The members within a range of members." .deprecated("6.2.0", "`ZRANGE` with the `BYLEX` argument");
    "zrangebyscore" -4 [READONLY] "1.0.5" key(1 RO ACCESS) => range::zrangebyscore: "The members within a range of scores." .deprecated("6.2.0", "`ZRANGE` with the `BYSCORE` argument");
    "zrangestore" -5 [WRITE DENYOOM] "6.2.0" key(1 OW UPDATE) key(2 RO ACCESS) => range::zrangestore: "Stores the members within a range.";
    "zrank" -3 [READONLY FAST] "2.0.0" key(1 RO ACCESS) => read::zrank: "How many members have a lower score.";
    "zrem" -3 [WRITE FAST] "1.2.0" key(1 RW DELETE) => remove::zrem: "Removes members.";
    "zremrangebylex" 4 [WRITE] "2.8.9" key(1 RW DELETE) => remove::zremrangebylex: "Removes the members within a range of members.";
    "zremrangebyrank" 4 [WRITE] "2.0.0" key(1 RW DELETE) => remove::zremrangebyrank: "Removes the members within a range of positions.";
    "zremrangebyscore" 4 [WRITE] "1.2.0" key(1 RW DELETE) => remove::zremrangebyscore: "Removes the members within a range of scores.";
    "zrevrange" -4 [READONLY] "1.2.0" key(1 RO ACCESS) => range::zrevrange: "The members within a range of positions from the end." .deprecated("6.2.0", "`ZRANGE` with the `REV` argument");
    "zrevrangebylex" -4 [READONLY] "2.8.9" key(1 RO ACCESS) => range::zrevrangebylex: "The members within a range of members, from its end." .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments");
    "zrevrangebyscore" -4 [READONLY] "2.2.0" key(1 RO ACCESS) => range::zrevrangebyscore: "The members within a range of scores, from its end." .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments");
    "zrevrank" -3 [READONLY FAST] "2.0.0" key(1 RO ACCESS) => read::zrevrank: "How many members have a higher score.";
    "zscan" -3 [READONLY] "2.8.0" key(1 RO ACCESS) => scan::zscan: "Walks through members and scores, some at a time." .tips(VARIES);
    "zscore" 3 [READONLY FAST] "1.2.0" key(1 RO ACCESS) => read::zscore: "The score of a member.";
    "zunion" -3 [READONLY] "6.2.0" keynum(1 0 1 1 RO ACCESS) => combine::zunion: "The members that any of several sorted sets has.";
    "zunionstore" -4 [WRITE DENYOOM] "2.0.0" key(1 OW UPDATE) keynum(2 0 1 1 RO ACCESS) => combine::zunionstore: "Stores the members that any of several sorted sets has." .amplifies(room::scores);
}}
