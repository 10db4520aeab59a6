//! The keyspace made anew, at a start and beside a member that lives (D2, T6, P20).

use super::log_end::{begin, fill, reopen, small, tell};
use super::trio::Trio;
use super::*;
use crate::testing::{config, Played, ME, OTHERS, T_MS};
use raft::eraftpb::{Message, MessageType};
use raft_group::testing::answer;
use storage::{Done, StorageError};

/// A member that has been started, and whose disk has done nothing yet.
fn started(folder: &std::path::Path, clock: &Hand) -> Shard<RealDisk> {
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    let config = small(SyncPolicy::Always);
    Shard::open(RealDisk::new(folder), config, clock.now(), &logger).expect("a shard opens")
}

/// A folder with so many writes in a state, and as many in the log behind it; the digest of all of them.
fn state_and_log(writes: usize) -> (tempfile::TempDir, Hand, [u8; 20]) {
    let (folder, clock, mut shard) = begin(SyncPolicy::Always);
    fill(&mut shard, &clock, writes);
    tell(folder.path(), &mut shard, &clock);
    fill(&mut shard, &clock, writes);
    let digest = shard.data().keyspace().digest_all();
    (folder, clock, digest)
}

const LOADING: Admission = Admission::Loading { leader: None };

#[test]
fn raft_waits_for_the_keys_of_a_start() {
    let (folder, clock, mut shard) = begin(SyncPolicy::Always);
    fill(&mut shard, &clock, 40);
    let digest = shard.data().keyspace().digest_all();
    drop(shard);

    let mut shard = started(folder.path(), &clock);
    let (applied, term) = (shard.group().applied(), shard.group().term());
    for _ in 0..5 {
        // The only voter would lead at once.
        shard.begin(clock.now()).expect("a turn begins");
        assert_eq!(shard.admission(), LOADING);
        shard.finish(&clock).expect("a turn ends");
        assert!(shard.deadline() > clock.now().mono, "nothing is due");
        assert!(shard.has_quorum(), "nobody can be missed yet");
        clock.0.set(clock.0.get() + 2_000_000_000);
    }
    assert_eq!(
        (shard.group().applied(), shard.group().term()),
        (applied, term)
    );
    assert_eq!(shard.data().keyspace().len(0), 0, "nothing is shown");
    settle(&mut shard, &clock);
    assert_eq!(shard.data().keyspace().digest_all(), digest);
    assert_eq!(shard.admission(), Admission::Lead { writable: true });
    assert_eq!(shard.load_progress(), None);
}

/// D2: what other members send meanwhile is not stepped.
#[test]
fn a_message_during_a_start_changes_nothing() {
    let mut played = Played::leading(ShardConfig {
        layout: Layout::Single { databases: 1 },
        ..config()
    });
    (0..20).for_each(|n| {
        played.set(b"k", &[n; 1000]);
    });
    played.beats(&OTHERS, 200);
    let mut played = played.restarted();
    let before = (played.shard.group().term(), played.shard.group().commit());
    assert_eq!(played.shard.admission(), LOADING);
    let mut message = Message {
        from: OTHERS[0],
        to: ME,
        term: before.0 + 1,
        commit: before.1,
        ..Message::default()
    };
    message.set_msg_type(MessageType::MsgHeartbeat);
    played.step(crate::testing::envelope(message.clone()));
    played.turn(|_| ());
    assert_eq!(played.shard.group().term(), before.0);
    assert!(played.sent.is_empty(), "it says nothing");
    load(&mut played);
    played.step(crate::testing::envelope(message));
    assert_eq!(played.shard.group().term(), before.0 + 1);
}

fn load(played: &mut Played) {
    while played.shard.is_loading() {
        played.work();
        played.turn(|_| ());
    }
}

