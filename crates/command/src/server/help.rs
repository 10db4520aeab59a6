//! The HELP subcommands.
//!
//! Owns: the texts of HELP of every container of this family. The usage lines are Redis's; the
//! explanations are our own words. Never: decides anything, writes the frame around them.

pub const ACL: &[&str] = &[
    "CAT [<category>]",
    "    The categories of commands, or the commands of <category>.",
    "WHOAMI",
    "    The user of this connection.",
];

pub const CLIENT: &[&str] = &[
    "GETNAME",
    "    The name of this connection.",
    "ID",
    "    The id of this connection.",
    "INFO",
    "    What CLIENT LIST says about this connection.",
    "KILL <ip:port>",
    "    Close the connection that comes from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Close the connections that satisfy every option:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      It comes from this address.",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      It goes to this address.",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      It is of this type.",
    "    * USER <username>",
    "      It is authenticated as <username>.",
    "    * SKIPME (YES|NO)",
    "      YES (the default) spares this connection.",
    "    * ID <client-id>",
    "      It has this id.",
    "    * MAXAGE <maxage>",
    "      It has been open for <maxage> seconds or longer.",
    "LIST [options ...]",
    "    One line for each connection. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Only those of this type.",
    "    * ID <client-id> [<client-id> ...]",
    "      Only those with these ids.",
    "NO-EVICT (ON|OFF)",
    "    Exempt this connection from client eviction.",
    "NO-TOUCH (ON|OFF)",
    "    Let this connection's commands leave the keys' last use as it is.",
    "REPLY (ON|OFF|SKIP)",
    "    Whether this connection gets replies.",
    "SETINFO <option> <value>",
    "    Say which client library this is. Options:",
    "    * LIB-NAME: its name.",
    "    * LIB-VER: its version.",
    "SETNAME <name>",
    "    Name this connection.",
    "UNBLOCK <client-id> [TIMEOUT|ERROR]",
    "    End the blocking command of the connection with this id.",
];

pub const COMMAND: &[&str] = &[
    "(no subcommand)",
    "    Everything COMMAND INFO knows, for every command.",
    "COUNT",
    "    How many commands there are.",
    "DOCS [<command-name> ...]",
    "    Documentation of the named commands, or of all.",
    "GETKEYS <full-command>",
    "    The keys in a full command.",
    "GETKEYSANDFLAGS <full-command>",
    "    The keys in a full command, each with what happens to it.",
    "INFO [<command-name> ...]",
    "    Arity, flags, keys and categories of the named commands, or of all.",
    "LIST [FILTERBY (MODULE <module-name>|ACLCAT <category>|PATTERN <pattern>)]",
    "    The names of commands.",
];

pub const CONFIG: &[&str] = &[
    "GET <pattern> [<pattern> ...]",
    "    The directives that match a glob-like <pattern>, with their values.",
    "SET <directive> <value> [<directive> <value> ...]",
    "    Change directives, all of them or none.",
    "RESETSTAT",
    "    Set the statistics of INFO to zero.",
    "REWRITE",
    "    Write the running configuration into its file.",
];

pub const DEBUG: &[&str] = &[
    "DIGEST",
    "    A hex digest of all keys, values and expiries.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    A hex digest of the value of each <key>.",
    "DROP-CLUSTER-PACKET-FILTER <packet-type>",
    "    Drop packets of the cluster bus of this type as they come; -1: none.",
    "ERROR <string>",
    "    Answer with an error of this text.",
    "LOADAOF",
    "    Make the keyspace anew from the newest snapshot and the log behind it.",
    "LOG <message>",
    "    Write <message> to the server's log.",
    "OBJECT <key>",
    "    How the value of <key> is kept.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Create <count> strings named <prefix>:<number>, as logged writes.",
    "PROTOCOL <type>",
    "    Answer with a value of this type: string, integer, double, bignum, null,",
    "    array, set, map, attrib, push, verbatim, true, false.",
    "RELOAD [NOSAVE]",
    "    Make a snapshot (NOSAVE: none), then the keyspace anew from it and the log behind it.",
    "    What was in memory has to come of it, or the server ends.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Whether expired keys are removed before somebody asks for them.",
    "SLEEP <seconds>",
    "    Keep the server busy for <seconds>, which may be a fraction.",
];

pub const LATENCY: &[&str] = &[
    "HISTOGRAM [COMMAND ...]",
    "    How many calls of each <command>, or of all commands, took how long: a map from",
    "    microseconds to the calls that took no longer.",
];

pub const MEMORY: &[&str] = &[
    "USAGE <key> [SAMPLES <count>]",
    "    About how many bytes <key> and its value take.",
];

pub const OBJECT: &[&str] = &[
    "ENCODING <key>",
    "    The representation in which the value of <key> is kept.",
    "FREQ <key>",
    "    How often <key> is used, on a logarithmic scale.",
    "IDLETIME <key>",
    "    For how many seconds <key> has not been used.",
    "REFCOUNT <key>",
    "    How many references the value of <key> has.",
];
