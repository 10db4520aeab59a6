//! nodes.conf against files that a real Redis 7.0.15 wrote, the form of 7.4, and damage.

use cluster_bus::nodes_conf::{parse, ConfError, FlagWords, Form, NodesConf};
use cluster_bus::wire::Flags;
use cluster_bus::NodeId;

const NODE_1: &str = "2bb5f5b12d7cc5b698e68bb4adc229da4dfab2e7";
const NODE_2: &str = "712679eeb2660e1e78ac73f40a66b5fc20e682b2";
const NODE_3: &str = "32a59f616a0ef5f34a7c799b48b0ba42a5864f24";
const VARS: &str = "vars currentEpoch 3 lastVoteEpoch 2\n";

fn id(text: &str) -> NodeId {
    text.parse().expect("an id")
}

fn read(text: &str) -> NodesConf {
    parse(text).unwrap_or_else(|e| panic!("{e}"))
}

/// The lines in the form of a reply are those that 7.0 wrote to its file.
fn as_7_0_writes_it(conf: &NodesConf) -> String {
    let lines = conf.nodes.iter().map(|n| n.line(Form::Reply) + "\n");
    let (epoch, vote) = (conf.current_epoch, conf.last_vote_epoch);
    lines.collect::<String>() + &format!("vars currentEpoch {epoch} lastVoteEpoch {vote}\n")
}

#[test]
fn files_of_redis_7_0() {
    let text = include_str!("golden/nodes-7.0-migrating.conf");
    let conf = read(text);
    assert_eq!(as_7_0_writes_it(&conf), text);
    assert_eq!(read(&conf.render()), conf);
    assert_eq!((conf.current_epoch, conf.last_vote_epoch), (20, 0));
    let myself = conf.myself().expect("one is myself");
    assert_eq!((myself.id, myself.port), (id(NODE_1), 27311));
    assert_eq!(myself.migrating, [(77, id(NODE_2))]);
    assert_eq!(myself.importing, [(5461, id(NODE_2))]);
    assert_eq!(conf.nodes[5].hostname, "host-2.example.com");
    assert_eq!(conf.nodes[2].master, NODE_3.parse().ok());

    let text = include_str!("golden/nodes-7.0-failed.conf");
    let conf = read(text);
    assert_eq!(as_7_0_writes_it(&conf), text);
    assert_eq!((conf.current_epoch, conf.last_vote_epoch), (21, 21));
    let failed = &conf.nodes[4];
    assert!(failed.flags.has(Flags::FAIL) && !failed.connected);
    assert_eq!(failed.ping_sent_ms, 1_795_246_299_711);
}

#[test]
fn the_example_is_a_file() {
    let conf = read(include_str!("../../nodes.conf.example"));
    assert_eq!(conf.nodes.len(), 4);
    assert_eq!(conf.current_epoch, 3);
    let slots: usize = conf.nodes.iter().map(|n| n.slots.len()).sum();
    assert_eq!(slots, 16384);
    assert_eq!(conf.nodes[3].shard, conf.nodes[0].shard);
    assert_eq!(read(&conf.render()), conf);
}

#[test]
fn the_form_of_7_4() {
    let aux = format!("h.example.com,tls-port=0,nodename=rack-1,shard-id={NODE_3}");
    let text =
        format!("{NODE_1} ::1:7000@17000,{aux} myself,master - 0 0 3 connected 0-9 11\n{VARS}");
    let conf = read(&text);
    assert_eq!(conf.render(), text);
    let node = &conf.nodes[0];
    assert_eq!(
        (node.ip.as_str(), node.port, node.cport),
        ("::1", 7000, 17000)
    );
    assert_eq!(node.hostname, "h.example.com");
    assert_eq!(node.human_nodename, "rack-1");
    assert_eq!(node.shard, NODE_3.parse().ok());
    assert_eq!(
        node.line(Form::Reply),
        format!("{NODE_1} ::1:7000@17000,h.example.com myself,master - 0 0 3 connected 0-9 11")
    );
    // A file of a TLS cluster: the address has the TLS port.
    let tls = text.replace("tls-port=0", "tcp-port=6000");
    let node = &read(&tls).nodes[0];
    assert_eq!((node.port, node.tls_port), (6000, 7000));
}

/// A Redis writes such a name as it is, and can't read the file afterwards.
#[test]
fn a_name_that_breaks_the_line_is_not_written() {
    let aux = format!(",tls-port=0,nodename=rack-1,shard-id={NODE_3}");
    let text =
        format!("{NODE_1} ::1:7000@17000,{aux} myself,master - 0 0 3 connected 0-9 11\n{VARS}");
    let written = read(&text);
    for name in ["rack 2", "rack,2", "a=b", "\"rack\"", "büro"] {
        let mut conf = written.clone();
        conf.nodes[0].human_nodename = name.to_owned();
        let again = read(&conf.render());
        assert_eq!(again.nodes[0].human_nodename, "", "{name}");
        conf.nodes[0].human_nodename.clear();
        assert_eq!(again, conf, "{name}");
    }
}