/// D2, E2: a disk that gives it room and reads nothing. Others may have loaded as long: it waits its turn.
#[test]
fn member_that_loads_asks_for_no_votes() {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 200);
    let mut played = played.restarted();
    let term = played.shard.group().term();
    let reads = |job: &Job<RealDisk>| matches!(job, Job::Read(_) | Job::Slice(_));
    for _ in 0..100 {
        played.pass(T_MS / 10);
        played.turn(|_| ());
        played.work_but(reads);
    }
    assert!(played.shard.is_starting() && played.sent.is_empty());
    assert_eq!(played.shard.group().term(), term);
    load(&mut played);
    let asked = |played: &Played| {
        let kinds = played.sent.iter().map(|e| e.message.get_msg_type());
        kinds
            .filter(|kind| *kind == MessageType::MsgRequestPreVote)
            .count()
    };
    played.pass(T_MS * 29 / 100);
    played.turn(|_| ());
    assert_eq!(asked(&played), 0, "before its turn");
    played.pass(T_MS * 17 / 100);
    played.turn(|_| ());
    assert_eq!(asked(&played), OTHERS.len());
}

/// T8: the stored commit can lie within a large unit, the rest of which commits later.
#[test]
fn start_within_a_unit_keeps_its_parts() {
    let mut played = Played::leading(ShardConfig {
        layout: Layout::Single { databases: 1 },
        sizes: Sizes {
            part: 4 << 10,
            ..Sizes::default()
        },
        ..config()
    });
    let before = played.shard.group().applied();
    played.turn(|shard| {
        let data = shard.data_mut();
        data.begin_command(0, Access::Lead);
        for n in 0..8u8 {
            let key = data.key(b"k");
            data.set(&key, &[n; 2000], Ttl::Clear);
        }
        data.end_command();
    });
    played.beats(&[], 50);
    let last = played.shard.log().last_index();
    assert!(last > before + 2, "it has several parts");
    for commit in [before + 2, last] {
        played = played.restarted();
        load(&mut played);
        assert_eq!(played.shard.data().keyspace().len(0), 0);
        let mut message = Message {
            from: OTHERS[0],
            to: ME,
            term: played.shard.group().term() + 1,
            commit,
            ..Message::default()
        };
        message.set_msg_type(MessageType::MsgHeartbeat);
        played.step(crate::testing::envelope(message));
        played.beats(&[], 200);
        assert_eq!(played.shard.group().applied(), commit);
    }
    let (data, key) = (played.shard.data(), played.shard.data().key(b"k"));
    let entry = data.keyspace().get(0, &key).expect("the unit is whole");
    assert_eq!(
        entry.string().unwrap(),
        keyspace::StringRef::Bytes(&[7; 2000])
    );
}

/// F16 of the review: the record is known before the keys are, also where a large unit changes it.
#[test]
fn a_start_knows_its_record_before_its_keys() {
    let mut played = Played::leading(ShardConfig {
        sizes: Sizes {
            part: 4 << 10,
            ..Sizes::default()
        },
        ..config()
    });
    played.turn(|shard| {
        let data = shard.data_mut();
        data.begin_command(0, Access::Lead);
        data.add_slots(&(0..base::slot::SLOT_COUNT).collect());
        data.end_command();
    });
    played.beats(&OTHERS, 100);
    played.turn(|shard| {
        let data = shard.data_mut();
        data.begin_command(0, Access::Lead);
        for n in 0..8u8 {
            let key = data.key(b"k");
            data.set(&key, &[n; 2000], Ttl::Clear);
        }
        data.set_epoch(77, base::NodeId([7; 20]));
        data.end_command();
    });
    played.beats(&OTHERS, 200);
    let record = played.shard.record().clone();
    assert_eq!(record.epoch, 77);
    let mut played = played.restarted();
    assert!(played.shard.is_starting());
    assert_eq!(*played.shard.record(), record);
    load(&mut played);
    assert_eq!(*played.shard.record(), record);
}

/// D5: where no file can be opened for a read, it is made a second later.
#[test]
fn a_load_without_files_is_tried_again() {
    let (folder, clock, digest) = state_and_log(10);
    let mut shard = started(folder.path(), &clock);
    let full = || {
        let error = std::io::Error::from_raw_os_error(24); // EMFILE
        StorageError::io("open", "x")(error)
    };
    let mut refused = 0;
    while shard.is_loading() {
        shard.begin(clock.now()).expect("a turn begins");
        for job in shard.take_output().jobs {
            let failed = match job {
                Job::Slice(_) if refused < 2 => Done::Slice(Err(full())),
                Job::Read(_) if refused < 4 => Done::Read(Err(full())),
                job => {
                    work(&mut shard, &clock, vec![job]);
                    continue;
                }
            };
            refused += 1;
            let taken = shard.job_done(clock.now(), failed);
            taken.expect("it ends nothing");
            let why = shard.read_failure().expect("an operator hears of it");
            assert!(why.contains("os error 24"), "{why}");
            let due = shard.deadline();
            assert!(due > clock.now().mono, "not at once");
            clock.0.set(due.0);
        }
    }
    assert_eq!((refused, shard.read_failure()), (4, None));
    settle(&mut shard, &clock);
    assert_eq!(shard.data().keyspace().digest_all(), digest);
}

