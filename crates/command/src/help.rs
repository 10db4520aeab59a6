//! The replies to HELP subcommands.
//!
//! Owns: the frame around a container's text: first line, last two lines, status replies, all as in
//! Redis. Never: knows a text (each family has its own).

use resp::encode::Reply;

/// The reply to `<container> HELP`.
pub fn write(reply: &mut Reply<'_>, container: &str, lines: &[&str]) {
    reply.array(lines.len() + 3);
    reply.simple(&format!(
        "{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    ));
    for line in lines {
        reply.simple(line);
    }
    reply.simple("HELP");
    reply.simple("    Print this help.");
}
