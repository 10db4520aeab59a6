//! Clients that wait for keys (C6), where each turn has more to do than it has time for, and where the process stands still.

use server::Phase;

use super::bed::{silence, Bed};
use super::leader::reigning;
use super::T_MS;

const NOTHING: &str = "*-1\r\n";
/// Turns within which what is due must have been done.
const SOON: usize = 20;

/// The client waits for 5 ms, and after them.
fn waits(bed: &mut Bed) -> String {
    bed.turn("BLPOP l 0.005\r\n")
}

/// C6, T3: the process stands still between the end of a wait and the look at the lease, for longer than that lasts:
/// that there was nothing is told by nobody.
pub fn an_end_before_a_long_stop_is_not_answered() -> bool {
    let mut bed = reigning();
    assert_eq!(waits(&mut bed), "");
    let replies: String = (0..SOON).map(|_| bed.turn("")).collect();
    assert_eq!(replies, NOTHING);
    assert_eq!(waits(&mut bed), "");
    bed.set_answer(silence);
    bed.pass(10);
    let mut replies = bed.turn_stopped("", Some((Phase::Serve, 2 * T_MS)), |_| {});
    for _ in 0..SOON {
        replies += &bed.turn("");
    }
    !replies.contains(NOTHING)
}

/// C6: a client that waits hangs up in the turn in which there is an element for it: that stays.
pub fn an_element_is_left_by_a_client_that_hung_up() -> bool {
    const OTHER: u64 = 2;
    let mut bed = reigning();
    bed.connects(OTHER);
    bed.sends(OTHER, "BLPOP l 0\r\n");
    bed.turns(SOON);
    assert_eq!(bed.shard().data().awaited_keys(), 1);
    bed.hangs_up(OTHER);
    let pushed = bed.answers("RPUSH l x\r\n");
    pushed == ":1\r\n" && bed.answers("LLEN l\r\n") == ":1\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;
    use crate::platform::SimFolders;
    use std::ops::Range;
    use std::time::Duration;
    use storage::Folders;

    /// Another client, and those with it.
    const OTHER: u64 = 2;
    const OTHERS: Range<u64> = OTHER..42;
    /// Readings of the clock.
    const LOOKS: u32 = 100;

    /// The answers of turns of which each finds more writes than it can do.
    fn flooded(bed: &mut Bed, turns: usize) -> String {
        let value = "v".repeat(1024);
        let writes: String = (0..8).map(|n| format!("SET k{n} {value}\r\n")).collect();
        let mut replies = String::new();
        for _ in 0..turns {
            OTHERS.for_each(|conn| bed.sends(conn, &writes));
            replies += &bed.turn("");
        }
        replies
    }

    /// An array of bulk strings.
    fn request(words: &[&str]) -> String {
        let bulks = words
            .iter()
            .map(|word| format!("${}\r\n{word}\r\n", word.len()));
        format!("*{}\r\n{}", words.len(), bulks.collect::<String>())
    }

    fn patience(bed: &mut Bed) -> Duration {
        bed.turns(SOON);
        bed.pause.patience
    }

    #[test]
    fn a_long_stop_before_the_lease_test_holds_an_end() {
        assert!(an_end_before_a_long_stop_is_not_answered());
    }

    #[test]
    fn a_client_that_hung_up_takes_nothing() {
        assert!(an_element_is_left_by_a_client_that_hung_up());
    }

    #[test]
    fn a_wait_ends_in_time_under_full_load() {
        let mut bed = reigning();
        OTHERS.for_each(|conn| bed.connects(conn));
        assert_eq!(waits(&mut bed), "");
        let replies = flooded(&mut bed, SOON);
        assert!(replies.contains(NOTHING), "it is told within {SOON} turns");
    }

    #[test]
    fn a_server_that_has_ended_waits_rests() {
        let mut bed = reigning();
        OTHERS.for_each(|conn| bed.connects(conn));
        assert!(patience(&mut bed) > Duration::ZERO);
        assert_eq!(waits(&mut bed), "");
        flooded(&mut bed, SOON);
        // The writes that are left.
        bed.turns(20 * SOON);
        assert_eq!(bed.answers("LLEN l\r\n"), ":0\r\n", "no write is left");
        assert!(patience(&mut bed) > Duration::ZERO);
    }

    /// A key that changes and serves nobody takes time as well: SWAPDB changes all that are waited for, and is little to log.
    #[test]
    fn many_keys_that_serve_nobody_end_the_turn() {
        let mut bed = Bed::in_no_cluster(SimFolders(SimDisk::new(1 << 30)).own());
        bed.wins();
        let names: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
        let keys = names.iter().map(|name| &**name);
        let values = keys.clone().flat_map(|key| [key, "v"]);
        bed.turn("SELECT 1\r\n");
        bed.turn(&request(
            &["MSET"].into_iter().chain(values).collect::<Vec<_>>(),
        ));
        bed.turns(SOON);
        bed.connects(OTHER);
        let wait = ["BLPOP"].into_iter().chain(keys).chain(["0"]);
        bed.sends(OTHER, &request(&wait.collect::<Vec<_>>()));
        bed.turns(SOON);
        assert_eq!(bed.shard().data().awaited_keys(), names.len());
        // While they are looked at the clock is read more often than this, and not before.
        bed.stop_clock(LOOKS, 2);
        assert_eq!(bed.turn("SWAPDB 0 1\r\n"), "");
        assert!(bed.shard().data().has_ready(), "the turn ends in between");
        bed.turns(SOON);
        assert!(!bed.shard().data().has_ready(), "the next ones go on");
    }
}
