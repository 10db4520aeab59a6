//! Owns which texts may stand in a node's address, hostname and human nodename. Never resolves
//! any of them. Invariant: an address, a hostname and a nodename that [`fits_a_line`] can be written
//! into nodes.conf and the reply of CLUSTER NODES as they are: no space, comma, equals sign or
//! control character.

/// Longest address on the wire; one byte of the field ends it.
pub const IP_BYTES_MAX: usize = 45;
/// Longest hostname, as Redis announces it.
pub const HOSTNAME_BYTES_MAX: usize = 255;

/// An address as nodes announce it: IPv4, IPv6 (with a zone), or a name used as one. May be empty:
/// not known yet.
pub fn is_ip_text(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b".:-_%".contains(&b);
    text.len() <= IP_BYTES_MAX && text.bytes().all(fits)
}

/// A hostname: letters, digits, `-` and `.`. May be empty: none is announced.
pub fn is_hostname(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    text.len() <= HOSTNAME_BYTES_MAX && text.bytes().all(fits)
}

/// A human nodename: what Redis lets stand in an auxiliary field, less control characters. May be
/// empty: none is announced.
pub fn is_human_nodename(text: &str) -> bool {
    let fits = |c: char| !c.is_control() && !"!#$%&()*+;<>?@[]^{|}~".contains(c);
    text.chars().all(fits)
}

/// Whether a human nodename leaves the line of nodes.conf whole that it is written to. Redis writes
/// others too (`rack 2`), and can't read the file at its next start.
pub fn fits_a_line(nodename: &str) -> bool {
    let fits = |b: u8| b.is_ascii_graphic() && !b",=\"'\\".contains(&b);
    is_human_nodename(nodename) && nodename.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_break_a_line() {
        assert!(is_ip_text("") && is_ip_text("10.0.0.1") && is_ip_text("fe80::1%eth0"));
        assert!(is_hostname("") && is_hostname("a-1.example.com"));
        assert!(fits_a_line("") && fits_a_line("node_1/rack:2"));
        for bad in ["a b", "a,b", "a=b", "a\nb", "a\"b", "\u{e9}", "a\0"] {
            assert!(!is_ip_text(bad) && !is_hostname(bad), "{bad:?}");
            assert!(!fits_a_line(bad), "{bad:?}");
        }
        for good in ["a b", "a,b", "a=b", "\u{e9}"] {
            assert!(is_human_nodename(good), "{good:?}");
        }
        for bad in ["a\nb", "a\0", "a#b", "<a>"] {
            assert!(!is_human_nodename(bad) && !fits_a_line(bad), "{bad:?}");
        }
        assert!(!is_ip_text(&"1".repeat(46)) && !is_hostname(&"a".repeat(256)));
    }
}