#[test]
fn what_a_first_start_and_old_files_have() {
    // As a Redis writes it when nobody has met it yet.
    let fresh = format!(
        "{NODE_1} :0@0 myself,master - 0 0 0 connected\nvars currentEpoch 0 lastVoteEpoch 0\n"
    );
    assert_eq!(as_7_0_writes_it(&read(&fresh)), fresh);
    let old = fresh.replace(":0@0", "10.0.0.1:7000") + "\n\n\n";
    assert_eq!(read(&old).nodes[0].cport, 17000);
    let behind = fresh.replace("0 0 0 connected", "0 0 9 connected");
    assert_eq!(read(&behind).current_epoch, 9);
}

#[test]
fn flags_in_words() {
    assert_eq!(FlagWords(Flags(0)).to_string(), "noflags");
    assert_eq!(FlagWords(Flags::EXTENSIONS).to_string(), "noflags");
    let all = "myself,master,slave,fail?,fail,handshake,noaddr,nofailover";
    assert_eq!(FlagWords(Flags(u16::MAX)).to_string(), all);
}

#[test]
fn damage_is_told_with_its_line() {
    let me = format!("{NODE_1} 127.0.0.1:7000@17000 myself,master - 0 0 3 connected 0-9\n");
    let other = |change: &str, to: &str| {
        let line = format!("{NODE_2} 127.0.0.1:7001@17001,h master - 0 0 2 connected 10-19\n");
        assert!(line.contains(change), "{change}");
        format!("{me}{}{VARS}", line.replacen(change, to, 1))
    };
    read(&other("10-19", "10-19 21"));
    for (text, line, part) in [
        ("".to_owned(), 1, "no node is myself"),
        (VARS.to_owned(), 1, "no node is myself"),
        (me.clone(), 1, "vars is missing"),
        (format!("{me}{VARS}{VARS}"), 3, "second line of vars"),
        (
            format!("{me}vars currentEpoch 3\n"),
            2,
            "lastVoteEpoch is missing",
        ),
        (format!("{me}vars currentEpoch\n"), 2, "no value"),
        (
            format!("{me}vars currentEpoch x lastVoteEpoch 1\n"),
            2,
            "not a number",
        ),
        (format!("{me}{}", VARS.trim_end()), 2, "cut off"),
        (other("master", "myself,master"), 2, "second node is myself"),
        (other(NODE_2, NODE_1), 2, "has a line already"),
        (other(NODE_2, "abc"), 2, "not an id"),
        (other("7001", "70010"), 2, "port"),
        (other("7001", "+701"), 2, "port"),
        (other(":7001", ""), 2, "has no port"),
        (other(",h", ",h,what=1"), 2, "not known"),
        (other(",h", ",h,shard-id=1"), 2, "not an id"),
        (other(",h", ",h,shard-id"), 2, "no value"),
        (other(",h", ",h_;"), 2, "hostname"),
        (other("master", "master,slave"), 2, "both"),
        (other("master", "boss"), 2, "flag"),
        (
            other("master -", &format!("master {NODE_1}")),
            2,
            "only a slave",
        ),
        (
            other(
                "master - 0 0 2 connected 10-19",
                &format!("slave {NODE_2} 0 0 2 connected"),
            ),
            2,
            "own master",
        ),
        (other("master", "slave"), 2, "a slave owns no slots"),
        (other("0 0 2", "0 x 2"), 2, "pong-received"),
        (other("0 0 2", "0 0 -2"), 2, "config-epoch"),
        (other("connected", "up"), 2, "link state"),
        (other(" connected 10-19", ""), 2, "7 fields"),
        (other("10-19", "10-16384"), 2, "out of range"),
        (other("10-19", "19-10"), 2, "backwards"),
        (other("10-19", "9-19"), 2, "slot 9 is owned twice"),
        (other("10-19", "a"), 2, "slot"),
        (other("10-19", &format!("[3->-{NODE_1}]")), 2, "myself only"),
        (other("10-19", "[3->-abc]"), 2, "not an id"),
        (other("10-19", "[3]"), 2, "no slot in motion"),
        (
            other("10-19", &format!("[3->-{NODE_1}")),
            2,
            "no slot in motion",
        ),
        (
            other("10-19", &format!("[3->-{NODE_1}] [3-<-{NODE_1}]")),
            2,
            "in motion twice",
        ),
        ("<html>\n".to_owned(), 1, "1 fields"),
    ] {
        let ConfError { line: at, what } = parse(&text).expect_err(&text);
        assert!(
            at == line && what.contains(part),
            "{part}: {at}: {what}\n{text}"
        );
    }
}
