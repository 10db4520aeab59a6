//! kill -9 while slots move under load, among our shards and from and to a real Redis: no acknowledged write
//! is lost or doubled, and what is left open is mended as a person would, with `redis-cli --cluster fix`.

use crate::common::resp::Value;
use crate::harness::{check, report, rounds, seed, try_redis_cli, wait_for, Cluster, Shard, SOON};
use crate::load::Load;
use crate::node::Node;
use crate::view::slot_of;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::io;
use std::time::Duration;

/// What redis-cli does to move a slot, until something refuses or breaks.
fn move_slot(source: &Node, target: &Node, others: &[&Node], slot: u16) -> Result<(), String> {
    let name = slot.to_string();
    let (from, to) = (id(source)?, id(target)?);
    said(target.try_cmd(&["CLUSTER", "SETSLOT", &name, "IMPORTING", &from]))?;
    said(source.try_cmd(&["CLUSTER", "SETSLOT", &name, "MIGRATING", &to]))?;
    let port = target.port.to_string();
    loop {
        let keys = source.try_cmd(&["CLUSTER", "GETKEYSINSLOT", &name, "20"]);
        let keys = keys.map_err(|e| e.to_string())?;
        let Value::Array(keys) = keys else {
            return Err(format!("{keys:?}"));
        };
        if keys.is_empty() {
            break;
        }
        let keys: Vec<String> = keys.iter().map(Value::text).collect();
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "2000", "KEYS"];
        words.extend(keys.iter().map(String::as_str));
        said(source.try_cmd(&words))?;
    }
    for node in [target, source].iter().chain(others) {
        said(node.try_cmd(&["CLUSTER", "SETSLOT", &name, "NODE", &to]))?;
    }
    Ok(())
}

fn id(node: &Node) -> Result<String, String> {
    let id = node.try_cmd(&["CLUSTER", "MYID"]);
    id.map(|id| id.text()).map_err(|e| e.to_string())
}