#[test]
fn progress_grows_to_its_total() {
    let (folder, clock, mut shard) = begin(SyncPolicy::Always);
    fill(&mut shard, &clock, 100);
    tell(folder.path(), &mut shard, &clock);
    fill(&mut shard, &clock, 600);
    drop(shard);
    let mut shard = started(folder.path(), &clock);
    let mut seen = Vec::new();
    while let Some(progress) = shard.load_progress() {
        assert!(progress.loaded_bytes <= progress.total_bytes);
        assert!(progress.file_bytes > 0);
        seen.push(progress.loaded_bytes);
        shard.begin(clock.now()).expect("a turn begins");
        let jobs = shard.take_output().jobs;
        work(&mut shard, &clock, jobs);
    }
    assert!(seen.is_sorted() && seen.len() > 3, "{seen:?}");
    assert_eq!(seen[0], 0);
}

/// T6 beside a base that names a state: the file, then the log behind it.
#[test]
fn a_lost_tail_is_made_anew_from_a_state() {
    let mut trio = Trio::led();
    let write = |t: &mut Trio, key: &'static [u8], value: &'static [u8]| {
        t.turn(0, Vec::new(), |shard| {
            set(shard, key, value);
        });
        t.until(|t| t.shards[0].tail_len() == 0);
    };
    write(&mut trio, b"in the state", b"1");
    trio.base_of_first();
    write(&mut trio, b"behind it", b"2");
    trio.lose_all_but(0, |shard| {
        set(shard, b"lost", b"3");
    });
    let digest = |i: usize| trio.shards[i].data().keyspace().digest_all();
    assert_eq!(trio.shards[0].data().keyspace().len(0), 2);
    assert_eq!(digest(0), digest(1));
    assert_eq!(trio.failed[0].len(), 1, "its reply became MOVED");
}

/// P8: the base that is looked at when the tail is lost may be another one before the first read is made.
#[test]
fn a_tail_lost_during_a_switch_is_made_anew() {
    let mut trio = Trio::led();
    let write = |t: &mut Trio, key: &'static [u8]| {
        t.turn(0, Vec::new(), |shard| {
            set(shard, key, b"1");
        });
        t.until(|t| t.shards[0].tail_len() == 0);
    };
    write(&mut trio, b"in the first state");
    trio.base_of_first();
    write(&mut trio, b"in the second");
    trio.hold_switches = true;
    trio.second_base_of_first();
    trio.lose_all_but_open(|shard| {
        set(shard, b"lost", b"3");
    });
    assert!(trio.shards[0].is_loading());
    let first = trio.shards[0].snapshot_meta().index;
    trio.hold_switches = false;
    trio.until(|t| !t.shards[0].is_loading());
    assert!(trio.shards[0].snapshot_meta().index > first, "it switched");
    let digest = |i: usize| trio.shards[i].data().keyspace().digest_all();
    assert_eq!(trio.shards[0].data().keyspace().len(0), 2);
    assert_eq!(digest(0), digest(1));
}

/// P20: the others know it, and G3 does not count it.
#[test]
pub(super) fn a_member_that_loads_says_so_and_is_not_counted() {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 1_500);
    let now = played.now();
    assert!(played.shard.is_ha(now));
    played.pass(crate::testing::T_MS / 10);
    played.turn(|_| ());
    for sent in std::mem::take(&mut played.sent) {
        if let Some(mut said) = answer(&sent) {
            said.loaded = said.from.0 != OTHERS[0];
            played.step(said);
        }
    }
    let now = played.now();
    assert!(!played.shard.is_ha(now), "one that loads is counted");
    played.beats(&OTHERS, 100);
    let now = played.now();
    assert!(played.shard.is_ha(now));
}

