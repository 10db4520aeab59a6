//! The injector: one fault or operation after another, as the plan weighs them.

use crate::clock::MS;
use crate::machine::{Machine, Stop};
use crate::ops::Op;
use crate::plan::{length, Fault};
use crate::platform::CONF;
use crate::scenes::{self, cut, cut_both, Step};
use crate::world::{Event, World};
use base::ids::GroupId;

pub fn inject(w: &mut World) {
    let total: u32 = w.plan.faults.iter().map(|(_, weight)| weight).sum();
    if total == 0 {
        return;
    }
    let mut at = w.rng.below(u64::from(total)) as u32;
    for (fault, weight) in w.plan.faults.clone() {
        if at < weight {
            return apply(w, fault);
        }
        at -= weight;
    }
}

/// Leaders are the more interesting victims.
fn victim(w: &mut World) -> usize {
    if w.rng.chance(0.5) {
        let leads = |m: &Machine| {
            let shard = m.node.as_ref().map(|n| n.shard());
            shard.is_some_and(|s| s.group().is_leader() && !s.record().slots.is_empty())
        };
        let leaders: Vec<usize> = (0..w.machines.len())
            .filter(|m| leads(&w.machines[*m]))
            .collect();
        if !leaders.is_empty() {
            return *w.rng.pick(&leaders);
        }
    }
    w.rng.below(w.plan.machines as u64) as usize
}

/// The machines of the other members of the machine's shard.
fn members(w: &World, m: usize) -> Vec<usize> {
    let Some(node) = w.node(m) else {
        return Vec::new();
    };
    let list = &node.shard().group().membership().list;
    let of = |o: &usize| {
        let name = w.node(*o).map(|n| n.name());
        *o != m && list.iter().any(|member| Some(member.node) == name)
    };
    (0..w.machines.len()).filter(of).collect()
}

fn other(w: &mut World, m: usize) -> usize {
    (m + 1 + w.rng.below(w.machines.len() as u64 - 1) as usize) % w.machines.len()
}

/// A node that is a replica of a shard with slots.
fn replica(w: &mut World) -> Option<usize> {
    let is = |m: &usize| {
        w.shard_of(*m).is_some()
            && w.node(*m)
                .is_some_and(|n| !n.cluster().is_master() && !n.cluster().is_joining())
    };
    let all: Vec<usize> = (0..w.machines.len()).filter(is).collect();
    (!all.is_empty()).then(|| *w.rng.pick(&all))
}