fn said(reply: io::Result<Value>) -> Result<(), String> {
    match reply {
        Ok(reply) if reply.is_error() => Err(reply.text()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Until `check` finds nothing, as often as `fix` is needed. Copies that an interrupted MIGRATE of a Redis has left
/// at the target are replaced by what the slot's owner has.
fn mend(cluster: &Cluster) {
    let address = format!("127.0.0.1:{}", cluster.nodes[0].port);
    wait_for("fix mends every slot", SOON * 2, || {
        let (fine, found) = try_redis_cli(&["--cluster", "check", &address]);
        if fine && !found.contains("[WARNING]") && !found.contains("[ERR]") {
            return Ok(());
        }
        let (_, fixed) = try_redis_cli(&["--cluster", "fix", &address, "--cluster-replace"]);
        println!("{found}\n{fixed}"); // the last words alone would not tell what came first
        Err(format!("{found}\n{fixed}"))
    });
}

/// Every key is at one master, which has its slot.
fn each_key_once(cluster: &Cluster) {
    let mut at: HashMap<String, u16> = HashMap::new();
    for shard in cluster.shards() {
        let node = &cluster.nodes[shard.master];
        let Value::Array(keys) = node.cmd(&["KEYS", "*"]) else {
            panic!("KEYS lists keys");
        };
        for key in keys.iter().map(Value::text) {
            let slot = slot_of(&key);
            let owned = shard.slots.iter().any(|(a, b)| (*a..=*b).contains(&slot));
            assert!(owned, "{key} is at {}, which has not its slot", node.port);
            if let Some(other) = at.insert(key.clone(), node.port) {
                panic!("{key} is at {other} and at {}", node.port);
            }
        }
    }
}

/// What has become of the moves.
#[derive(Default)]
struct Moves {
    whole: usize,
    broken: usize,
    from_redis: usize,
    to_redis: usize,
}

/// One slot moves, and a node is killed somewhere in the move.
struct Round {
    slot: u16,
    source: usize,
    target: usize,
    victim: usize,
    after: Duration,
}

impl Round {
    fn run(&self, n: usize, cluster: &mut Cluster, moves: &mut Moves) {
        let (from, to) = (&cluster.nodes[self.source], &cluster.nodes[self.target]);
        let masters = cluster.shards().into_iter().map(|s| s.master);
        let third = masters.filter(|m| ![self.source, self.target].contains(m));
        let third: Vec<&Node> = third.map(|m| &cluster.nodes[m]).collect();
        let moved = std::thread::scope(|scope| {
            let moving = scope.spawn(|| move_slot(from, to, &third, self.slot));
            std::thread::sleep(self.after); // it may be killed anywhere in the move: that is the test
            cluster.nodes[self.victim].signal(libc::SIGKILL);
            moving.join().expect("the operator does not panic")
        });
        println!("round {n}: slot {}, {:?}: {moved:?}", self.slot, self.after);
        match moved {
            Ok(()) => moves.whole += 1,
            Err(_) => moves.broken += 1,
        }
        cluster.nodes[self.victim].kill9();
        cluster.nodes[self.victim].start();
        mend(cluster);
    }
}

fn owner(shards: &[Shard], slot: u16) -> usize {
    let has = |s: &&Shard| s.slots.iter().any(|(a, b)| (*a..=*b).contains(&slot));
    let owner = shards.iter().find(has);
    owner.expect("every slot has an owner").master
}

/// Everything that was acknowledged is there once, and these nodes know of no move; how many writes that were.
fn all_is_whole(cluster: &Cluster, load: Load, ours: &[usize]) -> u64 {
    cluster.wait_well();
    load.wait_acks_everywhere(10);
    let writes = load.verify();
    each_key_once(cluster);
    wait_for("nothing is left of a move", SOON, || {
        let left = ours.iter().find_map(|node| {
            let info = cluster.nodes[*node].cmd(&["INFO", "cluster"]).text();
            let fields = [
                "slots_migrating",
                "slots_importing",
                "open_lends",
                "leftover_keys",
            ];
            let clean = fields
                .iter()
                .all(|field| info.contains(&format!("cluster_{field}:0\r\n")));
            (!clean).then_some(info)
        });
        check(left.is_none(), || left.unwrap_or_default())
    });
    writes
}

/// From the masters and the source of a move, its target and the victim.
type Choose = fn(&mut StdRng, &[usize], usize) -> (usize, usize);

/// The slots that move are those that are written to, so they become larger and larger: after so many rounds
/// another cluster goes on.
const OF_ONE_CLUSTER: usize = 15;

/// Rounds under load. `ours`: the nodes that are no Redis.
fn play(make: fn() -> Cluster, ours: &[usize], what: &str, choose: Choose) {
    let mut rng = StdRng::seed_from_u64(seed());
    let (mut moves, mut writes) = (Moves::default(), 0);
    let mut left = rounds(3);
    while left > 0 {
        let some = left.min(OF_ONE_CLUSTER);
        left -= some;
        writes += play_some(make(), ours, (&mut rng, choose), some, &mut moves);
    }
    let Moves { whole, broken, .. } = moves;
    let ends = match (moves.from_redis, moves.to_redis) {
        (0, 0) => String::new(),
        (from, to) => format!(" ({from} from the Redis, {to} to it)"),
    };
    let text = format!(
        "{} moves{ends}, each with a kill: {whole} whole, {broken} broken off and mended (seed {}); {writes} \
         acknowledged writes, none lost or doubled",
        whole + broken,
        seed()
    );
    report(what, &text);
}

/// Rounds of one cluster; how many writes were acknowledged.
fn play_some(
    mut cluster: Cluster,
    ours: &[usize],
    (rng, choose): (&mut StdRng, Choose),
    count: usize,
    moves: &mut Moves,
) -> u64 {
    let load = Load::start(&cluster, &cluster.shards(), 2);
    let slots: Vec<u16> = load.tags().iter().map(|tag| slot_of(tag)).collect();
    for n in 0..count {
        cluster.wait_well();
        load.wait_acks_everywhere(10);
        let slot = pick(rng, &slots);
        let shards = cluster.shards();
        let source = owner(&shards, slot);
        let masters: Vec<usize> = shards.iter().map(|s| s.master).collect();
        let (target, victim) = choose(rng, &masters, source);
        moves.from_redis += usize::from(!ours.contains(&source));
        moves.to_redis += usize::from(!ours.contains(&target));
        let round = Round {
            slot,
            source,
            target,
            victim,
            after: Duration::from_micros(rng.gen_range(0..60_000)),
        };
        round.run(n, &mut cluster, moves);
    }
    all_is_whole(&cluster, load, ours)
}

fn pick<T: Copy>(rng: &mut StdRng, of: &[T]) -> T {
    of[rng.gen_range(0..of.len())]
}

fn without(masters: &[usize], one: usize) -> Vec<usize> {
    masters.iter().copied().filter(|m| *m != one).collect()
}

#[test]
fn kills_while_slots_move_lose_nothing() {
    const ALL: [usize; 6] = [0, 1, 2, 3, 4, 5];
    let what = "kill -9 while a slot moves";
    let formed = || Cluster::formed(3, 1);
    play(formed, &ALL, what, |rng, masters, source| {
        let target = pick(rng, &without(masters, source));
        let victim = match rng.gen_range(0..5) {
            0 | 1 => source,
            2 | 3 => target,
            _ => pick(rng, &ALL),
        };
        (target, victim)
    });
}

/// Two shards of ours with a replica each, and one master of a real Redis: the last node.
fn with_redis() -> Cluster {
    let mut cluster = Cluster::bare(4);
    let redis = cluster.add_redis();
    let masters = [0, 1, redis];
    for (n, index) in masters.iter().enumerate() {
        let (from, to) = (n * 16384 / 3, (n + 1) * 16384 / 3 - 1);
        let (from, to) = (from.to_string(), to.to_string());
        let node = &cluster.nodes[*index];
        node.ok(&["CLUSTER", "ADDSLOTSRANGE", &from, &to]);
        node.ok(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]);
    }
    for other in [1, 2, 3, redis] {
        let port = cluster.nodes[other].port.to_string();
        cluster.nodes[0].ok(&["CLUSTER", "MEET", "127.0.0.1", &port]);
    }
    wait_for("all know each other", SOON, || cluster.agreed().map(|_| ()));
    for (replica, master) in [(2, 0), (3, 1)] {
        let id = cluster.nodes[master].id();
        cluster.nodes[replica].ok(&["CLUSTER", "REPLICATE", &id]);
    }
    cluster.wait_well();
    cluster
}

/// The Redis is not killed: its own MIGRATE would leave a key on both sides.
#[test]
fn kills_while_a_redis_takes_part_lose_nothing() {
    const OURS: [usize; 4] = [0, 1, 2, 3];
    const REDIS: usize = 4;
    let what = "kill -9 while a slot moves to or from a Redis";
    play(with_redis, &OURS, what, |rng, masters, source| {
        let target = match source == REDIS {
            true => pick(rng, &without(masters, REDIS)),
            false => REDIS,
        };
        let victim = match rng.gen_range(0..4) {
            0 => pick(rng, &OURS),
            _ if source == REDIS => target,
            _ => source,
        };
        (target, victim)
    });
}
