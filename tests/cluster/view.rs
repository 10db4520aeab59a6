//! CLUSTER NODES as data. It knows the format only as Redis documents it.

/// One line of CLUSTER NODES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub id: String,
    pub port: u16,
    pub cport: u16,
    pub flags: Vec<String>,
    pub master: Option<String>,
    pub epoch: u64,
    pub connected: bool,
    pub slots: Vec<(u16, u16)>,
}

impl Line {
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }

    /// What every node must say alike about this one: not who is asked, not the link's state.
    pub fn claim(&self) -> Claim {
        let flags = self.flags.iter().filter(|f| *f != "myself");
        Claim {
            id: self.id.clone(),
            port: self.port,
            flags: flags.cloned().collect(),
            master: self.master.clone(),
            slots: self.slots.clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    pub id: String,
    pub port: u16,
    pub flags: Vec<String>,
    pub master: Option<String>,
    pub slots: Vec<(u16, u16)>,
}

pub fn parse(text: &str) -> Vec<Line> {
    text.lines()
        .filter(|l| !l.trim().is_empty())
        .map(|l| parse_line(l).unwrap_or_else(|| panic!("not a line of CLUSTER NODES: {l:?}")))
        .collect()
}

fn parse_line(line: &str) -> Option<Line> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [id, address, flags, master, _ping, _pong, epoch, link, slots @ ..] = words.as_slice()
    else {
        return None;
    };
    let (host_port, rest) = address.split_once('@')?;
    let cport = rest.split(',').next()?;
    let slots = slots.iter().filter(|s| !s.starts_with('['));
    Some(Line {
        id: (*id).into(),
        port: host_port.rsplit_once(':')?.1.parse().ok()?,
        cport: cport.parse().ok()?,
        flags: flags.split(',').map(String::from).collect(),
        master: (*master != "-").then(|| (*master).into()),
        epoch: epoch.parse().ok()?,
        connected: *link == "connected",
        slots: slots.map(|s| parse_range(s)).collect::<Option<Vec<_>>>()?,
    })
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let (a, b) = text.split_once('-').unwrap_or((text, text));
    Some((a.parse().ok()?, b.parse().ok()?))
}

/// The slot of a key, with its hash tag.
pub fn slot_of(key: &str) -> u16 {
    let bytes = key.as_bytes();
    let tag = bytes.iter().position(|b| *b == b'{').and_then(|open| {
        let len = bytes[open + 1..].iter().position(|b| *b == b'}')?;
        (len > 0).then(|| &bytes[open + 1..open + 1 + len])
    });
    crc16::State::<crc16::XMODEM>::calculate(tag.unwrap_or(bytes)) % 16384
}

/// A short hash tag whose slot one of these ranges holds.
pub fn tag_in(ranges: &[(u16, u16)], salt: usize) -> String {
    (0..)
        .map(|n| format!("t{salt}x{n}"))
        .find(|tag| {
            let slot = slot_of(tag);
            ranges.iter().any(|(a, b)| (*a..=*b).contains(&slot))
        })
        .expect("some tag falls into every range that is not tiny")
}
