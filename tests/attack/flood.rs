//! More frames than a node can take, from strangers: clients are served meanwhile (T9).

use crate::member::{message, Member};
use crate::real::{base_of, played, Stage};
use crate::wire;
use base::ids::GroupId;
use cluster::control::{encode_envelope, Control};
use cluster_bus::NodeId;
use raft::eraftpb::MessageType;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// T9: a drain of the links is bounded. Small frames, as fast as three links carry them.
#[test]
fn flood_of_small_frames_starves_no_client() {
    let Some(mut stage) = Stage::open("flood_of_small_frames_starves_no_client") else {
        return;
    };
    let real = stage.alone(&[]);
    let inviter = played();
    let base = base_of(&[(&inviter, 7)], None, Duration::from_secs(1));
    let raft_id = real.raft_id();
    let mut beat = Member::new(&base, 7).envelope(raft_id, message(MessageType::MsgHeartbeat, 1));
    beat.group = GroupId(real.group());
    let frames = [
        encode_envelope(&beat),
        Control::Declined { group: GroupId(1) }.encode(),
        Control::Health {
            group: GroupId(1),
            ha: false,
        }
        .encode(),
    ];
    let stop = AtomicBool::new(false);
    let (mut sent, mut worst) = (0, Duration::ZERO);
    std::thread::scope(|scope| {
        let flood = |frame: &[u8]| {
            let from = NodeId(rand::random());
            let link = wire::call(real.bus_port(), 1, from, real.id, "");
            let (mut line, _) = link.expect("a stranger gets a link");
            let limit = line.set_write_timeout(Some(Duration::from_secs(20)));
            limit.expect("a socket option");
            let one = wire::framed(frame);
            let many = one.repeat((256 << 10) / one.len());
            let mut bytes = 0;
            while !stop.load(Ordering::SeqCst) && line.write_all(&many).is_ok() {
                bytes += many.len();
            }
            bytes / one.len()
        };
        let floods = frames.each_ref().map(|f| scope.spawn(move || flood(f)));
        let mut client = real.node.client();
        let limit = client
            .stream()
            .set_read_timeout(Some(Duration::from_secs(15)));
        limit.expect("a socket option");
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            let asked = Instant::now();
            let reply = client.try_cmd(&["GET", "a"]);
            worst = worst.max(asked.elapsed());
            if reply.is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5)); // between two questions
        }
        stop.store(true, Ordering::SeqCst);
        sent = floods
            .into_iter()
            .map(|f| f.join().expect("no panic"))
            .sum();
    });
    println!("{sent} frames, the slowest answer took {worst:?}");
    assert!(worst < Duration::from_secs(1), "an answer took {worst:?}");
}
