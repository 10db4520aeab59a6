//! DEBUG OBJECT, LISTPACK, QUICKLIST-PACKED-THRESHOLD: how one value is kept.
//!
//! Owns: what is told of a value's form. Never: changes a value. QUICKLIST-PACKED-THRESHOLD changes what becomes of elements that
//! come from then on, on this node alone: no effect depends on it.

use super::super::env::{Done, Env, DONE};
use super::super::error::Error;
use super::debug_look::{held, may_look, serves};
use super::object::{encoding_name, references};
use keyspace::{Content, Digits, Entry, ListLayout, Value};
use resp::args::Args;

/// Around the value in a payload: its type, the version of RDB and the checksum.
const PAYLOAD_FRAME: usize = 1 + 2 + 8;
/// Redis takes no threshold above this.
const MOST_PLAIN: i128 = (1 << 32) - (1 << 20);

/// What `see` makes of the entry; where nobody knows at the moment what the data is, the command is held.
fn look<R>(
    env: &mut Env<'_>,
    args: Args<'_>,
    see: impl FnOnce(&Entry<'_>, &mut dyn FnMut()) -> R,
) -> Result<Option<R>, Error> {
    if !may_look(env)? {
        return Ok(None);
    }
    let key = env.data.key(&args[2]);
    if !serves(env, key.slot) {
        return Err(Error::NO_SUCH_KEY); // as in Redis, which does not look elsewhere
    }
    let server = &mut *env.server;
    let breathe = &mut || server.breathe(); // T9
    let see = |entry: Option<Entry<'_>>| entry.map(|entry| see(&entry, breathe));
    // M5: EXEC does not know that it names a key, and can't wait half-way until a lent one may expire.
    let seen = match env.data.frozen(key.bytes) {
        Some(_) => {
            env.data.depend_on(key.slot);
            see(env.data.keyspace().get(env.session.db, &key))
        }
        None => env.data.with(&key, see),
    };
    seen.map(Some).ok_or(Error::NO_SUCH_KEY)
}

pub(super) fn object(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let config = env.server.config();
    let compress = config.rdbcompression;
    let number = |name: &str| config.get_one(name).unwrap_or_default();
    let listpack_max = number("list-max-listpack-size");
    let is_compressed = number("list-compress-depth") != "0";
    let seen = look(env, args, |entry, breathe| {
        let value = entry.value();
        let payload = state::payload_of(value, state::Reader::Newest, compress, breathe);
        let chunks = chunks(value).map(|(count, bytes, mean)| {
            format!(
                " ql_nodes:{count} ql_avg_node:{mean:.2} ql_listpack_max:{listpack_max} \
                 ql_compressed:{} ql_uncompressed_size:{bytes}",
                u8::from(is_compressed)
            )
        });
        format!(
            "Value at:0x0 refcount:{} encoding:{} serializedlength:{} lru:0 lru_seconds_idle:0{}",
            references(value),
            encoding_name(entry),
            payload.len() - PAYLOAD_FRAME,
            chunks.unwrap_or_default()
        )
    })?;
    match seen {
        Some(text) => env.reply().simple(&text),
        None => return held(env),
    }
    DONE
}

/// Of a list in chunks: how many there are, their bytes, and how many elements each has in the mean.
fn chunks(value: Value<'_>) -> Option<(usize, usize, f64)> {
    let list = value.list()?;
    let ListLayout::Chunks(chunks) = list.layout() else {
        return None;
    };
    let (mut count, mut bytes) = (0, 0);
    for chunk in chunks.chunks() {
        count += 1;
        bytes += match chunk {
            Content::Packed(listpack) => listpack.bytes().len(),
            Content::Plain(text) => text.len(),
        };
    }
    Some((count, bytes, list.len() as f64 / count as f64))
}

/// The elements of a listpack go to the server's log.
pub(super) fn listpack(env: &mut Env<'_>, args: Args<'_>) -> Done {
    let lines = look(env, args, |entry, _| {
        let listpack = entry.value().listpack()?;
        let (bytes, elements) = (listpack.bytes().len(), listpack.len());
        let mut lines = vec![format!("listpack: {bytes} bytes, {elements} elements")];
        for (place, element) in listpack.entries_between(listpack.start(), listpack.end()) {
            let mut digits = Digits::default();
            let text = element.text(&mut digits).escape_ascii();
            lines.push(format!("listpack: at {}: {text}", place.offset()));
        }
        Some(lines)
    })?;
    let Some(lines) = lines else {
        return held(env);
    };
    let lines = lines.ok_or(Error::NOT_A_LISTPACK)?;
    lines.iter().for_each(|line| env.server.log(line));
    env.reply().simple("Listpack structure printed on stdout");
    DONE
}

/// From which length on an element of a list is a chunk of its own; 0: where it is too large for one with others.
pub(super) fn plain_elements(env: &mut Env<'_>, size: &[u8]) -> Done {
    let size = std::str::from_utf8(size).ok().and_then(config::memory);
    let size = size.filter(|size| *size <= MOST_PLAIN);
    let from = match size.ok_or(Error::PACKED_THRESHOLD)? {
        0 => usize::MAX,
        size => usize::try_from(size).expect("it is below 4 GiB"),
    };
    env.data.set_plain_elements(from);
    env.reply().ok();
    DONE
}