fn apply(w: &mut World, fault: Fault) {
    let m = victim(w);
    let lasts = length(fault, w.plan.t(), &mut w.rng);
    let (now, ms) = (w.now, lasts / MS);
    w.trace.mix(fault as u64 * 8 + m as u64);
    w.trace
        .say(now, || format!("fault {fault:?} on m{m} for {ms} ms"));
    match fault {
        Fault::Kill | Fault::Power => crash(w, m, lasts, fault == Fault::Power),
        Fault::PowerAll => (0..w.machines.len()).for_each(|m| crash(w, m, lasts, true)),
        Fault::Fuse => {
            let work = w.rng.around(1500);
            light(w, m, work, lasts);
        }
        Fault::Stop => w.machines[m].busy_until = now + lasts,
        Fault::StopInTurn => {
            let stop = match w.rng.chance(0.5) {
                true => Stop::Phases(w.rng.below(5) as u32),
                false => Stop::Readings(w.rng.below(5) as u32),
            };
            w.machines[m].stop_next = Some((stop, lasts));
        }
        Fault::OneWay => {
            let to = other(w, m);
            cut(w, m, to, lasts);
        }
        Fault::Part => {
            let to = other(w, m);
            cut_both(w, m, to, lasts);
        }
        Fault::CutFromShard => {
            for other in members(w, m) {
                cut_both(w, m, other, lasts);
            }
        }
        Fault::Isolate => {
            for other in (0..w.machines.len()).filter(|o| *o != m) {
                cut_both(w, m, other, lasts);
            }
            for c in 0..w.clients.len() {
                if w.rng.chance(0.3) {
                    cut_both(w, m, w.machines.len() + c, lasts);
                }
            }
        }
        Fault::Break => {
            let to = other(w, m);
            w.net.break_link(now, m, to);
            w.net.break_link(now, to, m);
            w.break_bus(m, to);
        }
        Fault::SlowDisk | Fault::HungDisk => w.machines[m].slow_until = now + lasts,
        Fault::Shutdown => {
            if w.machines[m].node.is_some() {
                w.machines[m].down_for = lasts;
                w.machines[m].kernel.borrow_mut().asked_to_end = true;
                w.want_turn(m, now);
            }
        }
        Fault::FullDisks => {
            let shard = w.rng.below(w.plan.shards as u64) as usize;
            for m in w.members_of(shard) {
                w.machines[m].disk.set_capacity(0);
                w.machines[m].down_for = lasts / 4;
                w.at(now + lasts, Event::Room(m));
            }
        }
        Fault::IsolateClients => {
            for c in 0..w.clients.len() {
                let client = w.machines.len() + c;
                cut_both(w, m, client, lasts);
            }
        }
        Fault::FullDisk => {
            w.machines[m].disk.set_capacity(0);
            w.machines[m].down_for = lasts / 4;
            w.at(now + lasts, Event::Room(m));
        }
        Fault::SyncError => {
            let machine = &mut w.machines[m];
            if machine.node.is_some() {
                machine.excused = true;
                machine.down_for = lasts;
                machine.disk.fail_next_sync();
            }
        }
        Fault::Clock => {
            let mut rng = w.rng.fork();
            w.machines[m].clock.borrow_mut().change(now, &mut rng);
        }
        Fault::CrashInChange => crash_in_change(w, lasts),
        Fault::LateTransfer => scenes::late_transfer(w),
        Fault::ForgetfulFollower => scenes::forgetful_follower(w),
        Fault::PowerWhileCatchingUp => scenes::power_while_catching_up(w),
        Fault::LaggingJoiner => lagging_joiner(w),
        Fault::Wipe => wipe(w, lasts, &[]),
        Fault::WipeLog => wipe(w, lasts, &[CONF]),
        _ => operate(w, fault, lasts),
    }
}

fn operate(w: &mut World, fault: Fault, lasts: u64) {
    match fault {
        Fault::AddNode => {
            if w.machines[w.plan.machines].spare {
                w.machines[w.plan.machines].spare = false;
                w.at(w.now, Event::Start(w.plan.machines));
            }
        }
        Fault::Regain => {
            let shard = w.rng.below(w.plan.shards as u64) as usize;
            let slots: Vec<u16> = w.slots[shard].iter().collect();
            let slot = *w.rng.pick(&slots);
            if let Some(m) = w.master_of(shard) {
                let set: cluster_bus::SlotSet = [slot].into_iter().collect();
                w.op(m, Op::DelSlots(set));
                let at = w.now + w.rng.range(MS, w.plan.t());
                w.at(at, Event::Step(Step::Gain(shard)));
            }
        }
        _ => {
            let Some(m) = replica(w) else { return };
            change(w, fault, m, lasts);
        }
    }
}

/// An operation on a replica, or on all others about it.
fn change(w: &mut World, fault: Fault, m: usize, lasts: u64) {
    match fault {
        Fault::Replicate => {
            let from = w.shard_of(m).expect("a replica");
            let to = (from + 1 + w.rng.below(w.plan.shards as u64 - 1) as usize) % w.plan.shards;
            if let Some(name) = w.master_of(to).and_then(|m| w.machines[m].name) {
                w.op(m, Op::Replicate(name));
            }
        }
        Fault::Failover => w.op(m, Op::Failover),
        Fault::ResetSoft => w.op(m, Op::Reset { hard: false }),
        Fault::ResetHard => w.op(m, Op::Reset { hard: true }),
        Fault::Forget => {
            forget(w, m);
            w.op(m, Op::Reset { hard: true });
        }
        Fault::ForgetAway => {
            forget(w, m);
            crash(w, m, lasts, false);
        }
        _ => {}
    }
}

/// All others are told to forget the machine's node.
fn forget(w: &mut World, m: usize) {
    let Some(name) = w.node(m).map(crate::machine::Node::name) else {
        return;
    };
    for other in (0..w.machines.len()).filter(|o| *o != m) {
        w.op(other, Op::Forget(name));
    }
}

fn crash(w: &mut World, m: usize, lasts: u64, power: bool) {
    if w.machines[m].node.is_some() {
        w.machines[m].down_for = lasts;
        w.kill(m, w.now, power);
    }
}

