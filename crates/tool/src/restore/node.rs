//! A node by its client port: commands and what they answer.
//!
//! Owns one connection, and what of CLUSTER NODES, CLUSTER INFO and INFO is a fact for [`form`](super::form). The password is
//! that of redis-cli: the variable `REDISCLI_AUTH`. Never decides.

use base::SlotSet;
use std::collections::BTreeSet;
use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A node that hangs is one that can't be reached.
const TIMEOUT: Duration = Duration::from_secs(10);
/// No answer that is wanted is longer.
const ANSWER_MAX: usize = 64 << 20;

/// What a node says of itself and of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub id: String,
    /// Its address, as numbers.
    pub ip: String,
    pub port: u16,
    pub loading: bool,
    /// The node that it replicates; none: it is a master.
    pub master: Option<String>,
    pub slots: SlotSet,
    /// All nodes that it knows, but those in a handshake and itself.
    pub others: BTreeSet<String>,
    pub keys: u64,
    pub epoch: u64,
    pub state_ok: bool,
    pub link_up: bool,
}

pub struct Node {
    address: String,
    resolved: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Node {
    pub fn connect(address: &str) -> Result<Node, String> {
        let failed = |why: io::Error| format!("{address} can't be reached: {why}");
        let resolved = address.to_socket_addrs().map_err(failed)?.next();
        let resolved = resolved.ok_or_else(|| format!("{address} is no address"))?;
        let stream = TcpStream::connect_timeout(&resolved, TIMEOUT).map_err(failed)?;
        stream.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
        stream.set_write_timeout(Some(TIMEOUT)).map_err(failed)?;
        let mut node = Node {
            address: address.to_owned(),
            resolved,
            stream: BufReader::new(stream),
        };
        if let Ok(password) = env::var("REDISCLI_AUTH") {
            let told = node.call(&["AUTH".to_owned(), password])?;
            told.map_err(|why| format!("{address}: {why}"))?;
        }
        Ok(node)
    }

    /// What it answers, or its error; the outer error is one of the connection.
    pub fn call(&mut self, command: &[String]) -> Result<Result<String, String>, String> {
        let answered =
            send(self.stream.get_mut(), command).and_then(|()| receive(&mut self.stream));
        answered.map_err(|why| format!("{} gives no answer: {why}", self.address))
    }

    /// An answer that must be one.
    fn ask(&mut self, command: &str) -> Result<String, String> {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        let answer = self.call(&words)?;
        answer.map_err(|why| format!("{}: {command}: {why}", self.address))
    }

    pub fn look(&mut self) -> Result<Facts, String> {
        let info = self.ask("INFO everything")?;
        let mut facts = Facts {
            ip: self.resolved.ip().to_string(),
            port: self.resolved.port(),
            loading: field(&info, "loading") == Some("1"),
            link_up: field(&info, "master_link_status") == Some("up"),
            ..Facts::default()
        };
        if field(&info, "cluster_enabled") != Some("1") {
            return Err(format!(
                "{} is started without cluster-enabled yes",
                self.address
            ));
        }
        if facts.loading {
            return Ok(facts);
        }
        facts.keys = number(&self.ask("DBSIZE")?)?;
        let about = self.ask("CLUSTER INFO")?;
        facts.state_ok = field(&about, "cluster_state") == Some("ok");
        facts.epoch = number(field(&about, "cluster_my_epoch").unwrap_or("0"))?;
        let nodes = self.ask("CLUSTER NODES")?;
        table(&nodes, &mut facts)
            .ok_or_else(|| format!("{}: CLUSTER NODES can't be read", self.address))?;
        Ok(facts)
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("'{text}' is no number"))
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    info.lines().find_map(value).map(str::trim_end)
}

/// What CLUSTER NODES says.
fn table(nodes: &str, facts: &mut Facts) -> Option<()> {
    for line in nodes.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (id, flags, master) = (*words.first()?, *words.get(2)?, *words.get(3)?);
        let flags: Vec<&str> = flags.split(',').collect();
        if !flags.contains(&"myself") {
            if !flags.contains(&"handshake") {
                facts.others.insert(id.to_owned());
            }
            continue;
        }
        facts.id = id.to_owned();
        facts.master = (master != "-").then(|| master.to_owned());
        for range in words.iter().skip(8).filter(|word| !word.starts_with('[')) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
            facts.slots.unite(&(first..=last).collect());
        }
    }
    (!facts.id.is_empty()).then_some(())
}

fn send(stream: &mut TcpStream, command: &[String]) -> io::Result<()> {
    let mut out = format!("*{}\r\n", command.len());
    for word in command {
        out += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(out.as_bytes())
}

fn receive(stream: &mut impl BufRead) -> io::Result<Result<String, String>> {
    let strange = |what: &str| io::Error::other(format!("it is no Redis: {what}"));
    let mut line = Vec::new();
    stream
        .by_ref()
        .take(64 << 10)
        .read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = String::from_utf8_lossy(&line).trim_end().to_owned();
    let (kind, rest) = line
        .split_at_checked(1)
        .ok_or_else(|| strange("an empty line"))?;
    match kind {
        "+" | ":" => Ok(Ok(rest.to_owned())),
        "-" => Ok(Err(rest.to_owned())),
        "$" => {
            let length: usize = rest.parse().map_err(|_| strange("a length"))?;
            if length > ANSWER_MAX {
                return Err(strange("a length"));
            }
            let mut text = vec![0; length + 2];
            stream.read_exact(&mut text)?;
            text.truncate(length);
            Ok(Ok(String::from_utf8_lossy(&text).into_owned()))
        }
        _ => Err(strange(&line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_nodes_becomes_facts() {
        let nodes = "\
aa 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5 7 [9->-bb]
bb 127.0.0.1:7001@17001 master - 0 1 2 connected 8-16383
cc 127.0.0.1:7002@17002 handshake - 0 1 2 connected
";
        let mut facts = Facts::default();
        table(nodes, &mut facts).unwrap();
        let slots: SlotSet = (0..=5).chain([7]).collect();
        assert_eq!((facts.id.as_str(), facts.slots), ("aa", slots));
        assert_eq!(
            (facts.master, facts.others),
            (None, BTreeSet::from(["bb".to_owned()]))
        );
        let mut facts = Facts::default();
        table("aa :0@0 myself,slave bb 0 0 1 connected\n", &mut facts).unwrap();
        assert_eq!(facts.master.as_deref(), Some("bb"));
        assert_eq!(table("aa\n", &mut Facts::default()), None);
        assert_eq!(table("", &mut Facts::default()), None);
    }

    #[test]
    fn answers_are_read_whole() {
        let read = |mut bytes: &[u8]| receive(&mut bytes);
        assert_eq!(read(b"+OK\r\n").unwrap(), Ok("OK".to_owned()));
        assert_eq!(read(b":7\r\n").unwrap(), Ok("7".to_owned()));
        assert_eq!(read(b"-ERR no\r\n").unwrap(), Err("ERR no".to_owned()));
        assert_eq!(read(b"$3\r\na\nb\r\n").unwrap(), Ok("a\nb".to_owned()));
        for bytes in [
            &b""[..],
            b"\r\n",
            b"$3\r\na",
            b"$x\r\n",
            b"$99999999999\r\n",
            b"HTTP/1.1 400\r\n",
        ] {
            read(bytes).unwrap_err();
        }
    }
}
