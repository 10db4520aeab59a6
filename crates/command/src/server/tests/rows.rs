//! The rows of the table against what Redis says of its own.

use super::*;

use crate::tests::golden::{self, TABLE};

/// A row as the fixture writes it.
fn row(command: &Command) -> String {
    use crate::spec::{Acl, CommandFlags};
    let spec = command.spec;
    let flags = CommandFlags::PRINTED
        .iter()
        .filter(|f| spec.flags.has(f.0))
        .map(|f| f.1);
    let acl = Acl::NAMES
        .iter()
        .filter(|a| spec.categories().has(a.0))
        .map(|a| a.1);
    let key_specs = spec.key_specs.iter().map(golden::key_spec);
    let (deprecated, replaced) = spec.deprecated.unwrap_or_default();
    let doc_flags = match (spec.deprecated, spec.name) {
        (Some(_), _) => "deprecated",
        (None, "debug" | "pfdebug" | "pfselftest" | "replconf" | "restore-asking") => "syscmd",
        (None, _) => "",
    };
    [
        spec.full_name.to_owned(),
        spec.arity.to_string(),
        flags.collect::<Vec<_>>().join(","),
        format!(
            "{},{},{}",
            spec.range.first, spec.range.last, spec.range.step
        ),
        acl.collect::<Vec<_>>().join(","),
        spec.tips.join(","),
        key_specs.collect::<Vec<_>>().join(";"),
        spec.group.name().to_owned(),
        spec.since.to_owned(),
        doc_flags.to_owned(),
        deprecated.to_owned(),
        replaced.to_owned(),
    ]
    .join("\t")
}

#[test]
fn rows_are_those_of_redis() {
    let redis = |name: &str| {
        TABLE
            .lines()
            .find(|line| line.split('\t').next() == Some(name))
            .unwrap_or("(none)")
    };
    let mut wrong = Vec::new();
    for command in table().all() {
        let (ours, theirs) = (row(command), redis(command.spec.full_name));
        let own = ["cluster|flushslot", "cluster|raft"].contains(&command.spec.full_name);
        if ours != theirs && !own {
            wrong.push(format!("redis: {theirs}\nours:  {ours}"));
        }
        if command.spec.summary.is_empty() {
            wrong.push(format!("{} has no summary", command.spec.full_name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where nothing is like Redis's reply, its shape is.
#[test]
fn docs_tell_what_clients_ask_for() {
    let mut c = Client::new();
    let docs = c.reply("COMMAND DOCS psetex ping nosuch");
    assert!(
        docs.starts_with("*4\\r\\n$6\\r\\npsetex\\r\\n*16\\r\\n$7\\r\\nsummary\\r\\n"),
        "{docs}"
    );
    assert!(docs.contains(
        "$9\\r\\ndoc_flags\\r\\n*1\\r\\n+deprecated\\r\\n$16\\r\\ndeprecated_since\\r\\n$6\\r\\n2.6.12\\r\\n\
         $11\\r\\nreplaced_by\\r\\n$28\\r\\n`SET` with the `PX` argument\\r\\n\
         $9\\r\\narguments\\r\\n*3\\r\\n"
    ));
    assert!(docs.contains("$5\\r\\ngroup\\r\\n$6\\r\\nstring\\r\\n$10\\r\\ncomplexity\\r\\n"));
    c.session.proto = resp::encode::Proto::Resp3;
    let docs = c.reply("COMMAND DOCS object");
    assert!(
        docs.starts_with("%1\\r\\n$6\\r\\nobject\\r\\n%5\\r\\n"),
        "{docs}"
    );
    assert!(
        docs.contains("$11\\r\\nsubcommands\\r\\n%5\\r\\n$15\\r\\nobject|encoding\\r\\n%5\\r\\n")
    );
    let count = table().commands().len();
    assert_eq!(c.reply("COMMAND COUNT"), format!(":{count}\\r\\n"));
    assert!(c
        .reply("COMMAND DOCS")
        .starts_with(&format!("%{count}\\r\\n")));
    assert!(c
        .reply("COMMAND")
        .starts_with(&format!("*{count}\\r\\n*10\\r\\n")));
    assert!(c
        .reply("COMMAND INFO")
        .starts_with(&format!("*{count}\\r\\n*10\\r\\n")));
    assert!(c.raw("COMMAND LIST").contains("\r\nclient|kill\r\n"));
    assert!(c
        .raw("COMMAND LIST FILTERBY ACLCAT connection")
        .contains("\r\nping\r\n"));
}

/// Byte for byte, as Redis 7.4's form has it: which fields, in which order, of which type.
#[test]
fn arguments_have_the_form_of_redis() {
    let mut c = Client::new();
    let arguments = |reply: String| {
        let (_, from) = reply
            .split_once("$9\\r\\narguments\\r\\n")
            .expect("arguments");
        from.replace("\\r\\n", " ")
    };
    assert_eq!(
        arguments(c.reply("COMMAND DOCS getset")),
        "*2 *8 $4 name $3 key $4 type $3 key $12 display_text $3 key $14 key_spec_index :0 \
         *6 $4 name $5 value $4 type $6 string $12 display_text $5 value "
    );
    assert_eq!(
        arguments(c.reply("COMMAND DOCS flushdb")),
        "*1 *8 $4 name $10 flush-type $4 type $5 oneof $5 flags *1 +optional $9 arguments *2 \
         *10 $4 name $5 async $4 type $10 pure-token $12 display_text $5 async $5 token $5 ASYNC \
         $5 since $5 4.0.0 \
         *10 $4 name $4 sync $4 type $10 pure-token $12 display_text $4 sync $5 token $4 SYNC \
         $5 since $5 6.2.0 "
    );
    c.session.proto = resp::encode::Proto::Resp3;
    assert_eq!(
        arguments(c.reply("COMMAND DOCS mset")),
        "*1 %4 $4 name $4 data $4 type $5 block $5 flags ~1 +multiple $9 arguments *2 \
         %4 $4 name $3 key $4 type $3 key $12 display_text $3 key $14 key_spec_index :0 \
         %3 $4 name $5 value $4 type $6 string $12 display_text $5 value "
    );
    let kill = arguments(c.reply("COMMAND DOCS client|kill"));
    assert!(
        kill.starts_with(
            "*1 %3 $4 name $6 filter $4 type $5 oneof $9 arguments *2 \
             %4 $4 name $10 old-format $4 type $6 string $12 display_text $7 ip:port \
             $16 deprecated_since $6 2.8.12 %4 $4 name $10 new-format $4 type $5 oneof \
             $5 flags ~1 +multiple $9 arguments *7 "
        ),
        "{kill}"
    );
}

#[test]
fn help_has_redis_frame() {
    let mut c = Client::new();
    for container in [
        "ACL", "CLIENT", "COMMAND", "CONFIG", "DEBUG", "LATENCY", "MEMORY", "OBJECT", "PUBSUB",
    ] {
        let text = c.raw(&format!("{container} help"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("*{}", lines.len() - 1));
        let first = "<subcommand> [<arg> [value] [opt] ...]. Subcommands are:";
        assert_eq!(lines[1], format!("+{container} {first}"));
        assert_eq!(lines[lines.len() - 2..], ["+HELP", "+    Print this help."]);
    }
}