/// The process dies after so much more work.
pub fn light(w: &mut World, m: usize, work: u64, lasts: u64) {
    let power = w.rng.chance(0.5);
    let machine = &mut w.machines[m];
    machine.down_for = lasts;
    machine.power_on_crash = power;
    machine.disk.light_fuse(work);
}

/// A change of members, and a crash of one of those that take part, at one of its steps.
fn crash_in_change(w: &mut World, lasts: u64) {
    let Some(m) = replica(w) else { return };
    let from = w.shard_of(m).expect("a replica");
    let kind = *w.rng.pick(&[
        Fault::Replicate,
        Fault::Replicate,
        Fault::ResetSoft,
        Fault::Failover,
    ]);
    change(w, kind, m, lasts);
    let mut cast: Vec<usize> = vec![m, m];
    cast.extend(w.master_of(from));
    cast.extend((0..w.plan.shards).filter_map(|s| w.master_of(s)));
    let hosts = |m: &usize| w.node(*m).is_some_and(|n| !n.witnesses.is_empty());
    cast.extend((0..w.machines.len()).filter(hosts));
    let who = *w.rng.pick(&cast);
    if w.rng.chance(0.3) {
        let at = w.now + w.rng.range(MS, w.plan.t());
        w.machines[who].down_for = lasts;
        w.machines[who].power_on_crash = w.rng.chance(0.5);
        return w.at(at, Event::Step(Step::Fuse(who, 1)));
    }
    let work = w.rng.around(600);
    light(w, who, work, lasts);
}

/// G6: a replica that is cut off from its leader just when a witness is looked for.
fn lagging_joiner(w: &mut World) {
    let Some(m) = replica(w) else { return };
    change(w, Fault::Replicate, m, 0);
    let after = w.rng.range(w.plan.t() / 10, 3 * w.plan.t());
    let lasts = w.rng.range(w.plan.t() / 2, 4 * w.plan.t());
    for shard in 0..w.plan.shards {
        if let Some(master) = w.master_of(shard) {
            w.at(w.now + after, Event::Step(Step::Cut(master, m, lasts)));
        }
    }
}

/// Whether every group that has a member on the machine survives its loss for good.
fn can_lose(w: &World, m: usize) -> bool {
    let Some(node) = w.node(m) else { return false };
    let failing = |machine: &Machine| machine.excused && machine.disk.will_fail();
    if w.checks.dead_in_use(w) || w.machines.iter().any(failing) {
        return false;
    }
    let mut groups: Vec<GroupId> = node
        .witnesses
        .shards()
        .map(|s| s.identity().group)
        .collect();
    groups.push(node.shard().identity().group);
    groups.iter().all(|group| {
        let Some(shard) = w.groups.iter().position(|g| g == group) else {
            return true;
        };
        let Some(leader) = w.master_of(shard).filter(|l| *l != m) else {
            return false;
        };
        let leads = w.node(leader).expect("it leads").shard();
        let now = w.machines[leader].clock.borrow().read(w.now);
        let list = &leads.group().membership().list;
        let up = list.iter().all(|member| {
            let machine = (0..w.machines.len()).find(|m| w.machines[*m].name == Some(member.node));
            machine.and_then(|m| w.node(m)).is_some_and(|node| {
                // A witness may have stopped alone.
                let mut shards = std::iter::once(node.shard()).chain(node.witnesses.shards());
                shards.any(|s| s.identity().raft_id == member.raft_id)
            })
        });
        up && leads.is_ha(now)
    })
}

fn wipe(w: &mut World, lasts: u64, keep: &[&str]) {
    let able: Vec<usize> = (0..w.machines.len()).filter(|m| can_lose(w, *m)).collect();
    if able.is_empty() {
        return;
    }
    let m = *w.rng.pick(&able);
    w.trace.say(w.now, || {
        format!("m{m}'s disk is replaced, {keep:?} is kept")
    });
    w.wipe(m, lasts, keep);
}

/// S1: a shard's slots are given back to it while its members' disks are slow, so that clients come
/// before the gain has committed.
pub fn gain(w: &mut World, shard: usize) {
    let lasts = w.plan.t() / 4;
    for m in w.members_of(shard) {
        w.machines[m].slow_until = w.now + lasts;
    }
    crate::operator::give_slots(w, shard);
}