/// The member that lost its tail tells it with each of its messages until it has all keys again.
#[test]
pub(super) fn reads_wait_until_a_lost_tail_is_made_anew() {
    let mut trio = Trio::led();
    trio.turn(0, Vec::new(), |shard| {
        set(shard, b"kept", b"1");
    });
    trio.until(|t| t.shards[0].tail_len() == 0);
    trio.hold_reads = true;
    trio.lose_all_but_open(|shard| {
        set(shard, b"lost", b"2");
    });
    assert!(trio.shards[0].is_loading());
    assert!(!trio.shards[0].is_own_copy(), "an empty keyspace is shown");
    let leader = trio.shards[0].group().leader();
    assert!(leader.is_some_and(|id| id != RaftId(1)));
    let admission = trio.shards[0].admission();
    assert_eq!(admission, Admission::Loading { leader });
    let told = |e: &Envelope| e.from == RaftId(1) && !e.loaded;
    let mut said = false;
    trio.until_through(
        |e| {
            assert!(e.from != RaftId(1) || !e.loaded);
            true
        },
        |t| {
            said |= t.wires.iter().any(told);
            said
        },
    );
    trio.hold_reads = false;
    trio.until(|t| !t.shards[0].is_loading());
    assert!(trio.shards[0].is_own_copy());
    assert_eq!(trio.shards[0].data().keyspace().len(0), 1);
    trio.until(|t| t.wires.iter().any(|e| e.from == RaftId(1) && e.loaded));
}

/// A shard that is opened twice from one folder's bytes ends with the same keys.
#[test]
fn a_start_that_is_cut_short_begins_again() {
    let (folder, clock, digest) = state_and_log(100);
    for turns in 0..6 {
        let mut shard = started(folder.path(), &clock);
        for _ in 0..turns {
            shard.begin(clock.now()).expect("a turn begins");
            let jobs = shard.take_output().jobs;
            work(&mut shard, &clock, jobs);
        }
    }
    let shard = reopen(folder.path(), SyncPolicy::Always, &clock).expect("a shard opens");
    assert_eq!(shard.data().keyspace().digest_all(), digest);
}

/// T9: of its clients' commands one is a large unit. `reload`: beside a Raft that lives; else at a start.
fn breaths_of_load(is_reload: bool) -> usize {
    let (folder, clock, mut shard) = begin(SyncPolicy::Always);
    settle(&mut shard, &clock);
    shard.begin(clock.now()).expect("a turn begins");
    let data = shard.data_mut();
    data.begin_command(0, Access::Lead);
    for n in 0..20_000u32 {
        let bytes = n.to_le_bytes();
        let key = data.key(&bytes);
        data.set(&key, b"v", Ttl::Clear);
    }
    data.end_command();
    shard.finish(&clock).expect("a turn ends");
    settle(&mut shard, &clock);
    if is_reload {
        assert!(shard.reload(clock.now(), &mut |_| false));
    } else {
        drop(shard);
        shard = started(folder.path(), &clock);
    }
    let mut breaths = 0;
    while shard.is_loading() {
        shard.begin(clock.now()).expect("a turn begins");
        for job in shard.take_output().jobs {
            let breath = &mut |_: &mut raft_group::Group| {
                breaths += 1;
                false
            };
            if let Some(done) = job.run() {
                let taken = shard.job_done_with(clock.now(), done, breath);
                taken.expect("a job is taken in");
            }
        }
    }
    breaths
}

#[test]
fn load_breathes_beside_a_living_raft_only() {
    assert!(breaths_of_load(true) >= 15);
    assert_eq!(breaths_of_load(false), 0, "D2");
}

/// DEBUG RELOAD: `reload`, then turns until the keyspace is whole.
fn reload(shard: &mut Shard<RealDisk>, clock: &Hand) -> usize {
    settle(shard, clock);
    let mut breaths = 0;
    let breath = &mut |_: &mut raft_group::Group| {
        breaths += 1;
        false
    };
    assert!(shard.reload(clock.now(), breath));
    while shard.is_loading() {
        assert_eq!(shard.admission(), LOADING);
        shard.begin(clock.now()).expect("a turn begins");
        let jobs = shard.take_output().jobs;
        work(shard, clock, jobs);
    }
    settle(shard, clock);
    breaths
}

