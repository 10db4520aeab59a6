//! LCS: the longest common subsequence of two strings.

use crate::env::{Done, Env, DONE};
use crate::error::Error;
use crate::values::as_string;
use crate::words::Words;
use keyspace::Scratch;
use resp::args::Args;

#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    min_match_len: usize,
}

impl Options {
    fn parse(mut words: Words<'_>) -> Result<Options, Error> {
        let mut o = Options::default();
        while !words.is_empty() {
            if words.word("idx") {
                o.idx = true;
            } else if words.word("len") {
                o.len = true;
            } else if words.word("withmatchlen") {
                o.with_match_len = true;
            } else if words.word("minmatchlen") {
                o.min_match_len = usize::try_from(words.int()?).unwrap_or(0);
            } else {
                return Err(Error::SYNTAX);
            }
        }
        if o.idx && o.len {
            return Err(Error::LCS_LEN_AND_IDX);
        }
        Ok(o)
    }
}

/// A stretch that both strings share: where it begins in each, and its length.
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

pub fn lcs(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let a = value(env, args.at(1))?;
    let b = value(env, args.at(2))?;
    let options = Options::parse(Words::new(args, 3))?;
    let limit = env.server.config().proto_max_bulk_len;
    let Some(table) = Table::fill(env, &a, &b, limit) else {
        return Err(Error::LCS_MEMORY);
    };
    let len = table.at(a.len(), b.len());
    if options.len {
        env.reply().int(len.into());
        return DONE;
    }
    let (text, matches) = table.trace(&a, &b);
    if options.idx {
        reply_matches(env, &options, &matches, len);
    } else {
        env.reply().bulk(&text);
    }
    DONE
}

fn value(env: &mut Env<'_>, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let key = env.data.key(bytes);
    env.data.with_counted(&key, |entry| match entry {
        None => Ok(Vec::new()),
        Some(entry) => {
            let string = as_string(&entry).map_err(|_| Error::LCS_NOT_STRINGS)?;
            Ok(string.text(&mut Scratch::default()).to_vec())
        }
    })
}

/// `at(i, j)`: how long the longest common subsequence of the first `i` and `j` bytes is.
struct Table {
    cells: Vec<u32>,
    width: usize,
}

/// Cells between two looks at the clock.
const CELLS_PER_BREATH: usize = 1 << 20;

impl Table {
    /// `None` if it would take more than `limit` bytes.
    fn fill(env: &mut Env<'_>, a: &[u8], b: &[u8], limit: usize) -> Option<Table> {
        let width = b.len() + 1;
        let cells = (a.len() + 1).checked_mul(width)?;
        let bytes = cells.checked_mul(size_of::<u32>())?;
        if bytes > limit {
            return None;
        }
        let mut table = Table {
            cells: vec![0; cells],
            width,
        };
        let mut since_breath = 0;
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                table.cells[i * width + j] = if a[i - 1] == b[j - 1] {
                    table.at(i - 1, j - 1) + 1
                } else {
                    table.at(i - 1, j).max(table.at(i, j - 1))
                };
            }
            since_breath += width;
            if since_breath >= CELLS_PER_BREATH {
                since_breath = 0;
                env.server.breathe(); // T9
            }
        }
        Some(table)
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.width + j]
    }

    /// Walks back from the end: the subsequence, and its stretches, the last one first.
    fn trace(&self, a: &[u8], b: &[u8]) -> (Vec<u8>, Vec<Match>) {
        let (mut i, mut j) = (a.len(), b.len());
        let mut text = Vec::new();
        let mut matches: Vec<Match> = Vec::new();
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                text.push(a[i]);
                match matches.last_mut() {
                    Some(m) if m.a == i + 1 && m.b == j + 1 => {
                        *m = Match {
                            a: i,
                            b: j,
                            len: m.len + 1,
                        };
                    }
                    _ => matches.push(Match { a: i, b: j, len: 1 }),
                }
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        text.reverse();
        (text, matches)
    }
}

fn reply_matches(env: &mut Env<'_>, options: &Options, matches: &[Match], len: u32) {
    let int = |n: usize| i64::try_from(n).expect("an index fits an i64");
    let shown = || matches.iter().filter(|m| m.len >= options.min_match_len);
    let mut reply = env.reply();
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(shown().count());
    for m in shown() {
        reply.array(2 + usize::from(options.with_match_len));
        for begin in [m.a, m.b] {
            reply.array(2);
            reply.int(int(begin));
            reply.int(int(begin + m.len - 1));
        }
        if options.with_match_len {
            reply.int(int(m.len));
        }
    }
    reply.bulk(b"len");
    reply.int(len.into());
}
