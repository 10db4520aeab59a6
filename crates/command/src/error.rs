//! Every text that a client can see as an error, in one place.
//!
//! Owns: [`Error`] (a finished error line without the leading `-`) and its constructors. Texts are
//! Redis 7.4's, byte for byte: clients match on them. Never: decides when an error is due.

use base::NodeId;
use std::borrow::Cow;

/// An error reply. The text starts with its code (`ERR`, `WRONGTYPE`, ...).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Cow<'static, [u8]>);

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl Error { $($(#[$doc])* pub const $name: Error = Error(Cow::Borrowed($text.as_bytes()));)* }
    };
}

texts! {
    SYNTAX = "ERR syntax error";
    WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value";
    NO_SUCH_KEY = "ERR no such key";
    NOVALUES_OF_HSCAN = "ERR NOVALUES option can only be used in HSCAN";
    NOT_AN_INTEGER = "ERR value is not an integer or out of range";
    NOT_AN_INT32 = "ERR value is out of range, value must between -2147483648 and 2147483647";
    HASH_NOT_AN_INTEGER = "ERR hash value is not an integer";
    HASH_NOT_A_FLOAT = "ERR hash value is not a float";
    NAN_OR_INF = "ERR value is NaN or Infinity";
    OUT_OF_RANGE = "ERR value is out of range";
    FIELDS_MISSING = "ERR Mandatory argument FIELDS is missing or not at the right position";
    FIELDS_NOT_ABOVE_ZERO = "ERR Parameter `numFields` should be greater than 0";
    FIELDS_NOT_POSITIVE = "ERR Number of fields must be a positive integer";
    FIELDS_MISMATCH = "ERR The `numfields` parameter must match the number of arguments";
    FIELD_EXPIRY_NEGATIVE = "ERR invalid expire time, must be >= 0";
    NOT_A_FLOAT = "ERR value is not a valid float";
    NOT_AN_INTEGER_TIMEOUT = "ERR timeout is not an integer or out of range";
    NOT_A_FLOAT_TIMEOUT = "ERR timeout is not a float or out of range";
    NEGATIVE_TIMEOUT = "ERR timeout is negative";
    OVERFLOW = "ERR increment or decrement would overflow";
    DECR_OVERFLOW = "ERR decrement would overflow";
    FLOAT_NAN_OR_INF = "ERR increment would produce NaN or Infinity";
    OFFSET_OUT_OF_RANGE = "ERR offset is out of range";
    STRING_TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    INVALID_CURSOR = "ERR invalid cursor";
    DB_OUT_OF_RANGE = "ERR DB index is out of range";
    INVALID_DB = "ERR invalid DB index";
    SELECT_IN_CLUSTER = "ERR SELECT is not allowed in cluster mode";
    NX_AND_XX_GT_LT = "ERR NX and XX, GT or LT options at the same time are not compatible";
    GT_AND_LT = "ERR GT and LT options at the same time are not compatible";
    NO_AUTH = "NOAUTH Authentication required.";
    NO_MULTI = "ERR Command not allowed inside a transaction";
    NESTED_MULTI = "ERR MULTI calls can not be nested";
    EXEC_WITHOUT_MULTI = "ERR EXEC without MULTI";
    DISCARD_WITHOUT_MULTI = "ERR DISCARD without MULTI";
    WATCH_IN_MULTI = "ERR WATCH inside MULTI is not allowed";
    EXEC_ABORT = "EXECABORT Transaction discarded because of previous errors.";
    CROSS_SLOT = "CROSSSLOT Keys in request don't hash to the same slot";
    CLUSTER_DOWN = "CLUSTERDOWN The cluster is down";
    /// C4: this node leads no longer.
    UNBLOCKED = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
    UNBLOCKED_BY_CLIENT = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
    CLUSTER_READS_ONLY = "CLUSTERDOWN The cluster is down and only accepts read commands";
    SLOT_NOT_SERVED = "CLUSTERDOWN Hash slot not served";
    READ_ONLY_REPLICA = "READONLY You can't write against a read only replica.";
    LOADING = "LOADING Redis is loading the dataset in memory";
    /// D5: the log can get no more space.
    DISK_FULL = "MISCONF Errors writing to the AOF file: No space left on device";
    MAX_CLIENTS = "ERR max number of clients reached";
    /// To a client from another machine, when nothing protects the data.
    PROTECTED_MODE = "DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to connect from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host the server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If you started the server manually just for testing, restart it with the '--protected-mode no' option. 4) Set up an authentication password for the default user. NOTE: You only need to do one of the above things in order for the server to start accepting connections from the outside.";
    BUSY_KEY = "BUSYKEY Target key name already exists.";
    NEGATIVE_IDLETIME = "ERR Invalid IDLETIME value, must be >= 0";
    FREQ_OUT_OF_RANGE = "ERR Invalid FREQ value, must be >= 0 and <= 255";
    NEGATIVE_TTL = "ERR Invalid TTL value, must be >= 0";
    DUMP_FOOTER = "ERR DUMP payload version or checksum are wrong";
    DUMP_VALUE = "ERR Bad data format";
    NUMKEYS_NOT_POSITIVE = "ERR numkeys should be greater than 0";
    SORT_NUMBERS = "ERR One or more scores can't be converted into double";
    SORT_BY_IN_CLUSTER = "ERR BY option of SORT denied in Cluster mode when keys formed by the pattern may be in different slots.";
    SORT_GET_IN_CLUSTER = "ERR GET option of SORT denied in Cluster mode when keys formed by the pattern may be in different slots.";
    COUNT_NOT_POSITIVE = "ERR count should be greater than 0";
    COUNT_NEGATIVE = "ERR COUNT can't be negative";
    MAXLEN_NEGATIVE = "ERR MAXLEN can't be negative";
    RANK_ZERO = "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list";
    INDEX_OUT_OF_RANGE = "ERR index out of range";
    NUMKEYS_TOO_MANY = "ERR Number of keys can't be greater than number of args";
    NEGATIVE_LIMIT = "ERR LIMIT can't be negative";
    BIT_OFFSET = "ERR bit offset is not an integer or out of range";
    BIT_VALUE = "ERR bit is not an integer or out of range";
    BITPOS_BIT = "ERR The bit argument must be 1 or 0.";
    BITOP_NOT = "ERR BITOP NOT must be called with a single source key.";
    BITFIELD_OVERFLOW = "ERR Invalid OVERFLOW type specified";
    BITFIELD_TYPE = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";
    BITFIELD_RO = "ERR BITFIELD_RO only supports the GET subcommand";
    HLL_INVALID = "WRONGTYPE Key is not a valid HyperLogLog string value.";
    HLL_CORRUPT = "INVALIDOBJ Corrupted HLL object detected";
    HLL_NO_KEY = "ERR The specified key does not exist";
    HLL_NOT_SPARSE = "ERR HLL encoding is not sparse";
    NO_LIBRARY = "ERR Library not found";
    NO_LIBRARY_NAME = "ERR library name argument was not given";
    FUNCTION_FLUSH = "ERR FUNCTION FLUSH only supports SYNC|ASYNC option";
    RESTORE_POLICY = "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.";
    NO_SCRIPT_RUNS = "NOTBUSY No scripts in execution right now.";
    NOT_A_FUNCTION = "ERR given type is not a function";
    OLD_FUNCTIONS = "ERR Pre-GA function format not supported";
    /// Ours.
    NO_FUNCTIONS_YET = "ERR the payload has libraries, and Holdfast does not run functions yet: nothing was restored";
    SAME_OBJECT = "ERR source and destination objects are the same";
    COPY_IN_CLUSTER = "ERR Copying to another database is not allowed in cluster mode";
    MOVE_IN_CLUSTER = "ERR MOVE is not allowed in cluster mode";
    SWAPDB_IN_CLUSTER = "ERR SWAPDB is not allowed in cluster mode";
    FIRST_DB = "ERR invalid first DB index";
    SECOND_DB = "ERR invalid second DB index";
    XX_AND_NX = "ERR XX and NX options at the same time are not compatible";
    GT_LT_AND_NX = "ERR GT, LT, and/or NX options at the same time are not compatible";
    INCR_OF_ONE_PAIR = "ERR INCR option supports a single increment-element pair";
    SCORE_NAN = "ERR resulting score is not a number (NaN)";
    BOUND_NOT_A_FLOAT = "ERR min or max is not a float";
    BOUND_NOT_A_STRING = "ERR min or max not valid string range item";
    LIMIT_OF_RANKS = "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
    WITHSCORES_BYLEX = "ERR syntax error, WITHSCORES not supported in combination with BYLEX";
    WEIGHT_NOT_A_FLOAT = "ERR weight value is not a float";
    GEO_UNIT = "ERR unsupported unit provided. please use M, KM, FT, MI";
    GEO_RADIUS = "ERR need numeric radius";
    GEO_NEGATIVE_RADIUS = "ERR radius cannot be negative";
    GEO_WIDTH = "ERR need numeric width";
    GEO_HEIGHT = "ERR need numeric height";
    GEO_NEGATIVE_BOX = "ERR height or width cannot be negative";
    GEO_NO_MEMBER = "ERR could not decode requested zset member";
    GEO_COUNT = "ERR COUNT must be > 0";
    GEO_ANY = "ERR the ANY argument requires COUNT argument";
    GEO_STORES = "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
    GEORADIUS_STORES = "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
    LCS_NOT_STRINGS = "ERR The specified keys must contain string values";
    LCS_LEN_AND_IDX =
        "ERR If you want both the length and indexes, please just use IDX.";
    LCS_MEMORY = "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
}

impl Error {
    /// An error with a text of its own; starts with the code.
    pub const fn fixed(text: &'static str) -> Error {
        Error(Cow::Borrowed(text.as_bytes()))
    }

    pub fn text(text: impl Into<String>) -> Error {
        Error(Cow::Owned(text.into().into_bytes()))
    }

    /// A text that quotes a client's bytes, which need not be UTF-8.
    pub fn bytes(text: Vec<u8>) -> Error {
        Error(Cow::Owned(text))
    }

    pub fn unknown_command(name: &[u8], args: &mut dyn Iterator<Item = &[u8]>) -> Error {
        let mut preview = Vec::new();
        for arg in args {
            if preview.len() >= PREVIEW_BYTES {
                break;
            }
            let room = PREVIEW_BYTES - preview.len();
            preview.push(b'\'');
            preview.extend_from_slice(c_prefix(arg, room));
            preview.extend_from_slice(b"' ");
        }
        let mut text = b"ERR unknown command '".to_vec();
        text.extend_from_slice(c_prefix(name, PREVIEW_BYTES));
        text.extend_from_slice(b"', with args beginning with: ");
        text.extend_from_slice(&preview);
        Error::bytes(text)
    }

    /// What a subscribed RESP2 client may not do.
    pub fn only_listening(full_name: &str) -> Error {
        Error::text(format!(
            "ERR Can't execute '{full_name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
             RESET are allowed in this context"
        ))
    }

    pub fn unknown_subcommand(container: &str, name: &[u8]) -> Error {
        let mut text = b"ERR unknown subcommand '".to_vec();
        text.extend_from_slice(c_prefix(name, PREVIEW_BYTES));
        text.extend_from_slice(b"'. Try ");
        text.extend_from_slice(container.to_ascii_uppercase().as_bytes());
        text.extend_from_slice(b" HELP.");
        Error::bytes(text)
    }

    pub fn wrong_arity(full_name: &str) -> Error {
        Error::text(format!(
            "ERR wrong number of arguments for '{full_name}' command"
        ))
    }

    pub fn not_on_earth(longitude: f64, latitude: f64) -> Error {
        Error::text(format!(
            "ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}"
        ))
    }

    /// Of the command as the client has written it.
    pub fn needs_one_of(options: &str, command: &[u8]) -> Error {
        let before = format!("ERR exactly one of {options} can be specified for ");
        Error::quoting(&before, command, "")
    }

    pub fn no_input_key(full_name: &str) -> Error {
        Error::text(format!(
            "ERR at least 1 input key is needed for '{full_name}' command"
        ))
    }

    pub fn invalid_expire(full_name: &str) -> Error {
        Error::text(format!("ERR invalid expire time in '{full_name}' command"))
    }

    pub fn unsupported_option(option: &[u8]) -> Error {
        let mut text = b"ERR Unsupported option ".to_vec();
        text.extend_from_slice(c_prefix(option, usize::MAX));
        Error::bytes(text)
    }

    /// An integer that has to lie between two others.
    pub fn out_of_range(least: i64, most: i64) -> Error {
        Error::text(format!(
            "ERR value is out of range, value must between {least} and {most}"
        ))
    }

    /// What replaces the reply of a command that did not happen (T6): where to ask instead, or that
    /// nobody serves the slot now.
    pub fn not_done(slot: Option<u16>, addr: Option<&str>) -> Error {
        match addr {
            Some(addr) => Error::moved(slot.unwrap_or(0), addr),
            None => Error::CLUSTER_DOWN,
        }
    }

    pub fn moved(slot: u16, addr: &str) -> Error {
        Error::text(format!("MOVED {slot} {addr}"))
    }

    pub fn ask(slot: u16, addr: &str) -> Error {
        Error::text(format!("ASK {slot} {addr}"))
    }

    /// EXEC that was itself refused: the transaction is gone, and this is why.
    pub fn exec_aborted(cause: &Error) -> Error {
        let cause = cause.as_bytes();
        let cause = cause.strip_prefix(b"ERR ").unwrap_or(cause);
        let mut text = b"EXECABORT Transaction discarded because of: ".to_vec();
        text.extend_from_slice(cause);
        Error::bytes(text)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The first word, as INFO's errorstats counts it.
    pub fn code(&self) -> &[u8] {
        code_of(&self.0)
    }

    /// Writes the error line. Line breaks inside the text become spaces, as a reply is one line.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'-');
        let line_break = |b: &u8| matches!(b, b'\r' | b'\n');
        if self.0.iter().any(line_break) {
            out.extend(self.0.iter().map(|b| if line_break(b) { b' ' } else { *b }));
        } else {
            out.extend_from_slice(&self.0);
        }
        out.extend_from_slice(b"\r\n");
    }
}

// Connection and server commands.
texts! {
    SSUBSCRIBE_DENIED = "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client";
    AUTH_WITHOUT_PASSWORD = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";
    WRONG_PASS = "WRONGPASS invalid username-password pair or user is disabled.";
    PROTOCOL_NOT_AN_INTEGER = "ERR Protocol version is not an integer or out of range";
    NO_PROTO = "NOPROTO unsupported protocol version";
    HELLO_NO_AUTH = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";
    CLIENT_NAME = "ERR Client names cannot contain spaces, newlines or special characters.";
    UNBLOCK_REASON = "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";
    INVALID_CLIENT_ID = "ERR Invalid client ID";
    CLIENT_ID_RANGE = "ERR client-id should be greater than 0";
    MAX_AGE_NOT_AN_INTEGER = "ERR maxage is not an integer or out of range";
    MAX_AGE_RANGE = "ERR maxage should be greater than 0";
    NO_SUCH_CLIENT = "ERR No such client";
    WAIT_ON_REPLICA = "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.";
    WAITAOF_ON_REPLICA = "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and are not propagated.";
    TIMEOUT_OUT_OF_RANGE = "ERR timeout is out of range";
    NO_SHUTDOWN = "ERR No shutdown in progress.";
    SHUTDOWN_FAILED = "ERR Errors trying to SHUTDOWN. Check logs.";
    /// Redis says no more when a save has failed; the log says why.
    NOT_SAVED = "ERR";
    SAVE_UNDER_WAY = "ERR Background save already in progress";
    CANT_BGSAVE = "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.";
    /// Redis's text, though two of the three are refused here.
    RELOAD_OPTIONS = "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.";
    RELOAD_ADDS_NOTHING = "ERR DEBUG RELOAD MERGE and NOFLUSH are not supported: base and log hold the whole keyspace";
    RELOAD_IN_EXEC = "ERR the keyspace can't be reloaded within a transaction";
    RELOAD_UNDER_WAY = "ERR the keyspace is being reloaded already";
    /// This node has another shard now; Redis's text for a load that fails.
    NOT_RELOADED = "ERR Error trying to load the RDB dump, check server logs";
    REWRITE_UNDER_WAY = "ERR Background append only file rewriting already in progress";
    DEBUG_NOT_ALLOWED = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.";
    SYNC_WITHOUT_MASTER = "NOMASTERLINK Can't SYNC while not connected with my master";
    /// Ours (P26).
    SYNC_AGAIN = "NOMASTERLINK Can't SYNC while the copy of less than a minute ago is fresh: no commands are streamed to replicas";
    SYNC_BEHIND_OUTPUT = "ERR SYNC and PSYNC are invalid with pending output";
    /// The snapshot came to nothing.
    SYNC_FAILED = "ERR BGSAVE failed, replication can't continue";
    PSYNC_FAILOVER_AT_MASTER = "ERR PSYNC FAILOVER can't be sent to a master.";
    PSYNC_FAILOVER_HISTORY = "ERR PSYNC FAILOVER replid must match my replid.";
    FILTER_NEEDS_EOF = "ERR Filtered replica requires EOF capability";
    FILTER_QUOTES = "ERR Missing rdb-filter-only values";
    NOT_POSITIVE = "ERR value is out of range, must be positive";
    NOT_A_LISTPACK = "ERR Not a listpack encoded object.";
    PACKED_THRESHOLD = "ERR argument must be a memory value bigger than 1 and smaller than 4gb";
    PROTOCOL_TYPE = "ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false";
    RESP2_NOT_SUPPORTED = "ERR RESP2 is not supported by this command";
    IDLETIME_NEEDS_LRU = "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.";
    FREQ_NEEDS_LFU = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.";
    NOT_PURGED = "ERR Error purging dirty pages";
    GETKEYS_NO_COMMAND = "ERR Invalid command specified";
    GETKEYS_NO_KEYS = "ERR The command has no key arguments";
    GETKEYS_ARITY = "ERR Invalid number of arguments specified for command";
    GETKEYS_ARGUMENTS = "ERR Invalid arguments specified for command";
}

impl Error {
    /// `before`, what the client gave, `after`.
    fn quoting(before: &str, given: &[u8], after: &str) -> Error {
        let mut text = before.as_bytes().to_vec();
        text.extend_from_slice(c_prefix(given, usize::MAX));
        text.extend_from_slice(after.as_bytes());
        Error::bytes(text)
    }

    pub fn unknown_pfdebug(name: &[u8]) -> Error {
        Error::quoting("ERR Unknown PFDEBUG subcommand '", name, "'")
    }

    pub fn unknown_argument(word: &[u8]) -> Error {
        Error::quoting("ERR Unknown argument ", word, "")
    }

    pub fn hello_option(option: &[u8]) -> Error {
        Error::quoting("ERR Syntax error in HELLO option '", option, "'")
    }

    pub fn replconf_unknown(name: &[u8]) -> Error {
        Error::quoting("ERR Unrecognized REPLCONF option: ", name, "")
    }

    pub fn unknown_filter(name: &[u8]) -> Error {
        Error::quoting("ERR Unsupported rdb-filter-only option: ", name, "")
    }

    pub fn replica_address_too_long(bytes: usize) -> Error {
        Error::text(format!(
            "ERR REPLCONF ip-address provided by replica instance is too long: {bytes} bytes"
        ))
    }

    pub fn not_between(least: i64, most: i64) -> Error {
        Error::text(format!(
            "ERR value is out of range, value must between {least} and {most}"
        ))
    }

    pub fn client_type(name: &[u8]) -> Error {
        Error::quoting("ERR Unknown client type '", name, "'")
    }

    pub fn no_such_user(name: &[u8]) -> Error {
        Error::quoting("ERR No such user '", name, "'")
    }

    pub fn client_attribute_unknown(name: &[u8]) -> Error {
        Error::quoting("ERR Unrecognized option '", name, "'")
    }

    pub fn client_attribute_value(name: &[u8]) -> Error {
        let after = " cannot contain spaces, newlines or special characters.";
        Error::quoting("ERR ", name, after)
    }

    pub fn acl_category(name: &[u8]) -> Error {
        Error::quoting("ERR Unknown category '", name, "'")
    }

    /// Of commands that tell their subcommands apart themselves. `container` in upper case.
    pub fn unknown_subcommand_or_arity(container: &str, name: &[u8]) -> Error {
        let name = &name[..name.len().min(PREVIEW_BYTES)];
        let after = format!("'. Try {container} HELP.");
        Error::quoting(
            "ERR unknown subcommand or wrong number of arguments for '",
            name,
            &after,
        )
    }
}

// The cluster.
texts! {
    CLUSTER_DISABLED = "ERR This instance has cluster support disabled";
    NODE_NOT_A_MASTER = "ERR The specified node is not a master";
    INVALID_SLOT = "ERR Invalid slot";
    INVALID_SLOT_OR_COUNT = "ERR Invalid slot or number of keys";
    SLOT_OUT_OF_RANGE = "ERR Invalid or out of range slot";
    FORGET_MYSELF = "ERR I tried hard but I can't forget myself...";
    FORGET_MASTER = "ERR Can't forget my master!";
    REPLICATE_MYSELF = "ERR Can't replicate myself";
    REPLICATE_REPLICA = "ERR I can only replicate a master, not a replica.";
    REPLICATE_NOT_EMPTY = "ERR To set a master the node must be empty and without assigned slots.";
    FAILOVER_ON_MASTER = "ERR You should send CLUSTER FAILOVER to a replica";
    FAILOVER_NO_MASTER = "ERR I'm a replica but my master is unknown to me";
    FAILOVER_MASTER_DOWN = "ERR Master is down or failed, please use CLUSTER FAILOVER FORCE";
    RESET_NOT_EMPTY = "ERR CLUSTER RESET can't be called with master nodes containing keys";
    FLUSHSLOTS_NOT_EMPTY = "ERR DB must be empty to perform CLUSTER FLUSHSLOTS.";
    CONFIG_EPOCH_NOT_ALONE = "ERR The user can assign a config epoch only when the node does not know any other node.";
    CONFIG_EPOCH_NOT_ZERO = "ERR Node config epoch is already non-zero";
    MIGRATE_KEYS = "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string";
    MIGRATE_CONNECTING = "IOERR error or timeout connecting to the client";
    MIGRATE_WRITING = "IOERR error or timeout writing to target instance";
    MIGRATE_TIMEOUT = "IOERR error or timeout reading to target instance";
    /// Ours (M11).
    SHARD_LIVES = "ERR Nodes of the other shard can be reached: SETSLOT STABLE is enough";
    /// Ours (M9).
    NOT_UPGRADED = "ERR slots can't move before every node of both shards is upgraded";
    /// Ours (M9).
    TYPES_NOT_UPGRADED = "ERR this type can't be written before every node of the shard is upgraded";
    /// Ours (M18).
    HAND_OVER_TIMEOUT = "ERR No answer from the slot's owner";
    TRYAGAIN = "TRYAGAIN Multiple keys request during rehashing of slot";
    SETSLOT_TARGET = "ERR Target node is not a master";
    SETSLOT_IN_MULTI = "ERR Command not allowed inside a transaction";
    SETSLOT_ON_REPLICA = "ERR Please use SETSLOT only with masters.";
    SETSLOT_ACTION = "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP";
}

impl Error {
    pub fn unknown_node(id: &[u8]) -> Error {
        Error::quoting("ERR Unknown node ", id, "")
    }

    /// `which`: base or bus.
    pub fn invalid_port(which: &str, given: &[u8]) -> Error {
        Error::quoting(&format!("ERR Invalid {which} port specified: "), given, "")
    }

    pub fn invalid_node_address(ip: &[u8], port: &[u8]) -> Error {
        let mut error = Error::quoting("ERR Invalid node address specified: ", ip, ":");
        let text = error.0.to_mut();
        text.extend_from_slice(c_prefix(port, usize::MAX));
        error
    }

    pub fn not_owner(slot: u16) -> Error {
        Error::text(format!("ERR I'm not the owner of hash slot {slot}"))
    }

    pub fn already_owner(slot: u16) -> Error {
        Error::text(format!("ERR I'm already the owner of hash slot {slot}"))
    }

    /// SETSLOT of a node that this one does not know.
    pub fn stranger(id: &[u8]) -> Error {
        Error::quoting("ERR I don't know about node ", id, "")
    }

    pub fn slot_holds_keys(slot: u16) -> Error {
        Error::text(format!(
            "ERR Can't assign hashslot {slot} to a different node while I still hold keys for this hash slot."
        ))
    }

    /// Ours (M8).
    pub fn slot_still_open(slot: u16, node: NodeId) -> Error {
        Error::text(format!("ERR slot {slot} is still open to {node}"))
    }

    /// Ours (M8).
    pub fn slot_to_itself(slot: u16) -> Error {
        Error::text(format!("ERR slot {slot} can't move from a shard to itself"))
    }

    /// Ours (M22).
    pub fn slot_unclean(slot: u16) -> Error {
        Error::text(format!("ERR slot {slot} has keys of an earlier ownership"))
    }

    /// Ours (M12).
    pub fn slot_migrating(slot: u16) -> Error {
        Error::text(format!("ERR slot {slot} is migrating"))
    }

    /// Ours (M24).
    pub fn not_migrating_there(slot: u16) -> Error {
        Error::text(format!("ERR slot {slot} is not migrating to that node"))
    }

    /// MIGRATE's target has refused.
    pub fn target_error(text: &[u8]) -> Error {
        let text = String::from_utf8_lossy(text).into_owned();
        Error::text(format!("ERR Target instance replied with error: {text}"))
    }

    pub fn slot_busy(slot: u16) -> Error {
        Error::text(format!("ERR Slot {slot} is already busy"))
    }

    pub fn owner_unknown() -> Error {
        Error::text("ERR No answer from another shard about these slots".to_owned())
    }

    pub fn slot_not_departed(slot: u16) -> Error {
        Error::text(format!(
            "ERR Slot {slot} is not on its way to another shard"
        ))
    }

    pub fn slot_unassigned(slot: u16) -> Error {
        Error::text(format!("ERR Slot {slot} is already unassigned"))
    }

    pub fn slot_repeated(slot: u16) -> Error {
        Error::text(format!("ERR Slot {slot} specified multiple times"))
    }

    pub fn slot_range_backwards(first: u16, last: u16) -> Error {
        Error::text(format!(
            "ERR start slot number {first} is greater than end slot number {last}"
        ))
    }

    pub fn invalid_config_epoch(epoch: i64) -> Error {
        Error::text(format!("ERR Invalid config epoch specified: {epoch}"))
    }

    /// Ours (M13). `node`: one of the other shard.
    pub fn slots_moving(node: &str) -> Error {
        Error::text(format!(
            "ERR Slots are moving between this shard and {node}"
        ))
    }

    /// SAVECONFIG that failed; `why` as the system says it.
    pub fn save_config(why: &str) -> Error {
        Error::text(format!("ERR error saving the cluster node config: {why}"))
    }
}

/// How much of a client's bytes an error text quotes.
const PREVIEW_BYTES: usize = 128;

/// The first word of an error line.
pub fn code_of(line: &[u8]) -> &[u8] {
    line.split(|b| *b == b' ').next().unwrap_or(line)
}

/// At most `max` bytes, and none from the first zero byte on: error texts are printed as C strings.
fn c_prefix(bytes: &[u8], max: usize) -> &[u8] {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len()).min(max);
    &bytes[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(e: &Error) -> String {
        let mut out = Vec::new();
        e.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_unknown_command_quotes_128_bytes_of_its_arguments() {
        let e = Error::unknown_command(b"foo", &mut [&b"bar"[..], b"b\nz"].into_iter());
        assert_eq!(
            line(&e),
            "-ERR unknown command 'foo', with args beginning with: 'bar' 'b z' \r\n"
        );
        let long = [b'x'; 200];
        let e = Error::unknown_command(&long, &mut [&long[..100], &long[..100]].into_iter());
        let x = |n| "x".repeat(n);
        assert_eq!(
            line(&e),
            format!(
                "-ERR unknown command '{}', with args beginning with: '{}' '{}' \r\n",
                x(128),
                x(100),
                x(25)
            )
        );
    }

    #[test]
    fn an_aborted_exec_names_its_cause_without_the_generic_code() {
        assert_eq!(
            line(&Error::exec_aborted(&Error::SYNTAX)),
            "-EXECABORT Transaction discarded because of: syntax error\r\n"
        );
        assert_eq!(Error::NO_AUTH.code(), b"NOAUTH");
    }
}
