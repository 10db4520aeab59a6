//! The harness itself.

use crate::harness::SOON;
use crate::member::{Appends, Manner, Member};
use crate::played::Played;
use crate::real::Stage;
use raft::eraftpb::Entry;
use std::time::Duration;

/// Its members vote, are fed, and are heard.
#[test]
fn played_members_make_a_group() {
    let Some(mut stage) = Stage::open("played_members_make_a_group") else {
        return;
    };
    let (real, a, b) = stage.led_by_real(&[]);
    real.node.ok(&["SET", "a", "v"]);
    let has = |p: &Played, text: &[u8]| {
        p.member(|m: &mut Member| {
            let data = |e: &Entry| e.data.windows(text.len()).any(|w| w == text);
            m.entries().iter().any(data)
        })
    };
    real.node.ok(&["SET", "key-of-mine", "v"]);
    assert!(has(&a, b"key-of-mine") || has(&b, b"key-of-mine"));
    // Without their answers nothing is promised any more.
    for p in [&a, &b] {
        p.set_manner(Manner {
            appends: Appends::None,
            ..Manner::GOOD
        });
    }
    let mut client = real.node.client();
    let wait = Some(Duration::from_millis(500));
    client.stream().set_read_timeout(wait).expect("an option");
    assert!(client.try_cmd(&["SET", "a", "w"]).is_err());
    for p in [&a, &b] {
        p.set_manner(Manner::GOOD);
    }
    client
        .stream()
        .set_read_timeout(Some(SOON))
        .expect("an option");
    assert!(client.receive().expect("a reply").is_ok());
}