#[test]
fn a_reload_ends_with_the_same_keys() {
    for in_state in [0, 40] {
        let (folder, clock, mut shard) = begin(SyncPolicy::Always);
        if in_state > 0 {
            fill(&mut shard, &clock, in_state);
            tell(folder.path(), &mut shard, &clock);
        }
        for behind in [0, 40] {
            fill(&mut shard, &clock, behind);
            let digest = shard.data().keyspace().digest_all();
            let applied = shard.group().applied();
            reload(&mut shard, &clock);
            assert_eq!(shard.data().keyspace().digest_all(), digest);
            assert_eq!(shard.group().applied(), applied, "nothing is logged");
            assert_eq!(shard.admission(), Admission::Lead { writable: true });
        }
    }
}

/// T7: what is executed and not committed is not in the log for sure.
#[test]
fn a_reload_waits_for_the_open_tail() {
    let (_folder, clock, mut shard) = begin(SyncPolicy::Always);
    settle(&mut shard, &clock);
    shard.begin(clock.now()).expect("a turn begins");
    set(&mut shard, b"k", b"v");
    assert!(
        !shard.reload(clock.now(), &mut |_| false),
        "not even proposed"
    );
    shard.finish(&clock).expect("a turn ends");
    assert!(!shard.reload(clock.now(), &mut |_| false), "not committed");
    let jobs = shard.take_output().jobs;
    work(&mut shard, &clock, jobs);
    reload(&mut shard, &clock);
    assert_eq!(shard.data().keyspace().len(0), 1);
}

/// Memory has lost a key that base and log have.
#[test]
fn a_reload_that_differs_ends_the_process() {
    let (_folder, clock, mut shard) = begin(SyncPolicy::Always);
    fill(&mut shard, &clock, 3);
    let key = shard.data().key(b"key 1");
    assert!(shard.data.keyspace_mut().remove(0, &key));
    assert!(shard.reload(clock.now(), &mut |_| false));
    let ended = loop {
        if let Err(error) = shard.begin(clock.now()) {
            break error;
        }
        assert!(shard.is_loading(), "it was taken for the same");
        let jobs = shard.take_output().jobs;
        work(&mut shard, &clock, jobs);
    };
    assert!(matches!(ended, ShardError::Reload { what: "keys", .. }));
}

/// What is committed meanwhile is read back, and not compared.
#[test]
fn a_follower_reloads_while_others_write() {
    let mut trio = Trio::led();
    let write = |t: &mut Trio, value: &'static [u8]| {
        t.turn(0, Vec::new(), |shard| {
            set(shard, b"key", value);
        });
    };
    write(&mut trio, b"before");
    trio.until(|t| t.shards[1].data().keyspace().len(0) == 1);
    trio.hold_reads = true;
    let now = trio.clock.now();
    assert!(trio.shards[1].reload(now, &mut |_| false));
    write(&mut trio, b"meanwhile");
    trio.until(|t| {
        t.shards[0].tail_len() == 0 && t.shards[1].group().commit() == t.shards[0].group().commit()
    });
    assert!(trio.shards[1].is_loading());
    trio.hold_reads = false;
    trio.until(|t| !t.shards[1].is_loading());
    let ends = |t: &Trio, i: usize| t.shards[i].data().keyspace().digest_all();
    trio.until(|t| t.shards[1].group().applied() == t.shards[0].group().applied());
    assert_eq!(ends(&trio, 0), ends(&trio, 1));
}

/// P20: the shard goes on under a member that has its keys.
#[test]
fn a_leader_that_reloads_hands_over() {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 300);
    let now = played.now();
    assert!(played.shard.reload(now, &mut |_| false));
    played.turn(|_| ());
    let is_order = |e: &Envelope| e.message.get_msg_type() == MessageType::MsgTimeoutNow;
    assert!(played.sent.iter().any(is_order));
    load(&mut played);
    assert!(played.shard.data().keyspace().len(0) == 0 && !played.shard.is_loading());
}
